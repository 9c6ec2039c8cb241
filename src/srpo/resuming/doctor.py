"""`srpo doctor`: is this run directory complete and consistent, and what can be done.

Nothing is changed. What lies after the newest whole checkpoint may be half written, since the
process may have died there: resuming sets it aside. What lies before it must be right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

from srpo.config import Config
from srpo.config.files import load_config
from srpo.errors import RunDirectoryError, SrpoError
from srpo.formats import counted
from srpo.history import Ledger
from srpo.history.schema import VERDICTS
from srpo.resuming.checkpoints import checkpoints_of, damage_of, read_state
from srpo.resuming.lost import lost_history, lost_lines
from srpo.resuming.resume import has_more
from srpo.run.state import RunState
from srpo.rundir import RunDirectory, step_of
from srpo.rundir.attempts import attempts_of
from srpo.rundir.rows import is_half_written

COPY = "put back a copy of it"
RESUME = "srpo train --resume sets it aside and does it again"
SHOWN = 5  # of a long list
T = TypeVar("T")
Row = Mapping[str, float | int | None]


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
    goes_on: bool = False  # True: the advice is to go on with the run


@dataclass(frozen=True, slots=True)
class Patient:
    """A run directory, as far as it could be read."""

    run: RunDirectory
    config: Config | None  # None: it cannot be read
    checkpoint: Path | None  # the newest whole one
    state: RunState  # in that checkpoint; a new one if there is none
    rows: Mapping[Path, Sequence[Row]]  # of the files of lines; those that cannot be read are not

    @property
    def metrics(self) -> dict[int, Row]:
        """Lines of metrics by their steps."""
        return {int(row["step"] or 0): row for row in self.rows.get(self.run.metrics, ())}

    def grade_at(self, step: int) -> Grade:
        """How bad it is if something is missing or wrong at a step."""
        return Grade.WRONG if step <= self.state.step else Grade.NOTE


def examine(root: Path) -> list[Finding]:
    """Everything that was found, in the order of the files; never empty.

    Raises `RunDirectoryError` if `root` is not a run directory, `FaultError` if the ledger cannot
    be looked at for want of disk space (what a killed process left beside it needs a little).
    """
    run = RunDirectory.open(root)
    found: list[Finding] = []
    loaded = _read(run.config, lambda: load_config(run.config), found)
    environment = _read(run.environment, run.read_environment, found)
    found += _present({run.config: loaded, run.environment: environment})
    if environment and not environment.get("problems"):
        said = "it does not say which problems the run began with"
        found.append(Finding(Grade.WRONG, run.environment.name, said, COPY))
    found += _attempts(run)
    folders = _read(run.checkpoints, lambda: checkpoints_of(run), found)
    damage = {folder: damage_of(folder) for folder in folders or ()}
    # a run that goes on may have removed an old one meanwhile
    damage = {folder: wrong for folder, wrong in damage.items() if folder.exists()}
    whole = [folder for folder, wrong in damage.items() if wrong is None]
    if folders is not None:
        found += _checkpoints(run, damage)
    state = read_state(whole[-1]) if whole else RunState()
    readers: dict[Path, Callable[[], Sequence[Row]]] = {
        run.metrics: run.read_metrics,
        run.times: run.read_times,
        run.evaluations: run.read_evaluations,
        run.opinions: run.read_opinions,
    }
    read = {path: _read(path, reader, found) for path, reader in readers.items()}
    rows = {path: lines for path, lines in read.items() if lines is not None}
    for path, lines in rows.items():
        found += _lines(run, path, lines, state.step)
    config = loaded.config if loaded else None
    patient = Patient(run, config, whole[-1] if whole else None, state, rows)
    for look in (_ledger, _rollouts, _lost, _ending):
        found += look(patient)
    mended = "" if exit_code(found) == 0 else "once what is wrong is mended: "
    return [replace(f, advice=mended + f.advice) if f.goes_on else f for f in found]


def _read(path: Path, read: Callable[[], T], found: list[Finding]) -> T | None:
    """What a file holds; None, and a finding, if it cannot be read."""
    try:
        return read()
    except SrpoError as error:
        found.append(Finding(Grade.WRONG, path.name, str(error).splitlines()[0], COPY))
        return None


def _present(read: Mapping[Path, object | None]) -> Iterator[Finding]:
    for path, held in read.items():
        if not path.exists():
            yield Finding(Grade.WRONG, path.name, "missing", COPY)
        elif held is not None:
            yield Finding(Grade.FINE, path.name, "read")


def _attempts(run: RunDirectory) -> Iterator[Finding]:
    name = run.attempts.name
    try:
        attempts = attempts_of(run)
    except SrpoError as error:
        yield Finding(Grade.WRONG, name, str(error), COPY)
        return
    numbers = [attempt.number for attempt in attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield Finding(Grade.WRONG, name, f"attempts {numbers} are not consecutive", COPY)
    elif attempts:
        last = attempts[-1]
        said = f"{len(attempts)}, the last from step {last.from_step}, {last.started}"
        yield Finding(Grade.FINE, name, said)
    elif run.metrics.exists():
        yield Finding(Grade.WRONG, name, "missing", COPY)
    else:
        yield Finding(Grade.NOTE, name, "none: killed as it began", RESUME)


def _checkpoints(run: RunDirectory, damage: Mapping[Path, str | None]) -> Iterator[Finding]:
    """`damage`: what is wrong with each checkpoint, oldest first; None: nothing is."""
    whole = [folder for folder, wrong in damage.items() if wrong is None]
    for folder, wrong in damage.items():
        if wrong is None:
            yield Finding(Grade.FINE, f"checkpoints/{folder.name}", "whole, by its checksums")
            continue
        if not whole:
            advice = "put back a copy of one, or remove the folder checkpoints to begin at step 0"
        elif folder > whole[-1]:
            advice = "resuming goes on from the one before it, and sets this one aside"
        else:
            advice = "resuming does without it"
        yield Finding(Grade.WRONG, f"checkpoints/{folder.name}", wrong, advice)
    if not damage:
        yield Finding(Grade.NOTE, "checkpoints", "none yet", "resuming begins at step 0")
    for left in sorted(run.checkpoints.glob(".step_*")):
        said = "half written or half removed as the process died"
        yield Finding(Grade.NOTE, f"checkpoints/{left.name}", said, "the next one removes it")


def _lines(run: RunDirectory, path: Path, rows: Sequence[Row], saved: int) -> Iterator[Finding]:
    """Steps in order; those of metrics and times without gaps."""
    steps = [int(row["step"] or 0) for row in rows]
    if path in (run.metrics, run.times):
        yield from _in_a_row(path.name, steps, saved)
    elif steps != sorted(steps):
        yield Finding(Grade.WRONG, path.name, "its steps are not in order", COPY)
    elif rows:
        yield Finding(Grade.FINE, path.name, counted(len(rows), "line"))
    if is_half_written(path):
        yield Finding(Grade.NOTE, path.name, "its last line is half written", RESUME)


def _in_a_row(name: str, steps: list[int], saved: int) -> Iterator[Finding]:
    known = {step for step in steps if step > 0}
    num_missing = max([saved, *known]) - len(known)
    missing = list(islice((n for n in count(1) if n not in known), min(num_missing, SHOWN)))
    twice = sorted(step for step, times in Counter(steps).items() if times > 1)
    if missing:
        yield Finding(Grade.WRONG, name, f"steps are missing: {_some(missing, num_missing)}", COPY)
    if twice:
        yield Finding(
            Grade.WRONG, name, f"steps appear more than once: {_some(twice, len(twice))}", COPY
        )
    if not missing and not twice:
        yield Finding(Grade.FINE, name, f"steps 1 to {max(steps)}" if steps else "no step yet")


def _ledger(p: Patient) -> Iterator[Finding]:
    """The file itself, and its groups and verdicts against those of the metrics."""
    name = p.run.ledger.name
    try:
        with Ledger(p.run.ledger, read_only=True) as ledger:
            damage = ledger.damage()
            steps = {} if damage else ledger.by_step()
    except RunDirectoryError as error:
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
        yield Finding(
            Grade.FINE,
            name,
            f"{counted(groups, 'group')} of {counted(len(steps), 'step')}, as in the metrics",
        )


def _ledger_against(row: Row | None, known: tuple[int, int, tuple[int, ...]] | None) -> str:
    """How a step of the ledger differs from its line of metrics; empty if it does not."""
    if known is None:
        return "in the metrics, but not in the ledger"
    if row is None:
        return "in the ledger, but not in the metrics"
    epoch, groups, verdicts = known
    if (epoch, groups) != (row["epoch"], row["all/groups"]):
        return f"{groups} groups of epoch {epoch}; metrics: {row['all/groups']} of {row['epoch']}"
    counts = tuple(row.get(f"verdict/{name}_count") for name in VERDICTS)
    return "" if verdicts == counts else "its verdicts differ from those in the metrics"


def _rollouts(p: Patient) -> Iterator[Finding]:
    """A file for each step, with as many rollouts of each verdict as the metrics have."""
    try:
        paths = [path for epoch in p.run.rollouts.iterdir() for path in epoch.glob("*.jsonl")]
    except OSError as error:
        said = f"cannot be read: {error.strerror}"
        yield Finding(Grade.WRONG, "rollouts", said, "make it readable, or " + COPY)
        return
    files = {step: path for path in paths if (step := step_of(path)) is not None}
    wrong = 0
    for step in sorted(p.metrics.keys() | files.keys()):
        said = _rollouts_against(p.run, p.metrics.get(step), step, files.get(step))
        if said:
            wrong += 1
            grade = p.grade_at(step)
            advice = RESUME if grade is Grade.NOTE else COPY
            yield Finding(grade, "rollouts", f"step {step}: {said}", advice)
    if not wrong:
        yield Finding(Grade.FINE, "rollouts", f"{counted(len(files), 'step')}, as in the metrics")


def _rollouts_against(
    run: RunDirectory,
    row: Row | None,
    step: int,
    path: Path | None,
) -> str:
    if path is None:
        return "in the metrics, but without a file of rollouts"
    if row is None:
        return "a file of rollouts, but not in the metrics"
    if path != run.rollouts_of(step, int(row["epoch"] or 0)):
        return (
            f"its rollouts are in {path.parent.name}; by the metrics it is of epoch {row['epoch']}"
        )
    try:
        lines = path.read_bytes().split(b"\n")[:-1]  # texts may hold other separators
        counts = Counter(json.loads(line)["verdict"] for line in lines)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "its rollouts cannot be read"
    expected = {name: row.get(f"verdict/{name}_count") or 0 for name in VERDICTS}
    same = all(counts[name] == count for name, count in expected.items())
    return "" if same else "its verdicts differ from those in the metrics"


def _lost(p: Patient) -> Iterator[Finding]:
    """Lines that the newest checkpoint counts, the history that the config names, and tokens."""
    if p.checkpoint is None:
        return
    lost = lost_lines(p.run, p.state, {path: len(rows) for path, rows in p.rows.items()})
    if p.config is not None:
        lost += lost_history(p.run, p.config)
    for each in lost:
        yield Finding(Grade.WRONG, each.path.name, each.said, COPY)
    upto = [row for step, row in p.metrics.items() if step <= p.state.step]
    tokens = sum(int(row["tokens/step"] or 0) for row in upto)
    if tokens != p.state.total_tokens:
        said = f"{tokens} tokens by the metrics, {p.state.total_tokens} by {p.checkpoint.name}"
        yield Finding(Grade.WRONG, "tokens", said, COPY)


def _ending(p: Patient) -> Iterator[Finding]:
    """Whether the run is over, and then with all that belongs to its end."""
    if p.checkpoint is None:
        return
    if not p.state.ending or (p.config is not None and has_more(p.config, p.state)):
        said = f"not over; saved up to step {p.state.step}"
        advice = f"srpo train --resume {p.run.root}"
        yield Finding(Grade.NOTE, "the run", said, advice, goes_on=True)
        return
    for path in p.run.at_end:
        if not path.is_file():
            yield Finding(Grade.WRONG, path.name, "missing, though the run is over", COPY)
    yield Finding(Grade.FINE, "the run", p.state.ending)


def _some(steps: Sequence[int], total: int) -> str:
    more = total - len(steps[:SHOWN])
    return ", ".join(map(str, steps[:SHOWN])) + (f" and {more} more" if more else "")


def exit_code(findings: Sequence[Finding]) -> int:
    """1 if anything is wrong, else 0."""
    return int(any(found.grade is Grade.WRONG for found in findings))
