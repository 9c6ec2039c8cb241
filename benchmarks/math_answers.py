"""Math answers: how fast, and how long hostile ones take.

python -m benchmarks.math_answers                    speed of both paths
python -m benchmarks.math_answers --hostile 10000    hostile answers from a thread, one server
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import threading
import time
from collections import Counter
from pathlib import Path

from srpo.rewards.math import MathVerifier
from tests.hostile_answers import hostile_pairs

_NUM_FAST = 20_000
_NUM_PARSED = 100
_SAMPLE_EVERY_S = 0.02
_REASONING = "We add $x$ and {y}, which gives more. " * 20


def fast_pairs() -> list[tuple[str, str]]:
    """Distinct comparisons that take no parser: numbers, fractions, lists, tuples, units."""
    forms = (
        ("{n}", r"\boxed{{{n}}}"),
        (r"\frac{{{n}}}{{{m}}}", r"$\boxed{{\dfrac{{{n}}}{{{m}}}}}$"),
        ("{n},{m}", r"\boxed{{{m}, {n}}}"),
        (r"({n},\frac{{\pi}}{{{m}}})", r"\boxed{{\left( {n}, \frac{{\pi}}{{{m}}} \right)}}"),
        (r"{n}\text{{ cm}}", r"\boxed{{x = {m}}}"),
    )
    return [
        (gold.format(n=i, m=i + 7), _REASONING + answer.format(n=i, m=i + 7))
        for i in range(_NUM_FAST // len(forms))
        for gold, answer in forms
    ]


def measure_speed() -> None:
    """Comparisons a CPU-second, and the 99th percentile, of both paths."""
    with MathVerifier(workers=1) as verifier:
        pairs, took_s = fast_pairs(), []
        for pair in pairs:
            start_s = time.thread_time()
            verifier.check_one(*pair)
            took_s.append(time.thread_time() - start_s)
        took_s.sort()
        rate = len(pairs) / sum(took_s)
        print(
            f"fast path: {rate:,.0f} a second, p99 {1000 * took_s[int(0.99 * len(pairs))]:.3f} ms"
        )
        start_s = time.perf_counter()
        verifier.start()
        print(f"server start: {time.perf_counter() - start_s:.2f} s")
        start_s = time.perf_counter()
        for i in range(_NUM_PARSED):
            verifier.check_one(rf"x^2+{i}x+\sqrt{{2}}", rf"\boxed{{\sqrt{{2}}+x^2+{i}x}}")
        print(f"parsed: {(time.perf_counter() - start_s) / _NUM_PARSED * 1000:.1f} ms each")


def measure_hostile(number: int, limit_s: float, seed: int) -> None:
    """The longest time and the largest processes over many hostile answers."""
    took_s: list[float] = []
    verdicts: Counter[str] = Counter()
    peak_kib = 0
    with MathVerifier(limit_s, workers=1) as verifier:
        verifier.start()

        def run() -> None:
            for gold, text in hostile_pairs(seed, number):
                start_s = time.perf_counter()
                verdict, _ = verifier.check_one(gold, text)
                took_s.append(time.perf_counter() - start_s)
                verdicts[verdict.value] += 1

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            thread.join(_SAMPLE_EVERY_S)
            peak_kib = max([peak_kib, *map(_largest_worker_kib, verifier._servers.pids())])
    own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{number} hostile answers in {sum(took_s):.0f} s: {dict(verdicts)}")
    print(f"longest {max(took_s):.3f} s at a limit of {limit_s} s")
    print(f"peak memory: {peak_kib >> 10} MiB in a worker, {own_kib >> 10} MiB here")


def _largest_worker_kib(server_pid: int) -> int:
    largest = 0
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
        for pid in children:
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            sizes = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
            largest = max([largest, *sizes])
    return largest


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.math_answers", description=__doc__)
    parser.add_argument("--hostile", type=int, default=0, help="how many hostile answers")
    parser.add_argument("--limit", type=float, default=2.0, help="seconds for a comparison")
    parser.add_argument("--seed", type=int, default=11)
    chosen = parser.parse_args()
    if chosen.hostile:
        measure_hostile(chosen.hostile, chosen.limit, chosen.seed)
    else:
        measure_speed()


if __name__ == "__main__":
    main()
