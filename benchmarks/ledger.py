"""The ledger at scale: file size, resampling and memory for up to a million problems.

python -m benchmarks.ledger                          100 thousand, 300 thousand, a million problems
python -m benchmarks.ledger --sizes 10000 30000      other sizes; --epochs 10

Every problem is drawn in every epoch, and every epoch but the last ends with a decision about every
problem, drawn at random, so that three out of four change: the worst case for a ledger that stores
changes. Each part runs in a process of its own, whose peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import Section, machine
from srpo.history import Ledger, When, forecast
from srpo.selection.resampling import Resampling
from srpo.selection.rule import Decision, Resampled, Tally
from srpo.types import Group, Problem, Rollout, Verdict

_SIZES = (100_000, 300_000, 1_000_000)
_EPOCHS = 10
_STEP = 1024  # groups in a step
_ROLLOUTS = 8
_STATEMENT = "What is the sum of the first numbers that are both prime and odd? " * 5  # 330 letters
_KINDS = (
    Decision.KEEP_MIXED,
    Decision.KEEP_ALL_WRONG,
    Decision.DROP_ALL_CORRECT,
    Decision.STAY_DROPPED,
)
_RIGHT = Rollout((7,) * 600, "", (), "stop", Verdict.CORRECT, advantage=1.0)
_WRONG = Rollout((7,) * 900, "", (), "stop", Verdict.WRONG, advantage=-1.0)

Figures = dict[str, float]


def problems(count: int) -> Iterator[Problem]:
    """Problems whose ids look like content hashes."""
    rng = random.Random(count)
    for i in range(count):
        name = f"{rng.getrandbits(64):016x}"
        yield Problem(name, "math", f"{_STATEMENT}{i}", answer="4", source="train.jsonl")


def fill(path: Path, count: int, epochs: int) -> Figures:
    """Write a ledger; CPU-seconds of groups and of the last resampling, and the file's size."""
    rng = random.Random(1)
    in_play = list(problems(count))
    mixes = [(_RIGHT,) * k + (_WRONG,) * (_ROLLOUTS - k) for k in range(_ROLLOUTS + 1)]
    step, groups_s, deciding_s = 0, 0.0, 0.0
    with Ledger(path) as ledger:
        ledger.add_problems("math", in_play)
        for epoch in range(1, epochs + 1):
            rng.shuffle(in_play)
            for start in range(0, count, _STEP):
                step += 1
                groups = [
                    Group(problem, (), rng.choice(mixes), step, "its turn")
                    for problem in in_play[start : start + _STEP]
                ]
                when = When(step, epoch, 1)
                groups_s += timed(partial(ledger.record_step, when, groups, [], []))[0]
            if epoch < epochs:
                step += 1
                kinds = rng.choices(_KINDS, k=count)
                decided = [
                    Resampled(problem.id, "math", kind, 0, _ROLLOUTS)
                    for problem, kind in zip(in_play, kinds, strict=True)
                ]
                end = When(step, epoch, 1)
                deciding_s = timed(partial(ledger.record_step, end, [], decided, []))[0]
    return {
        "groups_s": groups_s / (count * epochs),
        "deciding_s": deciding_s,
        "file_mb": path.stat().st_size / 1e6,
    }


def ask(path: Path) -> Figures:
    """Preview the next resampling from the file: CPU- and wall-seconds, and peak memory."""
    with Ledger(path, read_only=True) as ledger:

        def preview() -> int:
            epoch = ledger.newest_epoch()
            assert epoch is not None
            return sum(forecast(of_set, 1).drops for of_set in epoch.sets)

        cpu_s, wall_s = timed(preview)
        return {"preview_s": cpu_s, "preview_wall_s": wall_s, "preview_mb": peak_mb()}


def look(path: Path) -> Figures:
    """Every other question that a person asks, and the peak memory of all of them together."""
    with Ledger(path, read_only=True) as ledger:
        some = next(ledger.kept())
        return {
            "overview_s": timed(ledger.epochs)[0],
            "never_s": timed(lambda: sum(1 for _ in ledger.never(gradable=True)))[0],
            "life_s": timed(lambda: ledger.life_of(some))[0],
            "kept_s": timed(lambda: sum(1 for _ in ledger.kept()))[0],
            "tallies_s": timed(lambda: sum(map(len, ledger.tallies())))[0],
            "look_mb": peak_mb(),
        }


def resample_in_memory(count: int) -> Figures:
    """The end of an epoch in selection itself, without a ledger: seconds, and peak memory."""
    rng = random.Random(1)
    ids = [problem.id for problem in problems(count)]
    rule = Resampling("math", ids, rng, 32)
    rule.observe({i: Tally(rng.choice((0, 3, 8)), 8) for i in ids})
    cpu_s, wall_s = timed(rule.end_epoch)
    return {"memory_s": cpu_s, "memory_wall_s": wall_s, "memory_mb": peak_mb()}


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """CPU- and wall-seconds of one call."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def peak_mb() -> float:
    """The most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(sizes: list[int], epochs: int) -> list[Section]:
    """All sizes, one after the other; each part in a fresh process."""
    found = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.sqlite"
            figures = apart(fill, path, count, epochs)
            for part, values in ((ask, (path,)), (look, (path,)), (resample_in_memory, (count,))):
                figures |= apart(part, *values)
        found.append((count, figures))
        print(f"done: {count:,} problems", flush=True)
    return [_scale(found, epochs), _questions(found)]


def apart(part: Callable[..., Figures], *values: Any) -> Figures:
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(part, values)


def _scale(found: list[tuple[int, Figures]], epochs: int) -> Section:
    return Section(
        "The ledger at scale",
        f"{epochs} epochs, every problem in each, {_ROLLOUTS} rollouts a group; CPU-seconds, and "
        "wall time in parentheses. A preview of the next resampling reads the file cold; in memory "
        "is selection's own `end_epoch`.",
        (
            *("problems", "groups", "file", "a group, written", "a million decisions, written"),
            *("preview", "its memory", "resampling in memory", "its memory"),
        ),
        tuple(
            (
                f"{count:,}",
                f"{count * epochs:,}",
                f"{f['file_mb']:,.0f} MB",
                f"{f['groups_s'] * 1e6:.0f} µs",
                f"{f['deciding_s'] * 1e6 / count:.1f} s",
                f"{f['preview_s']:.2f} s ({f['preview_wall_s']:.2f} s)",
                f"{f['preview_mb']:,.0f} MB",
                f"{f['memory_s']:.2f} s ({f['memory_wall_s']:.2f} s)",
                f"{f['memory_mb']:,.0f} MB",
            )
            for count, f in found
        ),
    )


def _questions(found: list[tuple[int, Figures]]) -> Section:
    return Section(
        "Other questions to the same ledgers",
        "CPU-seconds; the memory is the peak of all of them in one process.",
        ("problems", "overview", "never solved", "one life", "kept", "all tallies", "memory"),
        tuple(
            (
                f"{count:,}",
                *(f"{f[f'{name}_s']:.2f} s" for name in ("overview", "never", "life", "kept")),
                f"{f['tallies_s']:.2f} s",
                f"{f['look_mb']:,.0f} MB",
            )
            for count, f in found
        ),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=_SIZES)
    parser.add_argument("--epochs", type=int, default=_EPOCHS)
    chosen = parser.parse_args()
    sections = measure(list(chosen.sizes), chosen.epochs)
    print("\n\n".join([machine(), *(section.markdown() for section in sections)]))


if __name__ == "__main__":
    main()
