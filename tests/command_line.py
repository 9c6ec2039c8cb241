"""`srpo` as a user runs it: in this process, or as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from srpo import cli

ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "default", "COLUMNS": "100"}


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def run_here(
    monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[Any], *arguments: object
) -> Outcome:
    """Run the command line in this process; what it wrote is taken from `captured`."""
    monkeypatch.setattr(sys, "argv", ["srpo", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    written = captured.readouterr()
    code = ended.value.code
    return Outcome(code if isinstance(code, int) else 0, written.out, written.err)


def command(*arguments: object) -> list[str]:
    """The words that start it as a process."""
    return [sys.executable, "-m", "srpo", *map(str, arguments)]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a process, to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=110
    )


def settings(*texts: str) -> list[str]:
    """Each as a --set option."""
    return [part for text in texts for part in ("--set", text)]
