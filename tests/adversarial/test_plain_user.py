"""The same attacks and plain programs when nobody in the story is root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from srpo.rewards.exploits import load_attacks, load_plain
from srpo.rewards.exploits.bait import Bait
from srpo.sandbox.strengths import Strength

NOBODY = 65534
SCRIPT = Path(__file__).parent / "as_plain_user.py"
SOURCES = Path(__file__).parents[2] / "src" / "srpo"
pytestmark = [pytest.mark.timeout(400), pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder of the plain user's own, with a copy of the package."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(SOURCES, home / "srpo", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(SCRIPT, home)
        (home / "tmp").mkdir()
        for path in (home, home / "tmp"):
            os.chown(path, NOBODY, NOBODY)
        yield home


def interpreter(home: Path) -> str:
    """A Python that the plain user may run, or skip."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            command = [python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
            subprocess.run(command, check=True, user=NOBODY, cwd=home, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("2026-11-22, the plain user can run no Python 3.11 here")


@pytest.mark.parametrize(
    "strength",
    [
        "namespaces",
        pytest.param("namespaces-per-program", marks=pytest.mark.slow),
        pytest.param("landlock", marks=pytest.mark.slow),
    ],
)
def test_a_plain_user_is_as_safe(home: Path, strength: Strength) -> None:
    if os.geteuid() != 0:
        pytest.skip("2026-11-22, the other tests are run by a plain user already")
    with Bait() as bait:
        done = subprocess.run(
            [interpreter(home), "-P", str(home / SCRIPT.name), strength, "1.5"],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd=home,
            env={"PYTHONPATH": str(home), "TMPDIR": str(home / "tmp"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout)
        if "refused" in said:
            pytest.skip(f"2026-11-22, this machine does not allow it: {said['refused']}")
        assert said == {"tried": len((*load_attacks(), *load_plain())), "broken": {}}
        assert bait.traces() == []
    assert list((home / "tmp").iterdir()) == []
