"""The problems of a run, by set: read or generated, checked, and the held-out ones set aside."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from srpo.config import Config, SetConfig
from srpo.embedded.world import generate
from srpo.errors import ConfigError
from srpo.formats import counted
from srpo.prefixes import longest_prefix
from srpo.problems import hold_out, read_problems
from srpo.prompts import Prompter
from srpo.rewards.math.answers import gold_problem
from srpo.types import AssertCase, Problem, Split

SHOWN_UNGRADABLE = 3
SPLITS: tuple[Split, ...] = ("test", "validation")
HOLD_OUT_SEED = 0  # which problems are held out never depends on the run's seed


@dataclass(frozen=True, slots=True)
class SplitSet:
    """The problems of one set, by what they are for."""

    train: list[Problem]
    test: list[Problem] = field(default_factory=list)
    validation: list[Problem] = field(default_factory=list)

    def __iter__(self) -> Iterator[Problem]:
        """All of them, whatever they are for."""
        return itertools.chain(self.train, self.test, self.validation)

    def held_out(self, split: Split) -> list[Problem]:
        """The problems of a split."""
        return self.test if split == "test" else self.validation

    def digest(self) -> str:
        """A hash of the problems, their order and what they are for."""
        parts = (self.train, self.test, self.validation)
        text = "\n\n".join("\n".join(problem.id for problem in part) for part in parts)
        return hashlib.sha256(text.encode()).hexdigest()

    def without(self, trained: Collection[str], validated: Collection[str]) -> SplitSet:
        """The set without the problems of these ids to train on, and of those to validate."""
        return SplitSet(
            [problem for problem in self.train if problem.id not in trained],
            self.test,
            [problem for problem in self.validation if problem.id not in validated],
        )


@dataclass(frozen=True, slots=True)
class ProblemSets:
    """The problems of a run, by set, and what is to be said of them."""

    by_name: dict[str, SplitSet]
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> dict[str, list[Problem]]:
        """The problems to train on, by set."""
        return {name: of_set.train for name, of_set in self.by_name.items()}

    def held_out(self, split: Split) -> list[Problem]:
        """The problems of a split, all sets together; what several sets hold out comes once."""
        sets = self.by_name.values()
        return list({p.id: p for of_set in sets for p in of_set.held_out(split)}.values())

    def __iter__(self) -> Iterator[Problem]:
        """All problems, whatever they are for; once for each set that they are in."""
        return itertools.chain.from_iterable(self.by_name.values())

    def digests(self) -> dict[str, str]:
        """Of each set, `SplitSet.digest`."""
        return {name: of_set.digest() for name, of_set in self.by_name.items()}

    @property
    def has_code(self) -> bool:
        """True if some problem, to train on or held out, needs programs to be run."""
        return any(problem.domain == "code" for problem in self)


def cheap_gold_check(answers: Iterable[str]) -> dict[str, str]:
    """The gold answers that cannot be graded, with the reason, as far as no parser is needed."""
    reasons = {answer: gold_problem(answer) for answer in answers}
    return {answer: reason for answer, reason in reasons.items() if reason}


def used_sets(config: Config) -> tuple[str, ...]:
    """The sets that some stage draws from, each once, in the order of the stages."""
    return tuple(dict.fromkeys(name for stage in config.stage for name in stage.drawn))


def load_sets(
    config: Config,
    check_gold: Callable[[Iterable[str]], Mapping[str, str]] = cheap_gold_check,
    without: Collection[str] = (),
) -> ProblemSets:
    """Read or generate every set that a stage uses, and set the held-out problems aside.

    Sets named in `without` are left out: a plan can be made before their files are there.

    A problem that some set holds out is trained on in none, and a test problem validates nothing.
    `check_gold` gives the gold answers of files that no completion could be checked against.
    Raises `ProblemFileError` for files that cannot be used, `ConfigError` for an empty set.
    """
    used = [name for name in used_sets(config) if name not in without]
    loaded: dict[str, SplitSet] = {}
    notes: list[str] = []
    for name in used:
        loaded[name], said = _load_set(name, config.sets[name], check_gold)
        notes += said
    apart, said = _keep_apart(loaded)
    for name, of_set in apart.items():
        if not of_set.train:
            raise ConfigError(f"sets.{name}: no problems to train on; a stage needs some")
    return ProblemSets(apart, tuple(dict.fromkeys([*notes, *said])))


def room_for_prompts(config: Config, number: int, context_tokens: int) -> int:
    """The most tokens of a prompt of stage `number` (from 1) that the model's context has room for.

    Completions may take all that they are allowed, after the start of an own answer if
    `reuse.prefixes` is set. Raises `ConfigError` if they leave no room.
    """
    stage = config.stage[number - 1]
    begun = longest_prefix(config, number)
    room = context_tokens - stage.max_completion_tokens - begun
    if room < 1:
        more = f" and reuse.prefixes up to {begun} before it" if begun else ""
        raise ConfigError(
            f"stage.{number}.max_completion_tokens is {stage.max_completion_tokens}{more}, and the "
            f"model is made for {context_tokens} tokens, its prompt among them "
            "(max_position_embeddings of its config); lower it, or take another model"
        )
    return room


def check_prompts(
    config: Config, sets: ProblemSets, prompter: Prompter, context_tokens: int | None = None
) -> None:
    """Raise `ConfigError` if a prompt is longer than a stage that draws from its set allows.

    Or if it and a completion are together longer than the model's context, if that is given.
    Held-out problems are answered as in the last stage.
    """
    lengths = {name: _lengths(of_set, prompter) for name, of_set in sets.by_name.items()}
    held_out = {problem.id for split in SPLITS for problem in sets.held_out(split)}
    for number, stage in enumerate(config.stage, start=1):
        found = [each for name in stage.drawn for each in lengths[name]]
        _refuse_longer(
            found, stage.max_prompt_tokens, f"stage.{number}.max_prompt_tokens", "raise it"
        )
        if context_tokens is None:
            continue
        if number == len(config.stage) and config.evaluation.samples:
            every = (each for of_set in lengths.values() for each in of_set)
            found += [(length, problem) for length, problem in every if problem.id in held_out]
        _refuse_longer(
            found,
            room_for_prompts(config, number, context_tokens),
            f"the room that stage.{number}.max_completion_tokens ({stage.max_completion_tokens}) "
            f"leaves for a prompt in the model's context of {context_tokens} tokens",
            "lower max_completion_tokens",
        )


def _lengths(problems: Iterable[Problem], prompter: Prompter) -> list[tuple[int, Problem]]:
    """Problems with the tokens of their prompts."""
    return [(len(prompter.prompt_of(problem)), problem) for problem in problems]


def _refuse_longer(found: Iterable[tuple[int, Problem]], most: int, what: str, remedy: str) -> None:
    """Raise `ConfigError` if a prompt has more tokens than `most`."""
    over = {problem.id: (length, problem) for length, problem in found if length > most}
    if over:
        length, problem = max(over.values(), key=lambda item: item[0])
        verb = "is" if len(over) == 1 else "are"
        raise ConfigError(
            f"{what} is {most}, and {counted(len(over), 'prompt')} {verb} longer (problem "
            f"{problem.name or problem.id}: {length} tokens); {remedy}, or take these problems out"
        )


def check_scorers(sets: ProblemSets, problem_with: Callable[[list[Problem]], str | None]) -> None:
    """Raise `ConfigError` if the scorer that some problem names cannot be used on this machine."""
    line = problem_with(list(sets))
    if line:
        raise ConfigError(line)


def check_sandbox(config: Config, sets: ProblemSets) -> None:
    """Raise `ConfigError` if the sandbox cannot run some problem's tests at all."""
    if not config.verifier.remote_url:
        return
    for name, of_set in sets.by_name.items():
        for problem in of_set:
            if any(isinstance(case, AssertCase) for case in problem.tests):
                raise ConfigError(
                    f"verifier.remote_url: a remote sandbox runs no assert tests, and set {name} "
                    f"has some (problem {problem.name or problem.id}); take out remote_url, or "
                    "these problems"
                )


def _load_set(
    name: str, config: SetConfig, check_gold: Callable[[Iterable[str]], Mapping[str, str]]
) -> tuple[SplitSet, list[str]]:
    """The set, and what is to be said of it."""
    if config.generate:
        try:
            made = SplitSet(
                generate(config.generate, "train", config.count, 0, config.level_weights),
                generate(config.generate, "test", config.holdout, 0),
                generate(config.generate, "validation", config.validation, 0),
            )
        except ValueError as error:
            raise ConfigError(f"sets.{name}: {error}") from None
        return made, []
    read = read_problems(
        [Path(file) for file in config.files], bad_rows=config.bad_rows, domain=config.domain
    )
    notes = [f"{name}: {read.summary()}", *read.bad_rows]
    rest, held = hold_out(read.problems, config.holdout, HOLD_OUT_SEED)
    train, watched = hold_out(rest, config.validation, HOLD_OUT_SEED)
    notes += _ungradable_notes(name, read.problems, check_gold)
    return SplitSet(list(train), list(held), list(watched)), notes


def _ungradable_notes(
    name: str,
    problems: Sequence[Problem],
    check_gold: Callable[[Iterable[str]], Mapping[str, str]],
) -> list[str]:
    """Say which math problems have an answer that no completion could be checked against."""
    with_answer = [p for p in problems if p.answer is not None and p.scorer is None]
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


def _keep_apart(sets: dict[str, SplitSet]) -> tuple[dict[str, SplitSet], list[str]]:
    """Take what one set holds out away from the others; and what is to be said of it.

    Each set holds out its own, so sets that share problems would train on each other's test. Sets
    of one file hold out the same: these stay with each, and are read once (`held_out`).
    """
    tested = {problem.id for of_set in sets.values() for problem in of_set.test}
    watched = {problem.id for of_set in sets.values() for problem in of_set.validation}
    trained = {problem.id for of_set in sets.values() for problem in of_set.train}
    moved = (watched & tested) | (trained & (tested | watched))
    apart = {name: of_set.without(tested | watched, tested) for name, of_set in sets.items()}
    if not moved:
        return apart, []
    return apart, [
        f"{counted(len(moved), 'problem')} held out by one set and part of another: held out of "
        "both"
    ]
