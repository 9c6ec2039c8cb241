"""What a run works with, opened and checked before anything is trained or written."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srpo import __version__
from srpo.checkpoints import RunState
from srpo.config import Config, SetConfig, StageConfig
from srpo.drafts import DraftStore
from srpo.embedded.world import generate
from srpo.engines import Engine, ModelOpener
from srpo.errors import ConfigError, RunDirectoryError
from srpo.history import Ledger, check_same_problems
from srpo.prefixes import OwnAnswers
from srpo.problems import hold_out, read_problems
from srpo.prompts import Prompter
from srpo.rewards import Grader
from srpo.rewards.math.answers import gold_problem
from srpo.rewards.math.second_opinion import second_opinions
from srpo.rewards.opinion_sample import opinion_row, questions
from srpo.rundir import RunDirectory, check_space
from srpo.selection import Selection
from srpo.selection.rule import Resampled
from srpo.types import AssertCase, Group, Problem, Split
from srpo.watcher import Watcher

SHOWN_UNGRADABLE = 3
HOLD_OUT_SEED = 0  # which problems are held out never depends on the run's seed


@dataclass(frozen=True, slots=True)
class ProblemSets:
    """The problems of a run: to train on, to test and to validate, by set, and what was said."""

    train: dict[str, list[Problem]]
    test: dict[str, list[Problem]]
    validation: dict[str, list[Problem]]
    notes: tuple[str, ...]

    def held_out(self, split: Split) -> list[Problem]:
        """The problems of a split, all sets together."""
        sets = self.test if split == "test" else self.validation
        return [problem for problems in sets.values() for problem in problems]

    def of_set(self, name: str) -> list[Problem]:
        """All problems of a set, whatever they are for."""
        return [*self.train[name], *self.test[name], *self.validation[name]]

    @property
    def has_code(self) -> bool:
        """True if some problem, to train on or held out, needs programs to be run."""
        return any(p.domain == "code" for name in self.train for p in self.of_set(name))


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
    reference: Engine | None = None  # the first weights, never trained, for the KL term
    drafts: DraftStore | None = None  # None: nothing is drawn from drafts
    answers: OwnAnswers = field(default_factory=OwnAnswers)
    selection: Selection | None = None  # of the stage in progress
    state: RunState = field(default_factory=RunState)
    revived: list[Resampled] = field(default_factory=list)  # for a stage's start; not in the ledger
    events: list[tuple[str, str]] = field(default_factory=list)  # not yet in the ledger

    @property
    def budget_accounts(self) -> list[tuple[int, int]]:
        """(limit, spent) of rollouts and of generated tokens; limit 0: not counted."""
        budget, state = self.config.budget, self.state
        return [(budget.rollouts, state.total_rollouts), (budget.tokens, state.total_tokens)]

    def tell(self, kind: str, text: str) -> None:
        """Say a sentence to whoever looks on, and keep it for the ledger."""
        self.events.append((kind, text))
        self.watcher.note(text)

    def grade(self, groups: Sequence[Group], stage: StageConfig) -> list[Group]:
        """The groups with verdicts and rewards."""
        return self.grader.grade(
            groups,
            prompt_text=lambda group: self.prompter.text_of(group.problem),
            thinking_required=self.config.prompt.thinking == "required",
            prefilled_thinking=self.prompter.opens_thinking,
            reward=stage.reward,
            max_tokens=stage.max_completion_tokens,
        )

    def snapshot(self) -> RunState:
        """The state with all that was counted and remembered since, as a checkpoint keeps it."""
        if self.selection is not None:
            self.state.selection = self.selection.state_dict()
        self.state.grader = self.grader.state_dict()
        if self.config.reuse.prefixes:
            self.state.answers = self.answers.state_dict()
        return self.state

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

    def tell_opinions(self) -> None:
        """Say at the end how often the other grader disagreed; nothing if it was never asked."""
        rows = self.run.read_opinions()
        asked = sum(row["asked"] for row in rows)
        if asked:
            found = sum(len(row["disagreements"]) for row in rows)
            self.tell(
                "second_opinion",
                f"another grader checked {asked} math answers and disagreed on {found}"
                + (f"; both reasons are in {self.run.opinions}" if found else ""),
            )

    def close(self) -> None:
        """Free processes and files."""
        self.grader.close()
        self.ledger.close()


def cheap_gold_check(answers: Iterable[str]) -> dict[str, str]:
    """The gold answers that cannot be graded, with the reason, as far as no parser is needed."""
    reasons = {answer: gold_problem(answer) for answer in answers}
    return {answer: reason for answer, reason in reasons.items() if reason}


def load_sets(
    config: Config, check_gold: Callable[[Iterable[str]], Mapping[str, str]] = cheap_gold_check
) -> ProblemSets:
    """Read or generate every set that a stage uses, and set the held-out problems aside.

    `check_gold` gives the gold answers of files that no completion could be checked against.
    Raises `ProblemFileError` for files that cannot be used, `ConfigError` for an empty set.
    """
    used = dict.fromkeys(name for stage in config.stage for name, w in stage.sets.items() if w > 0)
    train: dict[str, list[Problem]] = {}
    test: dict[str, list[Problem]] = {}
    validation: dict[str, list[Problem]] = {}
    notes: list[str] = []
    for name in used:
        loaded = _load_set(name, config.sets[name], check_gold)
        train[name], test[name], validation[name], said = loaded
        notes += said
        if not train[name]:
            raise ConfigError(f"sets.{name}: no problems to train on; a stage needs some")
    return ProblemSets(train, test, validation, tuple(dict.fromkeys(notes)))


def check_prompts(config: Config, sets: ProblemSets, prompter: Prompter) -> None:
    """Raise `ConfigError` if a prompt is longer than a stage that uses its set allows."""
    lengths = {
        name: [(len(prompter.prompt_of(p)), p) for p in sets.of_set(name)] for name in sets.train
    }
    for number, stage in enumerate(config.stage, start=1):
        over = [
            (length, problem)
            for name in stage.sets
            for length, problem in lengths.get(name, [])
            if length > stage.max_prompt_tokens
        ]
        if over:
            length, problem = max(over, key=lambda item: item[0])
            shown = problem.name or problem.id
            raise ConfigError(
                f"stage.{number}.max_prompt_tokens is {stage.max_prompt_tokens}, and {len(over)} "
                f"prompts are longer (problem {shown}: {length} tokens); raise it, or take these "
                "problems out"
            )


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
    grader = Grader(config.verifier)
    try:
        return _open_session(config, make_run, root, watcher, open_model, grader)
    except BaseException:
        grader.close()
        raise


def _open_session(
    config: Config,
    make_run: Callable[[Mapping[str, object]], RunDirectory],
    root: Path,
    watcher: Watcher,
    open_model: ModelOpener,
    grader: Grader,
) -> Session:
    watcher.phase("reading problems")
    sets = load_sets(config, grader.math.check_gold)
    _check_sandbox(config, sets)
    if config.selection.history:
        with _other_ledger(config) as ledger:
            problems = [problem for of_set in sets.train.values() for problem in of_set]
            sets = replace(sets, notes=(*sets.notes, check_same_problems(ledger, problems)))
    isolation = grader.describe() if sets.has_code else ""
    watcher.phase("loading the model")
    model = open_model(config, RunDirectory(root).checkpoints)
    prompter = Prompter(model.tokenizer, config.prompt)
    check_prompts(config, sets, prompter)
    # one more than is kept, while the newest is being written
    check_space(root, model.checkpoint_bytes * (config.checkpoint.keep_last + 1))
    run = make_run(_environment(model.facts))
    ledger = Ledger(run.ledger)
    for name, problems in sets.train.items():
        ledger.add_problems(name, problems)
    session = Session(
        config, run, sets, model.tokenizer, prompter, model.engine, grader, ledger, watcher
    )
    if config.reuse.drafts:
        session.drafts = DraftStore()
    if config.loss.kl_weight:
        session.reference = open_model(config, RunDirectory(root).checkpoints).engine
    for note in sets.notes:
        session.tell("problems", note)
    if isolation:
        session.tell("sandbox", isolation)
    return session


def open_selection(session: Session, number: int) -> Selection:
    """The selection of stage `number` (from 1), with what earlier stages knew."""
    config, state = session.config, session.state
    stage = config.stage[number - 1]
    selection = Selection(
        session.sets.train,
        stage.sets,
        stage.problems_per_step,
        stage.group_size,
        seed=f"{config.seed}/stage/{number}",
        config=config.selection,
        memory=state.memory,
    )
    if state.selection is not None:
        selection.load_state_dict(state.selection)
    elif config.selection.history:
        with _other_ledger(config) as ledger:
            selection.recall(ledger.tallies(), skip=state.memory.keys())
    return selection


def _other_ledger(config: Config) -> Ledger:
    """The ledger of the run that selection begins with."""
    return Ledger(RunDirectory.open(Path(config.selection.history)).ledger, read_only=True)


def _load_set(
    name: str, config: SetConfig, check_gold: Callable[[Iterable[str]], Mapping[str, str]]
) -> tuple[list[Problem], list[Problem], list[Problem], list[str]]:
    """Problems to train on, to test and to validate, and what is to be said of them."""
    if config.generate:
        try:
            made = generate(config.generate, "train", config.count, 0, config.level_weights)
            test = generate(config.generate, "test", config.holdout, 0)
            validation = generate(config.generate, "validation", config.validation, 0)
        except ValueError as error:
            raise ConfigError(f"sets.{name}: {error}") from None
        return made, test, validation, []
    read = read_problems(
        [Path(file) for file in config.files], bad_rows=config.bad_rows, domain=config.domain
    )
    notes = [f"{name}: {read.summary()}", *read.bad_rows]
    rest, held = hold_out(read.problems, config.holdout, HOLD_OUT_SEED)
    train, watched = hold_out(rest, config.validation, HOLD_OUT_SEED)
    notes += _ungradable_notes(name, read.problems, check_gold)
    return list(train), list(held), list(watched), notes


def _ungradable_notes(
    name: str,
    problems: Sequence[Problem],
    check_gold: Callable[[Iterable[str]], Mapping[str, str]],
) -> list[str]:
    """Say which math problems have an answer that no completion could be checked against."""
    with_answer = [problem for problem in problems if problem.answer is not None]
    reasons = check_gold([problem.answer or "" for problem in with_answer])
    bad = [problem for problem in with_answer if problem.answer in reasons]
    if not bad:
        return []
    shown = [
        f"problem {problem.name or problem.id}, {reasons[problem.answer or '']}"
        for problem in bad[:SHOWN_UNGRADABLE]
    ]
    more = f"; and {len(bad) - len(shown)} more" if len(bad) > len(shown) else ""
    return [
        f"{name}: {len(bad)} of {len(with_answer)} answers cannot be graded and give no reward "
        f"({'; '.join(shown)}{more})"
    ]


def _check_sandbox(config: Config, sets: ProblemSets) -> None:
    """Raise `ConfigError` if the sandbox cannot run some problem's tests at all."""
    if not config.verifier.remote_url:
        return
    for name in sets.train:
        for problem in sets.of_set(name):
            if any(isinstance(case, AssertCase) for case in problem.tests):
                raise ConfigError(
                    f"verifier.remote_url: a remote sandbox runs no assert tests, and set {name} "
                    f"has some (problem {problem.name or problem.id}); take out remote_url, or "
                    "these problems"
                )


def _environment(facts: Mapping[str, object]) -> dict[str, object]:
    return {
        "srpo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }
