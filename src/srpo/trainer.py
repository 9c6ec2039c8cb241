"""The run: for stage, for epoch, for step. SRPO (arXiv 2504.14286) on one page.

`train` opens a run, trains it to its declared end and reports; `_train_stages` is the method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from srpo.batching import with_stage_advantages
from srpo.config import Algorithm, Config
from srpo.config.files import DEMO, Setting, check_preset_applied, dump, load_config
from srpo.engines import ModelOpener, OpenModel
from srpo.errors import FaultError, RunDirectoryError, SrpoError
from srpo.resuming.checkpoints import remove_old, write_checkpoint
from srpo.resuming.resume import first_attempt, look_at, open_resumed
from srpo.run.figures import Evaluation
from srpo.run.finish import before_and_after, write_report
from srpo.run.health import DriftedError, raise_skipped, too_many_skipped
from srpo.run.held_out import (
    evaluate_along_the_way,
    evaluate_as_due,
    evaluate_first,
    evaluate_last,
)
from srpo.run.interrupts import DrawingStopped, Interrupts
from srpo.run.recording import close_step, tell_revived, timed
from srpo.run.session import Session, open_selection, open_session
from srpo.run.state import RunState
from srpo.run.stepping import roll_out, update
from srpo.run.watcher import Silent, StagePlan, Watcher
from srpo.rundir import RunDirectory, claim_next
from srpo.rundir.disk import Disk
from srpo.rundir.lock import held
from srpo.schedule import Progress, StageEnd
from srpo.selection import RULES, Selection

TITLES: Mapping[Algorithm, str] = {
    "srpo": "SRPO",
    "grpo": "vanilla GRPO",
    "r1-zero": "GRPO like R1-Zero's",
    "dapo": "DAPO",
    "dr-grpo": "Dr. GRPO",
}

# what is left where a signal ends the command at once
NOT_BEGUN = "the run had not begun, and nothing of it was written"
AS_IT_WAS = "the run is as it was: go on with srpo train --resume {}"
STAYS = "what was recorded stays: go on with srpo train --resume {}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run writes to, and what it takes the time from; for tests to have bad ones."""

    disk: Disk = field(default_factory=Disk)
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Run:
    """What a training left behind."""

    directory: Path
    checkpoint: Path  # the newest, in Hugging Face format
    ending: str  # the sentence it ended with
    finished: bool  # False: interrupted, to be resumed
    exit_code: int  # 0, or what a caught signal asks for
    before: Evaluation | None
    after: Evaluation | None


def train(
    config: Config | Path | str | None = None,
    out: Path | str | None = None,
    *,
    resume: Path | str | None = None,
    settings: Sequence[Setting] = (),
    name: str | None = None,
    watcher: Watcher | None = None,
    open_model: ModelOpener | None = None,
    machine: Machine | None = None,
) -> Run:
    """Train to the end of the last stage. `config` None: the embedded demo.

    A `Config` made in Python is taken as it stands; if its algorithm's preset would change it,
    that is refused (see `config.files.apply_preset`).

    `out` is the run directory to make (default: the next free `runs/NAME-NNN`, `name` being that
    of the config's file); `resume` is one to go on with, then `config` and `out` must be None, and
    `settings` may change what docs/resume.md lists. `open_model` brings the engine (default: the
    local one), `machine` the disk and the clock. Ctrl-C and SIGTERM end the run with a
    checkpoint; a second one ends it at once, and so does the first before there is a run.

    Raises `SrpoError` with one clear line for whatever a user can mend, `FaultError` among them if
    the run had begun.
    """
    watcher, machine = watcher or Silent(), machine or Machine()
    open_model = open_model or _open_local
    with ExitStack() as stack:
        advice = NOT_BEGUN if resume is None else AS_IT_WAS.format(resume)
        interrupts = stack.enter_context(Interrupts(watcher.note, advice, saves=False))
        stack.callback(watcher.stop)
        if resume is not None:
            run = RunDirectory.open(Path(resume), machine.disk)
            stack.enter_context(held(run.root))
            found = look_at(run, settings)
            if found.over:
                watcher.note(f"{run.root}: this run is over. {found.state.ending}")
                return _result(run, found.config, found.state, found.checkpoint, interrupts)
            begin = partial(interrupts.begin, STAYS.format(run.root))
            with _saying_how_to_go_on(run.root, FaultError):
                session = open_resumed(found, watcher, open_model, begin)
        else:
            loaded, root = _target(config, out, name)
            if out is None:  # it was made here, and goes if the run is refused before it begins
                stack.callback(_remove_if_empty, root, root.parent)

            def make_run(environment: Mapping[str, object]) -> RunDirectory:
                interrupts.begin(STAYS.format(root))
                stack.enter_context(held(root))
                return RunDirectory.create(root, dump(loaded), environment, machine.disk)

            session = open_session(loaded, make_run, root, watcher, open_model)
        stack.callback(session.close)
        session.while_drawing, session.clock = interrupts.while_drawing, machine.clock
        # what goes wrong in a run in hand is a fault, whichever file it shows in
        with _saying_how_to_go_on(session.run.root, FaultError, RunDirectoryError):
            if resume is None:
                first_attempt(session)
            return _run(session, interrupts)


def _open_local(config: Config, folder: Path) -> OpenModel:
    """The default engine; it loads torch."""
    from srpo.engines.local.opening import open_local

    return open_local(config, folder)


@contextmanager
def _saying_how_to_go_on(root: Path, *kinds: type[SrpoError]) -> Iterator[None]:
    """Errors of these kinds become faults that end in the command that goes on."""
    try:
        yield
    except kinds as fault:
        kind = type(fault) if isinstance(fault, FaultError) else FaultError
        raise kind(
            f"{fault}; what was recorded is not lost: mend that, then go on with "
            f"srpo train --resume {root}"
        ) from fault


def _target(
    config: Config | Path | str | None, out: Path | str | None, name: str | None
) -> tuple[Config, Path]:
    """The config to run, and the run directory to make."""
    if not isinstance(config, Config):
        path = Path(config) if config is not None else DEMO
        name = name or path.stem
        config = load_config(path).config
    check_preset_applied(config)
    root = Path(out) if out is not None else claim_next(Path("runs"), name or "run")
    RunDirectory.check_new(root)
    return config, root


def _remove_if_empty(*folders: Path) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _run(s: Session, interrupts: Interrupts) -> Run:
    """Train to the end, or as far as it goes, and save; report at the end."""
    plan = [StagePlan(i, st.name, st.steps) for i, st in enumerate(s.config.stage, start=1)]
    title = f"{TITLES[s.config.algorithm]} of {s.config.model.name}"
    s.watcher.start(f"{title} in {s.run.root}", tuple(plan), s.state.step + 1)
    if s.state.step == 0:
        for kind, text in s.opening:
            s.tell(kind, text)
        _record_events(s)
    ending = ""
    try:
        ending = _train_and_evaluate(s, interrupts)
    except DrawingStopped:
        s.give_up_step()
    except DriftedError:
        s.give_up_step()
        _save(s)
        raise
    if ending:
        s.tell_opinions()
        s.tell("end", ending)
        s.state.ending = ending
        write_report(s.run, s.config, s.state, s.ledger)
        _record_events(s)
    folder = _save(s)
    return _result(s.run, s.config, s.state, folder, interrupts)


def _train_and_evaluate(s: Session, interrupts: Interrupts) -> str:
    """Evaluate, train, evaluate. Returns the sentence that the run ends with; empty: interrupted.

    Raises `DrawingStopped` for a signal that came while anything was drawn.
    """
    if s.state.step == 0:
        evaluate_first(s)
    else:
        evaluate_as_due(s)
    ending = "" if interrupts.caught else _train_stages(s, interrupts)
    if ending:
        evaluate_last(s)
        if s.state.policy_version == 0:
            ending += " No weight was changed: no group of the whole run had a signal."
    return ending


def _result(
    run: RunDirectory,
    config: Config,
    state: RunState,
    checkpoint: Path | None,
    interrupts: Interrupts,
) -> Run:
    assert checkpoint is not None  # one is written whenever a run ends or is interrupted
    before, after = before_and_after(run, config, state)
    finished = bool(state.ending)
    return Run(
        directory=run.root,
        checkpoint=checkpoint,
        ending=state.ending,
        finished=finished,
        exit_code=0 if finished else interrupts.exit_code,
        before=before,
        after=after,
    )


def _train_stages(s: Session, interrupts: Interrupts) -> str:
    """The method. Returns the sentence that the run ends with; empty if it was interrupted."""
    state, end = s.state, None
    for number, stage in enumerate(s.config.stage, start=1):
        if number < state.stage:
            continue
        if ending := _budget_spent(s):  # a resumed run may have stopped right when it was
            return ending
        selection = _open_stage(s, number)
        while (end := state.stage_end(s.config)) is None:
            s.begin_step()
            seconds: dict[str, float] = {}
            groups = roll_out(s, stage, selection, seconds)
            with timed(s, seconds, "updating"):
                groups = [with_stage_advantages(s.config.loss, stage, g) for g in groups]
                done = update(s, stage, groups)
            s.step_start = None  # weights have changed: from here on the step is not given up
            _tell_unfilled(s, selection)
            close_step(s, selection, groups, done, seconds)
            evaluate_along_the_way(s, sum(group.num_generated for group in groups))
            _save_when_due(s)
            if too_many_skipped(s):
                _save(s)
                raise_skipped(s)
            if interrupts.caught:
                return ""
            if ending := _budget_spent(s):
                return ending
        s.tell("stage", f"stage {number} ({stage.name}) ends: {end.reason}{_shortage(selection)}")
        _record_events(s)  # of its last step, not of the next stage's
        _leave_stage(s, selection)
    return _ending(s, end)


def _open_stage(s: Session, number: int) -> Selection:
    """Begin a stage, or go on with it in the middle."""
    stage, state = s.config.stage[number - 1], s.state
    fresh = state.stage != number or state.selection is None
    if state.stage != number:
        if state.progress.steps_in_epoch:  # a switch in the middle of an epoch ends it
            state.epoch += 1
        state.stage, state.progress, state.selection = number, Progress(), None
    selection = s.selection = open_selection(s, number)
    if fresh:
        counts = f"{selection.num_kept} problems in play, {selection.num_dropped} dropped"
        s.tell("stage", f"stage {number} ({stage.name}) begins: {counts}")
        tell_revived(s, selection.revived_at_start)
        s.revived = [*selection.recalled, *selection.revived_at_start]
        for name, has, share in selection.short_sets:
            s.tell("problems", f"{name}: {has} problems are fewer than its {share} places a step")
        _record_events(s)
    return selection


def _leave_stage(s: Session, selection: Selection) -> None:
    """What the stage's selection knows, the next one's begins with."""
    s.state.memory |= selection.memory()


def _tell_unfilled(s: Session, selection: Selection) -> None:
    """Say the first time that dynamic sampling could not fill a step; the count comes later."""
    if selection.unfilled and not s.state.told_unfilled:
        s.state.told_unfilled = True
        s.tell(
            "refill",
            f"step {s.state.step + 1}: refills ran out and {selection.unfilled} places have no "
            "mixed group; the step trains on what it has (said once; each stage's end counts them)",
        )


def _shortage(selection: Selection) -> str:
    count = selection.unfilled
    return f"; refills ran out, and {count} places in all had no mixed group" if count else ""


def _ending(s: Session, last_stage: StageEnd | None) -> str:
    if last_stage is not None and last_stage.by == "idle":
        how = s.config.selection
        so = (
            "so nothing more can be learned from these problems"
            if RULES[how.rule].passes
            else f"each as many draws as there are problems ({how.rule} may have left some out)"
        )
        return (
            "The run ends early: no group of the last stage gave a signal in "
            f"{how.idle_epochs} whole epochs, {so}."
        )
    return "The run is complete: every stage reached its declared end."


def _budget_spent(s: Session) -> str:
    """The sentence that the run ends with if all of its budget is spent; else empty."""
    if not s.state.budget_is_spent(s.config.budget):
        return ""
    names = ("rollouts", "generated tokens")
    accounts = zip(s.budget_accounts, names, strict=True)
    spent = " and ".join(f"{limit:,} {what}" for (limit, _), what in accounts if limit)
    return f"The run is complete: its budget of {spent} is spent."


def _record_events(s: Session) -> None:
    """Put what was told since the last step into the ledger, once, however often it is told."""
    s.ledger.record_events(s.state.step, s.events)
    s.events.clear()


def _save_when_due(s: Session) -> None:
    every = s.config.checkpoint.every_steps
    if every and s.state.step % every == 0:
        _save(s)


def _save(s: Session) -> Path:
    s.watcher.phase("saving")
    folder = write_checkpoint(s.run, s.engine, s.tokenizer, s.snapshot(), s.drafts)
    remove_old(s.run, s.config.checkpoint.keep_last, s.config.checkpoint.keep_every)
    return folder
