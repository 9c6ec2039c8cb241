"""What a run works with, opened and checked before anything is trained or written."""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from srpo import __version__
from srpo.config import Config, StageConfig
from srpo.drafts import DraftStore
from srpo.engines import Engine, ModelOpener
from srpo.errors import ConfigError, RunDirectoryError
from srpo.formats import counted
from srpo.history import Ledger, check_same_problems
from srpo.prefixes import OwnAnswers
from srpo.prompts import Prompter
from srpo.resuming.checkpoints import checkpoints_of
from srpo.rewards import Grader
from srpo.rewards.math.second_opinion import second_opinions
from srpo.rewards.opinion_sample import opinion_row, questions
from srpo.rollouts import sample_groups, stage_sampling
from srpo.run.probing import Part, check_rates, facts_of_probe, probe
from srpo.run.problem_sets import (
    ProblemSets,
    check_prompts,
    check_sandbox,
    check_scorers,
    load_sets,
)
from srpo.run.state import RunState
from srpo.run.watcher import Watcher
from srpo.rundir import RunDirectory, check_space
from srpo.selection import Selection
from srpo.selection.rule import Resampled, Tally
from srpo.types import Group

_History = list[dict[str, tuple[int, int]]]  # by epoch: problem -> (correct, gradable)


@dataclass(slots=True)
class Session:
    """An open run: every part of it, ready to work. Closed with `close`."""

    config: Config
    run: RunDirectory
    sets: ProblemSets
    tokenizer: Any
    prompter: Prompter
    engine: Engine
    grader: Grader
    ledger: Ledger
    watcher: Watcher
    model_facts: Mapping[str, object] = field(default_factory=dict)  # versions, device, digests
    while_drawing: Callable[[], AbstractContextManager[None]] = nullcontext
    clock: Callable[[], float] = time.monotonic
    reference: Engine | None = None  # the first weights, never trained, for the KL term
    drafts: DraftStore | None = None  # None: nothing is drawn from drafts
    answers: OwnAnswers = field(default_factory=OwnAnswers)
    selection: Selection | None = None  # of the stage in progress
    state: RunState = field(default_factory=RunState)
    revived: list[Resampled] = field(default_factory=list)  # for a stage's start; not in the ledger
    events: list[tuple[str, str]] = field(default_factory=list)  # not yet in the ledger
    opening: list[tuple[str, str]] = field(default_factory=list)  # to be told as the run begins
    step_start: tuple[RunState, DraftStore | None] | None = None  # of the step in hand
    given_up: bool = False  # the step in hand: the state is that of its start

    @property
    def budget_accounts(self) -> list[tuple[int, int]]:
        """(limit, spent) of rollouts and of generated tokens; limit 0: not counted."""
        return self.state.accounts(self.config.budget)

    def tell(self, kind: str, text: str) -> None:
        """Say a sentence to whoever looks on, and keep it for the ledger."""
        self.events.append((kind, text))
        self.watcher.note(text)

    def grade(self, groups: Sequence[Group], stage: StageConfig) -> list[Group]:
        """The groups with verdicts and rewards."""
        return _grade(self.grader, self.prompter, self.config, groups, stage)

    def snapshot(self) -> RunState:
        """The state with all that was counted and remembered since, as a checkpoint keeps it.

        Before a stage's first step nothing is kept of its selection: it is opened again.
        """
        if self.given_up:
            return self.state
        if self.selection is not None:  # a run that was just resumed has not opened it yet
            begun = self.state.progress.steps > 0
            self.state.selection = self.selection.state_dict() if begun else None
        self.state.grader = self.grader.state_dict()
        if self.config.reuse.prefixes:
            self.state.answers = self.answers.state_dict()
        return self.state

    def begin_step(self) -> None:
        """Remember the state, so that the step can be given up before its first update."""
        drafts = self.drafts.copy() if self.drafts is not None else None
        self.step_start = replace(self.snapshot()), drafts

    def give_up_step(self) -> None:
        """Back to where the step in hand began, if there is one: its rollouts are forgotten.

        No weight has changed yet.
        """
        if self.step_start is not None:
            self.state, self.drafts = self.step_start
            self.given_up = True

    def restore(self, checkpoint: Path) -> None:
        """Go on with what was counted and remembered. RunDirectoryError if it cannot be read."""
        try:
            if self.drafts is not None:
                self.drafts.load(checkpoint)
            if self.state.grader:
                self.grader.load_state_dict(self.state.grader)
            if self.state.answers:
                self.answers.load_state_dict(self.state.answers)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise RunDirectoryError(f"{checkpoint}: cannot be read: {error}") from None

    def ask_second_opinion(self, groups: Sequence[Group], step: int) -> None:
        """Let another grader check a sample of the step's math answers, and write what it said."""
        share, prefilled = self.config.verifier.second_opinion_share, self.prompter.opens_thinking
        rows = questions(groups, step, share, prefilled_thinking=prefilled)
        if rows:
            opinions = second_opinions(self.grader.math, rows)
            self.run.append_opinions(opinion_row(step, opinions))
            self.state.num_opinions += 1

    def tell_opinions(self) -> None:
        """Say at the end how often the other grader disagreed; nothing if it was never asked."""
        rows = self.run.read_opinions()
        asked = sum(row["asked"] for row in rows)
        if asked:
            found = sum(len(row["disagreements"]) for row in rows)
            self.tell(
                "second_opinion",
                f"a second grader checked {counted(asked, 'math answer')} and disagreed on {found}"
                + (f"; both reasons are in {self.run.opinions}" if found else ""),
            )

    def close(self) -> None:
        """Free processes and files."""
        self.grader.close()
        self.ledger.close()


def open_session(
    config: Config,
    make_run: Callable[[Mapping[str, object]], RunDirectory],
    root: Path,
    watcher: Watcher,
    open_model: ModelOpener,
) -> Session:
    """Load model, tokenizer and problems, check them, and only then make the run directory.

    That programs can be isolated is checked before as well, if there are any to run.
    """
    with ExitStack() as opened:
        session = _open_session(config, make_run, root, watcher, open_model, opened)
        opened.pop_all()  # from here on the session closes them
        return session


def _open_session(
    config: Config,
    make_run: Callable[[Mapping[str, object]], RunDirectory],
    root: Path,
    watcher: Watcher,
    open_model: ModelOpener,
    opened: ExitStack,
) -> Session:
    """`opened` closes what was opened, if something goes wrong later."""
    before = RunDirectory(root)  # as it is now: of a new run nothing is there
    is_new = not before.config.exists()
    if is_new:
        check_rates(config)
    grader = Grader(config.verifier)
    opened.callback(grader.close)
    watcher.phase("reading problems")
    sets = _read_problems(config, before, grader)
    history: _History | None = None
    if config.selection.history and not before.history.exists():
        history, said = _other_history(config, sets)
        sets = replace(sets, notes=(*sets.notes, said))
    isolation = grader.describe() if sets.has_code else ""
    watcher.phase("loading the model")
    model = open_model(config, before.checkpoints)
    prompter = Prompter(model.tokenizer, config.prompt, model.stop_ids, model.pad_ids)
    check_prompts(config, sets, prompter, model.context_tokens if is_new else None)
    check_space(root, model.checkpoint_bytes * _checkpoints_to_come(config, before))
    facts: dict[str, object] = {"problems": sets.digests(), **model.facts}
    if is_new:
        facts["probe"] = _probe(config, sets, prompter, model.engine, grader, watcher)
    reference = _open_reference(config, before, open_model)
    run = make_run(_environment(facts))
    if history is not None:
        run.write_history(history)
    ledger = opened.enter_context(Ledger(run.ledger, commit=partial(run.disk.commit, run.ledger)))
    for name, problems in sets.train.items():
        ledger.add_problems(name, problems)
    session = Session(
        config, run, sets, model.tokenizer, prompter, model.engine, grader, ledger, watcher,
        model.facts, reference=reference, drafts=DraftStore() if config.reuse.drafts else None,
    )  # fmt: skip
    session.opening = [
        *(("problems", note) for note in sets.notes),
        *(("model", note) for note in (*model.notes, *prompter.notes)),
        *(("probe", note) for note in run.read_environment().get("probe", {}).get("said", ())),
        *([("sandbox", isolation)] if isolation else []),
    ]
    return session


def _read_problems(config: Config, run: RunDirectory, grader: Grader) -> ProblemSets:
    """The problems, if each can be graded and a run that exists began with them."""
    sets = load_sets(config, grader.math.check_gold)
    check_sandbox(config, sets)
    check_scorers(sets, grader.scorers.problem_with)
    _check_unchanged(run, sets)
    return sets


def _checkpoints_to_come(config: Config, run: RunDirectory) -> int:
    """How many more of them the disk must hold: one beyond those kept, while it is written."""
    keep = config.checkpoint.keep_last
    return keep + 1 - min(keep, len(checkpoints_of(run)))


def _open_reference(config: Config, run: RunDirectory, open_model: ModelOpener) -> Engine | None:
    """The first weights once more, for the KL term; None if the loss has none."""
    if not config.loss.kl_weight:
        return None
    # it draws nothing, so it needs no sampler beside its weights
    own = config.model_copy(update={"model": config.model.model_copy(update={"sampler": "own"})})
    return open_model(own, run.checkpoints).engine


def _probe(
    config: Config,
    sets: ProblemSets,
    prompter: Prompter,
    engine: Engine,
    grader: Grader,
    watcher: Watcher,
) -> dict[str, object]:
    """What environment.json keeps of groups drawn and graded as in the first step of their stage.

    Raises `ConfigError` if nothing could be learned.
    """

    def draw(part: Part, seed: int) -> list[Group]:
        stage = part.stage
        how = stage_sampling(stage, prompter.stop_ids, seed)
        watcher.phase(f"probing {part.set_name}")
        groups = sample_groups(engine, prompter, part.problems, stage.group_size, how, 0)
        return _grade(grader, prompter, config, groups, stage)

    probed = probe(config, sets, draw)
    try:
        return facts_of_probe(
            probed, prompter.describe_stops(), opens_thinking=prompter.opens_thinking
        )
    except ConfigError:  # what the tokenizer brings about may be why
        for note in prompter.notes:
            watcher.note(note)
        raise


def _grade(
    grader: Grader, prompter: Prompter, config: Config, groups: Sequence[Group], stage: StageConfig
) -> list[Group]:
    """The groups with verdicts and rewards."""
    return grader.grade(
        groups,
        prompt_text=lambda group: prompter.text_of(group.problem),
        thinking_required=config.prompt.thinking == "required",
        prefilled_thinking=prompter.opens_thinking,
        reward=stage.reward,
        max_tokens=stage.max_completion_tokens,
    )


def open_selection(session: Session, number: int) -> Selection:
    """The selection of stage `number` (from 1), with what earlier stages knew."""
    config, state = session.config, session.state
    stage = config.stage[number - 1]
    selection = Selection(
        session.sets.train,
        stage.drawn,
        stage.problems_per_step,
        stage.group_size,
        seed=f"{config.seed}/stage/{number}",
        config=config.selection,
        memory=state.memory,
    )
    if state.selection is None:
        selection.recall(_epochs_of(session.run), skip=state.memory.keys())
        return selection
    try:
        selection.load_state_dict(state.selection)
    except (ValueError, KeyError, TypeError) as error:
        root = session.run.root
        raise RunDirectoryError(
            f"{root}: its checkpoint does not fit its config: {error}"
        ) from None
    return selection


def _check_unchanged(run: RunDirectory, sets: ProblemSets) -> None:
    """Raise `RunDirectoryError` if a run that exists was begun with other problems."""
    began = run.read_environment().get("problems", {})
    now = sets.digests()
    changed = [name for name in now if began.get(name, now[name]) != now[name]]
    if changed:
        raise RunDirectoryError(
            f"{run.root}: the problems of {', '.join(changed)} are not those that the run began "
            "with (a file has changed); put them back, or begin a new run"
        )


def _other_history(config: Config, sets: ProblemSets) -> tuple[_History, str]:
    """What the run that selection begins with knows of our problems, and a sentence about it."""
    problems = [problem for of_set in sets.train.values() for problem in of_set]
    ids = {problem.id for problem in problems}
    other = RunDirectory.open(Path(config.selection.history))
    with Ledger(other.ledger, read_only=True) as ledger:
        said = check_same_problems(ledger, problems)
        drawn = ({i: (t.correct, t.gradable) for i, t in e.items()} for e in ledger.tallies())
        # what the other run itself began with comes first: its drops stand by that
        epochs = itertools.chain(other.read_history(), drawn)
        history = [{i: counts for i, counts in epoch.items() if i in ids} for epoch in epochs]
    return history, said


def _epochs_of(run: RunDirectory) -> Iterator[dict[str, Tally]]:
    """What the run keeps of another's history: it may go on, or away, and changes nothing."""
    for epoch in run.read_history():
        yield {problem_id: Tally(*counts) for problem_id, counts in epoch.items()}


def facts_of(model_facts: Mapping[str, object]) -> dict[str, Any]:
    """What a run's numbers depend on beside its config, problems and code."""
    return {"srpo": __version__, "python": platform.python_version(), **model_facts}


def _environment(facts: Mapping[str, object]) -> dict[str, object]:
    return {
        **facts_of(facts),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
