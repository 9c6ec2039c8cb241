"""`python -m benchmarks`: run all benchmarks and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import breakdown, demo, sampling, startup, step
from benchmarks.measuring import Section, machine
from benchmarks.workload import open_work

REPORT = Path("docs/benchmarks.md")
ROUNDS, QUICK_ROUNDS = 5, 2
SEEDS, QUICK_SEEDS = (1, 2, 3), (1,)
HEAD = """# Benchmarks

Written by `{command}`; the numbers are of one machine and one run. CPU-seconds are user and
system time of all threads (`getrusage`), so other processes on the machine disturb them little.
TRL is installed by `pip install srpo[bench]`; srpo itself does not depend on it. The reward layer
has a page of its own: [benchmarks-rewards.md](benchmarks-rewards.md).

{machine}
"""


def main() -> None:
    """Measure, print, and write the report (not with --quick)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; print, write nothing")
    parser.add_argument("--model", default="embedded", help="embedded, or a folder of a model")
    chosen = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # CPU-seconds of one thread: no waiting for others is counted
    rounds = QUICK_ROUNDS if chosen.quick else ROUNDS
    sections = measure(chosen.model, rounds, QUICK_SEEDS if chosen.quick else SEEDS)
    text = "\n\n".join(
        [HEAD.format(command=_command(chosen), machine=machine()).strip()]
        + [section.markdown() for section in sections]
    )
    print(text)
    if not chosen.quick:
        REPORT.write_text(text + "\n", encoding="utf-8")


def measure(model: str, rounds: int, seeds: Sequence[int]) -> list[Section]:
    """All benchmarks, each said aloud when it is done."""
    work = open_work(model, rounds + step.WARM_UP)
    runs = (
        startup.measure_startup,
        lambda: demo.measure_demo(seeds),
        lambda: step.section(step.measure_steps(work, rounds)),
        lambda: sampling.section(sampling.measure_sampling(work, rounds)),
        lambda: breakdown.measure_sampling_parts(work, rounds),
        lambda: breakdown.measure_update_parts(work, rounds),
    )
    sections = []
    for run in runs:
        sections.append(run())
        print(f"done: {sections[-1].title}", flush=True)
    return [*sections[1:], sections[0]]


def _command(chosen: argparse.Namespace) -> str:
    """The command that was given."""
    model = "" if chosen.model == "embedded" else f" --model {chosen.model}"
    return f"python -m benchmarks{model}"


if __name__ == "__main__":
    main()
