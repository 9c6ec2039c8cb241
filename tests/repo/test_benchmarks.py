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
