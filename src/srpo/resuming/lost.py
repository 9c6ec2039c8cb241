"""What a run has lost: files and lines that its newest checkpoint says it had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srpo.config import Config
from srpo.errors import RunDirectoryError
from srpo.run.state import RunState
from srpo.rundir import RunDirectory
from srpo.rundir.attempts import Attempt


@dataclass(frozen=True, slots=True)
class Lost:
    """A file that is gone, or shorter than it was."""

    path: Path
    said: str = "is missing or cut off"


def check_complete(
    run: RunDirectory, state: RunState, attempts: Sequence[Attempt], config: Config
) -> None:
    """Raise `RunDirectoryError` for what a run has lost; nothing is trained without it."""
    if not state.step:
        return
    lost = [
        *lost_figures(run, state),
        *lost_lines(run, state, {run.opinions: len(run.read_opinions())}),
        *_lost_rollouts(run, state.step),
        *_lost_files(run, attempts),
        *lost_history(run, config),
    ]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise RunDirectoryError(
            f"{lost[0].path}: {lost[0].said}{more}, and the newest checkpoint is of step "
            f"{state.step}; put back a copy of it (srpo doctor {run.root} looks at everything)"
        )


def check_none_lost(run: RunDirectory, attempts: Sequence[Attempt]) -> None:
    """Raise `RunDirectoryError` if there is no checkpoint, and there must have been one.

    Without the folder of checkpoints a run begins at step 0: whoever removed it wanted that. An
    empty one may be a disk that is not there.
    """
    every = attempts[-1].settings.get("checkpoint.every_steps") if attempts else 0
    done = max((int(row["step"] or 0) for row in run.read_metrics()), default=0)
    if run.checkpoints.exists() and isinstance(every, int) and 0 < every < done:
        raise RunDirectoryError(
            f"{run.checkpoints}: empty, though the run reached step {done}; put back a copy, or "
            "remove the folder to begin at step 0"
        )


def lost_figures(run: RunDirectory, state: RunState) -> list[Lost]:
    """Of what a run's figures are read from: steps without a line, and evaluations."""
    steps = {int(row["step"] or 0) for row in run.read_metrics()}
    timed = {int(row["step"]) for row in run.read_times()}
    every = range(1, state.step + 1)
    return [
        *(Lost(run.metrics, f"has no line of step {n}") for n in every if n not in steps),
        *(Lost(run.times, f"has no line of step {n}") for n in every if n not in timed),
        *lost_lines(run, state, {run.evaluations: len(run.read_evaluations())}),
    ]


def lost_lines(run: RunDirectory, state: RunState, num_lines: Mapping[Path, int]) -> list[Lost]:
    """Of the files that a checkpoint counts the lines of, and how many there are now."""
    counted = {run.evaluations: state.num_evaluations, run.opinions: state.num_opinions}
    return [Lost(path) for path, count in num_lines.items() if count < counted.get(path, 0)]


def lost_history(run: RunDirectory, config: Config) -> list[Lost]:
    """The history of another run, if this one was begun with it."""
    return [Lost(run.history)] if config.selection.history and not run.history.exists() else []


def _lost_rollouts(run: RunDirectory, last: int) -> list[Lost]:
    epochs = {int(row["step"] or 0): int(row["epoch"] or 0) for row in run.read_metrics()}
    paths = [run.rollouts_of(n, epochs[n]) for n in range(1, last + 1) if n in epochs]
    return [Lost(path) for path in paths if not path.is_file()]


def _lost_files(run: RunDirectory, attempts: Sequence[Attempt]) -> list[Lost]:
    present = {
        run.ledger: run.ledger.is_file(),
        run.environment: bool(run.read_environment().get("problems")),
        run.attempts: bool(attempts),
    }
    return [Lost(path) for path, is_there in present.items() if not is_there]
