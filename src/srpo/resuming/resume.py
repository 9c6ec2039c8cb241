"""Going on with a run: from its newest whole checkpoint, as if it had never stopped.

What was done after that checkpoint is set aside and done again. What has changed since is refused
or announced by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srpo.config import Config
from srpo.config.files import Setting, dump, for_each_stage, load_config, settings_of, spread
from srpo.digests import code_digests
from srpo.engines import ModelOpener
from srpo.errors import RunDirectoryError
from srpo.resuming.changes import announced, check_model, check_settings
from srpo.resuming.checkpoints import newest_whole, read_state
from srpo.resuming.lost import check_complete, check_none_lost
from srpo.run.health import too_many_skipped
from srpo.run.session import Session, facts_of, open_session
from srpo.run.state import RunState
from srpo.run.watcher import Watcher
from srpo.rundir import RunDirectory
from srpo.rundir.attempts import (
    Attempt,
    attempts_of,
    describe_moved,
    record_attempt,
    set_aside_after,
)
from srpo.types import Json


@dataclass(frozen=True, slots=True)
class Resumable:
    """A run that exists, looked at but not touched: where it can go on, and how."""

    run: RunDirectory
    config: Config
    state: RunState  # of the newest whole checkpoint; a new one if there is none
    checkpoint: Path | None
    damaged: dict[Path, str]  # newer checkpoints, and what is wrong with each
    attempts: list[Attempt]
    announced: list[str]  # settings that have changed

    @property
    def over(self) -> bool:
        """Whether it reached its declared end, and the config declares no later one since."""
        return bool(self.state.ending) and not has_more(self.config, self.state)


def look_at(run: RunDirectory, settings: Sequence[Setting]) -> Resumable:
    """Read a run directory. Nothing is written.

    Raises `RunDirectoryError` if it is none or cannot be gone on with, `ConfigError` if a setting
    has changed that may not.
    """
    stages = len(load_config(run.config).config.stage)
    values = [value for setting in settings for value in spread(setting)]
    settings = [each for value in values for each in for_each_stage(value, stages)]
    config = load_config(run.config, settings).config
    checkpoint, damaged = newest_whole(run)
    if damaged and checkpoint is None:
        raise RunDirectoryError(
            f"{next(iter(damaged.values()))}; no other checkpoint is whole: put back a copy of "
            f"one, or remove {run.checkpoints} to begin at step 0"
        )
    state = read_state(checkpoint) if checkpoint else RunState()
    attempts = attempts_of(run)
    if checkpoint is None:
        check_none_lost(run, attempts)
    check_complete(run, state, attempts, config)
    said = []
    if attempts:
        given = {setting.name: setting.words for setting in settings}
        said = check_settings(
            attempts[-1].settings,
            plain_settings(config),
            state.stage,
            origin=lambda name: given.get(name, str(run.config)),
        )
    return Resumable(run, config, state, checkpoint, damaged, attempts, said)


def open_resumed(
    found: Resumable,
    watcher: Watcher,
    open_model: ModelOpener,
    going_on: Callable[[], None] = lambda: None,
) -> Session:
    """Open a run that exists where it can go on, with all later lines and files set aside.

    `going_on` is called when all is open and read, before the run is changed.
    """
    run = found.run
    session = open_session(found.config, lambda _: run, run.root, watcher, open_model)
    try:
        _go_back(session, found, going_on)
    except BaseException:
        session.close()
        raise
    return session


def _go_back(session: Session, found: Resumable, going_on: Callable[[], None]) -> None:
    """Bring a session to where its run can go on, and write down the attempt."""
    run, state = found.run, found.state
    facts, code = facts_of(session.model_facts), code_digests()
    said = list(found.announced)
    if found.attempts:
        before = found.attempts[-1]
        check_model(str(run.root), before.facts, facts)
        said += announced(before.facts, facts, before.code, code)
    session.ledger.check_reaches(state.step)
    for folder in (run.rollouts, run.checkpoints):
        run.disk.make_folder(folder)
    if found.checkpoint is not None:
        session.state = state
        session.engine.load(str(found.checkpoint))
        session.restore(found.checkpoint)
        state.ending = ""
        if too_many_skipped(session):
            state.skipped_in_a_row = 0  # it was stopped for that, and goes on all the same
    going_on()
    if found.announced:  # first, so that whoever goes on from here knows of them
        run.disk.write(run.config, dump(found.config))
    moved = set_aside_after(run, session.ledger, state.step, list(found.damaged))
    number, settings = len(found.attempts) + 1, plain_settings(found.config)
    record_attempt(run, Attempt(number, state.step, settings, code, facts, moved, tuple(said)))
    _tell(found, session.watcher, said, moved)


def plain_settings(config: Config) -> dict[str, Json]:
    """Every setting by its dotted name, as JSON reads it back."""
    return {
        name: list(value) if isinstance(value, tuple) else value  # type: ignore[misc]
        for name, value in settings_of(config).items()
    }


def first_attempt(session: Session) -> None:
    """Write down how a new run begins."""
    facts = facts_of(session.model_facts)
    settings = plain_settings(session.config)
    record_attempt(session.run, Attempt(1, 0, settings, code_digests(), facts))


def has_more(config: Config, state: RunState) -> bool:
    """Whether a run that had ended is to go on, by what its config says now."""
    if state.budget_is_spent(config.budget):
        return False
    return state.stage < len(config.stage) or state.stage_end(config) is None


def _tell(
    found: Resumable, watcher: Watcher, said: Sequence[str], moved: Mapping[str, int]
) -> None:
    for wrong in found.damaged.values():
        watcher.note(f"{wrong}; going on from the checkpoint before it")
    for text in said:
        watcher.note(f"changed since the run was last trained: {text}")
    watcher.note(f"resumed after step {found.state.step}")
    text = describe_moved(moved, found.run.set_aside_of(len(found.attempts)))
    if text:
        again = "; these steps are made again" if "metrics" in moved else ""
        watcher.note(f"{text}{again}")
