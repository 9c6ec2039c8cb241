"""The benchmarks are run by hand, and rarely; that they fit the package is seen at every change."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import benchmarks

ROOT = Path(__file__).parents[2]


def test_every_benchmark_can_be_imported_and_does_nothing_by_that(tmp_path: Path) -> None:
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    assert len(names) >= 20
    text = "\n".join(f"import benchmarks.{name}" for name in sorted(names))
    done = subprocess.run(  # not here, as they load torch
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n{text}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_step_of_the_benchmark_trains_on_every_completion_or_on_those_with_a_signal() -> None:
    program = """
from benchmarks.workload import OurTrainer, StepSize, open_work
from srpo.embedded import MODEL_DIR
work = open_work(str(MODEL_DIR), 1, StepSize(problems=4, group_size=4, max_tokens=64))
steps = [OurTrainer(work, every_group=every).step(0) for every in (True, False)]
print([step.num_trained for step in steps], steps[0].mean_length == steps[1].mean_length)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    every, fewer = done.stdout.split("]")[0].strip("[").split(",")
    assert int(every) == 16 and int(fewer) % 4 == 0 and int(fewer) < 16
    assert done.stdout.endswith("True\n")
