"""`srpo doctor`: is this run directory whole, does it agree with itself, and what can be done.

Nothing is changed. What lies after the newest whole checkpoint may be half written, since the
process may have died there: resuming sets it aside. What lies before it must be right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from srpo.checkpoints import checkpoints_of, damage_of, newest_whole, read_state
from srpo.config_files import load_config
from srpo.errors import RunDirectoryError, SrpoError
from srpo.history import Ledger
from srpo.history.schema import VERDICTS
from srpo.rundir import RunDirectory
from srpo.rundir.attempts import attempts_of
from srpo.rundir.rows import read_rows, whole_lines

COPY = "put back a copy of it"
NEEDED = {"step", "epoch", "all/groups", "tokens/step"}
RESUME = "srpo train --resume sets it aside and does it again"


class Grade(StrEnum):
    """How bad it is."""

    FINE = "fine"
    NOTE = "note"  # as a run that was killed, or goes on, may look
    WRONG = "wrong"  # cannot be trusted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    grade: Grade
    what: str  # such as "metrics.jsonl"
    said: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """A run directory, as far as it could be read."""

    run: RunDirectory
    metrics: dict[int, Mapping[str, float | int | None]]  # by step
    saved_step: int  # of the newest whole checkpoint; 0: there is none

    def grade_at(self, step: int) -> Grade:
        """How bad it is if something is missing or wrong at a step."""
        return Grade.WRONG if step <= self.saved_step else Grade.NOTE


def examine(root: Path) -> list[Finding]:
    """Everything that was found, in the order of the files; never empty.

    Raises `RunDirectoryError` if `root` is no run directory.
    """
    run = RunDirectory.open(root)
    found = [
        *_readable(run, "config.toml", lambda: load_config(run.config)),
        *_readable(run, "environment.json", run.read_environment),
        *_attempts(run),
    ]
    whole, _ = newest_whole(run)
    found += _checkpoints(run)
    saved = read_state(whole).step if whole else 0
    lines, metrics = _lines(run, saved)
    found += lines
    patient = Patient(run, metrics, saved)
    found += _ledger(patient)
    found += _rollouts(patient)
    found += _ending(patient, whole)
    return found


def _readable(run: RunDirectory, name: str, read: Callable[[], object]) -> Iterator[Finding]:
    try:
        read()
    except SrpoError as error:
        yield Finding(Grade.WRONG, name, str(error).splitlines()[0], COPY)
    else:
        missing = not (run.root / name).exists()
        grade = Grade.WRONG if missing else Grade.FINE
        yield Finding(grade, name, "missing" if missing else "read", COPY * missing)


def _attempts(run: RunDirectory) -> Iterator[Finding]:
    try:
        attempts = attempts_of(run)
    except SrpoError as error:
        yield Finding(Grade.WRONG, "attempts.jsonl", str(error), COPY)
        return
    numbers = [attempt.number for attempt in attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield Finding(Grade.WRONG, "attempts.jsonl", f"attempts {numbers} are not in a row", COPY)
    elif attempts:
        last = attempts[-1]
        said = f"{len(attempts)}, the last from step {last.from_step}, {last.started}"
        yield Finding(Grade.FINE, "attempts.jsonl", said)
    elif run.metrics.exists():
        yield Finding(Grade.WRONG, "attempts.jsonl", "missing", COPY)
    else:
        yield Finding(Grade.NOTE, "attempts.jsonl", "none: killed as it began", RESUME)


def _checkpoints(run: RunDirectory) -> Iterator[Finding]:
    folders = checkpoints_of(run)
    whole, damaged = newest_whole(run)
    for folder in folders:
        wrong = damage_of(folder)
        advice = "put back a copy of one, or remove the folder checkpoints to begin at step 0"
        if whole is not None:
            advice = "resuming goes on from the one before it, and sets this one aside"
            advice = advice if folder in damaged else "resuming does without it"
        if wrong is None:
            yield Finding(Grade.FINE, f"checkpoints/{folder.name}", "whole, by its checksums")
        else:
            yield Finding(Grade.WRONG, f"checkpoints/{folder.name}", wrong, advice)
    if not folders:
        yield Finding(Grade.NOTE, "checkpoints", "none yet", "resuming begins at step 0")
    for left in sorted(run.checkpoints.glob(".step_*")):
        said = "half written or half removed as the process died"
        yield Finding(Grade.NOTE, f"checkpoints/{left.name}", said, "the next one removes it")


def _lines(
    run: RunDirectory, saved: int
) -> tuple[list[Finding], dict[int, Mapping[str, float | int | None]]]:
    """Files of lines: each line JSON, steps in order; metrics and times without gaps."""
    found: list[Finding] = []
    metrics: dict[int, Mapping[str, float | int | None]] = {}
    for path in run.by_step:
        try:
            rows = list(read_rows(path, "step"))
            if path == run.metrics and not all(row.keys() >= NEEDED for row in rows):
                raise RunDirectoryError(f"{path}: a line lacks a column; {COPY}")
        except SrpoError as error:
            found.append(Finding(Grade.WRONG, path.name, str(error), COPY))
            continue
        steps = [int(row["step"]) for row in rows]
        if path == run.metrics:
            metrics = dict(zip(steps, rows, strict=True))
        if path in (run.metrics, run.times):
            found += _in_a_row(path.name, steps, saved)
        elif steps != sorted(steps):
            found.append(Finding(Grade.WRONG, path.name, "its steps are not in order", COPY))
        elif rows:
            found.append(Finding(Grade.FINE, path.name, f"{len(rows)} lines"))
        whole = sum(len(line.encode()) for line in whole_lines(path))
        if path.exists() and whole < path.stat().st_size:
            found.append(Finding(Grade.NOTE, path.name, "its last line is half written", RESUME))
    return found, metrics


def _in_a_row(name: str, steps: list[int], saved: int) -> Iterator[Finding]:
    missing = sorted(set(range(1, max([saved, *steps], default=0) + 1)) - set(steps))
    twice = sorted(step for step, count in Counter(steps).items() if count > 1)
    if missing:
        yield Finding(Grade.WRONG, name, f"steps are missing: {_some(missing)}", COPY)
    if twice:
        yield Finding(Grade.WRONG, name, f"steps come more than once: {_some(twice)}", COPY)
    if not missing and not twice:
        yield Finding(Grade.FINE, name, f"steps 1 to {max(steps)}" if steps else "no step yet")


def _ledger(p: Patient) -> Iterator[Finding]:
    """The file itself, and its groups and verdicts against those of the metrics."""
    name = p.run.ledger.name
    try:
        with Ledger(p.run.ledger, read_only=True) as ledger:
            damage = ledger.damage()
            steps = {} if damage else ledger.by_step()
    except SrpoError as error:
        yield Finding(Grade.WRONG, name, str(error), COPY)
        return
    if damage:
        yield Finding(Grade.WRONG, name, damage, COPY)
        return
    wrong = 0
    for step in sorted(p.metrics.keys() | steps.keys()):
        said = _ledger_against(p.metrics.get(step), steps.get(step))
        if said:
            wrong += 1
            grade = p.grade_at(step)
            advice = RESUME if grade is Grade.NOTE else COPY
            yield Finding(grade, name, f"step {step}: {said}", advice)
    if not wrong:
        groups = sum(count for _, count, _ in steps.values())
        yield Finding(Grade.FINE, name, f"{groups} groups of {len(steps)} steps, as in the metrics")


def _ledger_against(
    row: Mapping[str, float | int | None] | None, known: tuple[int, int, tuple[int, ...]] | None
) -> str:
    """How a step of the ledger differs from its line of metrics; empty if it does not."""
    if known is None:
        return "in the metrics, and not in the ledger"
    if row is None:
        return "in the ledger, and not in the metrics"
    epoch, groups, verdicts = known
    if (epoch, groups) != (row["epoch"], row["all/groups"]):
        return f"{groups} groups of epoch {epoch}; metrics: {row['all/groups']} of {row['epoch']}"
    counts = tuple(row.get(f"verdict/{name}_count") for name in VERDICTS)
    return "" if verdicts == counts else "other verdicts than in the metrics"


def _rollouts(p: Patient) -> Iterator[Finding]:
    """A file for each step, with as many rollouts of each verdict as the metrics have."""
    paths = p.run.rollouts.glob("epoch_*/step_*.jsonl")
    files = {int(path.stem[5:]): path for path in paths if path.stem[5:].isdecimal()}
    wrong = 0
    for step in sorted(p.metrics.keys() | files.keys()):
        said = _rollouts_against(p.run, p.metrics.get(step), step, files.get(step))
        if said:
            wrong += 1
            grade = p.grade_at(step)
            advice = RESUME if grade is Grade.NOTE else COPY
            yield Finding(grade, "rollouts", f"step {step}: {said}", advice)
    if not wrong:
        yield Finding(Grade.FINE, "rollouts", f"{len(files)} steps, as in the metrics")


def _rollouts_against(
    run: RunDirectory,
    row: Mapping[str, float | int | None] | None,
    step: int,
    path: Path | None,
) -> str:
    if path is None:
        return "in the metrics, and no file of rollouts"
    if row is None:
        return "a file of rollouts, and not in the metrics"
    if path != run.rollouts_of(step, int(row["epoch"] or 0)):
        return (
            f"its rollouts are in {path.parent.name}; by the metrics it is of epoch {row['epoch']}"
        )
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # texts may hold other separators
        counts = Counter(json.loads(line)["verdict"] for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return "its rollouts cannot be read"
    expected = {name: row.get(f"verdict/{name}_count") or 0 for name in VERDICTS}
    same = all(counts[name] == count for name, count in expected.items())
    return "" if same else "other verdicts than in the metrics"


def _ending(p: Patient, whole: Path | None) -> Iterator[Finding]:
    """Whether the run is over, and whether its tokens add up to what the state says."""
    if whole is None:
        return
    state = read_state(whole)
    counts = (
        (p.run.evaluations, state.num_evaluations), (p.run.opinions, state.num_opinions)
    )  # fmt: skip
    for path, count in counts:
        found = sum(1 for _ in whole_lines(path))
        if found < count:
            said = f"{found} lines, and {whole.name} counts {count}"
            yield Finding(Grade.WRONG, path.name, said, COPY)
    upto = [row for step, row in p.metrics.items() if step <= state.step]
    tokens = sum(int(row["tokens/step"] or 0) for row in upto)
    if tokens != state.total_tokens:
        said = f"{tokens} tokens by the metrics, {state.total_tokens} by {whole.name}"
        yield Finding(Grade.WRONG, "tokens", said, COPY)
    if not state.ending:
        said = f"not over; saved up to step {state.step}"
        yield Finding(Grade.NOTE, "the run", said, f"srpo train --resume {p.run.root}")
        return
    for path in (p.run.report_json, p.run.report_text, p.run.curve):
        if not path.is_file():
            yield Finding(Grade.WRONG, path.name, "missing, though the run is over", COPY)
    yield Finding(Grade.FINE, "the run", state.ending)


def _some(steps: list[int]) -> str:
    shown = ", ".join(map(str, steps[:5]))
    return shown + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")
