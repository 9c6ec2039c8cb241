"""Attempts: each time a run is begun or gone on with; and what the one before leaves aside.

An attempt goes on from a checkpoint. What the one before it did after that checkpoint is done
again, the same, unless something was changed; so it is moved out of the run's files, and kept.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from srpo.errors import RunDirectoryError
from srpo.history import Ledger
from srpo.rundir import RunDirectory, step_of
from srpo.rundir.rows import line_of, read_rows, whole_lines
from srpo.rundir.shapes import check_attempt
from srpo.types import Json


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of attempts.jsonl."""

    number: int  # from 1
    from_step: int  # the step of the checkpoint that it went on from; 0: from the beginning
    settings: dict[str, Json]  # of the config, by dotted name
    code: dict[str, str]  # srpo's files, and a digest of each
    facts: dict[str, Json]  # versions, device, digests of the model's files
    set_aside: dict[str, int] = field(default_factory=dict)  # of the attempt before, by kind
    announced: tuple[str, ...] = ()  # what had changed since
    process: int = field(default_factory=os.getpid)
    host: str = field(default_factory=platform.node)
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def attempts_of(run: RunDirectory) -> list[Attempt]:
    """Every attempt, in order; none if the first one died before it said so."""
    try:
        rows = [
            Attempt(**{**row, "announced": tuple(row["announced"])})
            for row in read_rows(run.attempts, check=check_attempt)
        ]
    except (KeyError, TypeError):
        raise RunDirectoryError(f"{run.attempts}: damaged; put back a copy of the file") from None
    return rows


def record_attempt(run: RunDirectory, attempt: Attempt) -> None:
    """Write down that an attempt begins; what it leaves aside lies aside by now."""
    text = "".join(whole_lines(run.attempts))
    run.disk.write(run.attempts, text + line_of(asdict(attempt)))


def set_aside_after(
    run: RunDirectory, ledger: Ledger, step: int, damaged: Sequence[Path] = ()
) -> dict[str, int]:
    """Move all that was done after `step` to RUN/set_aside/attempt_NNN, N being who did it.

    So are the reports of an end, as the run goes on, and `damaged`: checkpoints that cannot be
    used. Returns how many lines or files of each kind were moved, none that is zero. Killed half
    of the way and done again, it comes to the same: nothing is taken away before its copy is on
    disk.
    """
    folder = run.set_aside_of(len(attempts_of(run)))
    moved = {path.stem: _move_lines(run, path, folder, step) for path in run.by_step}
    for kind, files in (("rollouts", run.rollouts), ("faults", run.faults)):
        later = [path for path in files.rglob("*.jsonl") if (step_of(path) or 0) > step]
        for path in later:
            _move(run, path, folder)
        moved[kind] = len(later)
    reports = [path for path in run.at_end if path.exists()]
    for path in (*damaged, *reports):
        _move(run, path, folder)
    moved |= {"checkpoints": len(damaged), "reports": len(reports)}
    rows = ledger.rows_after(step)
    if rows:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        _write(run, folder / "ledger.jsonl", lines)
    ledger.forget_after(step)
    moved["ledger"] = len(rows)
    return {kind: count for kind, count in moved.items() if count}


def _move_lines(run: RunDirectory, path: Path, folder: Path, step: int) -> int:
    """Cut a file after a step; what is cut off is written aside first."""
    if not path.exists():
        return 0
    lines = list(whole_lines(path))
    later = [row["step"] > step for row in read_rows(path, "step")]
    cut = [line for line, gone in zip(lines, later, strict=True) if gone]
    kept = "".join(line for line, gone in zip(lines, later, strict=True) if not gone)
    if cut:
        _write(run, folder / path.name, "".join(cut))
    if len(kept.encode()) < path.stat().st_size:  # also when only half a line is cut off
        run.disk.write(path, kept)
    return len(cut)


def _move(run: RunDirectory, path: Path, folder: Path) -> None:
    target = folder / path.relative_to(run.root)
    _make_folders(run, target.parent)
    run.disk.remove(target)
    run.disk.rename(path, target)


def _write(run: RunDirectory, path: Path, text: str) -> None:
    _make_folders(run, path.parent)
    run.disk.write(path, text)


def _make_folders(run: RunDirectory, folder: Path) -> None:
    """The folder and those above it, up to the run's own, which is there."""
    for path in reversed([folder, *folder.parents]):
        if run.root in path.parents:
            run.disk.make_folder(path)


def describe_moved(moved: Mapping[str, int], folder: Path) -> str:
    """What was set aside, in words; empty if nothing was.

    >>> describe_moved({"metrics": 2, "rollouts": 3}, Path("r/set_aside"))
    'set aside in r/set_aside: metrics 2, rollouts 3'
    """
    if not moved:
        return ""
    counts = ", ".join(f"{kind} {count}" for kind, count in moved.items())
    return f"set aside in {folder}: {counts}"
