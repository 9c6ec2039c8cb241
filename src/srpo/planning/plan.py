"""What a config comes to, before anything is trained: batches, steps, rollouts, tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srpo.config import Config, StageConfig
from srpo.config.method import SelectionConfig
from srpo.config.run import BudgetConfig
from srpo.errors import ConfigError
from srpo.run.problem_sets import load_sets, used_sets
from srpo.selection.shares import quotas

WHOLE = re.compile(r"[1-9][0-9_]{0,11}(?<!_)")  # a count of at least 1
ASSUMED_PROBLEMS = 10_000  # of a set whose files are not here, unless another number is given


@dataclass(frozen=True, slots=True)
class Counts:
    """Problems of each set: counted where its files are here, assumed where they are not.

    A test problem that several sets hold out counts for the first of them.

    >>> Counts(train={"math": 9936}, test={"math": 64}, notes=()).train["math"]
    9936
    """

    train: dict[str, int]
    test: dict[str, int]
    notes: tuple[str, ...]  # what is to be said of them, assumptions first


def count_problems(config: Config, assumed: Mapping[str, int]) -> Counts:
    """Count the problems of every set that a stage uses, without those that files lack.

    A set with a file that is not here has as many problems as `assumed` says, held-out ones
    included, or else `ASSUMED_PROBLEMS`. Training refuses such a file. Raises `ConfigError` if
    `assumed` names a set that no stage uses, or leaves nothing to train on beside those held out,
    and `SrpoError` where training would for the other sets.
    """
    used = used_sets(config)
    for name in assumed:
        if name not in used:
            raise ConfigError(
                f"--assume {name}={assumed[name]}: no stage uses a set of that name "
                f"(known: {', '.join(used)})"
            )
    gone = {name: _absent(config.sets[name].files) for name in used}
    absent = {name: files for name, files in gone.items() if files}
    sets = load_sets(config, without=absent)
    train, test, notes = {}, {}, []
    tested: set[str] = set()
    for name in used:
        if name not in absent:
            here = sets.by_name[name]
            own = {problem.id for problem in here.test} - tested
            tested |= own
            train[name], test[name] = len(here.train), len(own)
            if name in assumed:
                notes.append(f"{name}: its problems are here and counted; --assume is not needed")
            continue
        count, of_set = assumed.get(name, ASSUMED_PROBLEMS), config.sets[name]
        train[name], test[name] = count - of_set.holdout - of_set.validation, of_set.holdout
        if train[name] < 1:
            raise ConfigError(
                f"--assume {name}={count}: sets.{name} holds out "
                f"{of_set.holdout + of_set.validation}; assume more"
            )
        notes.append(
            f"{name}: {count:,} problems assumed, since {absent[name][0]} is not here "
            f"(--assume {name}=N for another number; srpo train needs the file)"
        )
    return Counts(train, test, (*notes, *sets.notes))


def _absent(files: Sequence[str]) -> list[str]:
    return [file for file in files if not Path(file).exists()]


def parse_assumed(texts: Sequence[str]) -> dict[str, int]:
    """`math=20000` -> {"math": 20000}; of a set named twice the last number holds.

    Raises `ConfigError` for anything that is not a name and a whole number of at least 1.
    """
    assumed = {}
    for text in texts:
        name, _, count = (part.strip() for part in text.partition("="))
        if not name or not WHOLE.fullmatch(count):
            raise ConfigError(
                f"--assume {text}: write it as SET=COUNT, for example math=20000, once for each set"
            )
        assumed[name] = int(count)
    return assumed


@dataclass(frozen=True, slots=True)
class StageOutline:
    """One stage as it will run. `steps` counts whole passes where the stage is told in epochs."""

    name: str
    places: dict[str, int]  # set -> problems of the first step
    problems: dict[str, int]  # set -> problems to train on
    steps_per_epoch: int  # of the first epoch; later ones shrink as problems are dropped
    steps: int  # at most
    step_rollouts: int  # of one step, at most: every refill taken, every group whole
    max_completion_tokens: int

    @property
    def rollouts(self) -> int:
        """Rollouts, at most, if no budget ends the run."""
        return self.steps * self.step_rollouts

    @property
    def tokens(self) -> int:
        """Generated tokens, at most: every completion as long as it may be."""
        return self.rollouts * self.max_completion_tokens


@dataclass(frozen=True, slots=True)
class Most:
    """What a stage or a run comes to at most; tokens are generated ones.

    >>> Most(rollouts=8, tokens=512).tokens
    512
    """

    rollouts: int
    tokens: int


def outline(
    stage: StageConfig, problems: Mapping[str, int], selection: SelectionConfig
) -> StageOutline:
    """Batch, steps, rollouts and tokens of a stage, before any budget.

    `problems`: how many each set has to train on.
    """
    weights = stage.drawn
    sizes = {name: problems[name] for name in weights}
    total = sum(weights.values())
    shares = {name: stage.problems_per_step * w / total for name, w in weights.items()}
    epoch = max(math.ceil(sizes[name] / min(shares[name], sizes[name])) for name in weights)
    ends = [stage.steps, None if stage.epochs is None else stage.epochs * epoch]
    steps = min(end for end in ends if end is not None)
    rounds = 1 + selection.refills  # each draws as many groups as the first at most
    most = {
        n: math.ceil(shares[n]) if selection.shares == "declared" else stage.problems_per_step
        for n in weights
    }
    groups = sum(min(sizes[name], rounds * most[name]) for name in weights)
    return StageOutline(
        name=stage.name,
        places=quotas(weights, stage.problems_per_step, {}),
        problems=sizes,
        steps_per_epoch=epoch,
        steps=steps,
        step_rollouts=min(rounds * stage.problems_per_step, groups) * stage.group_size,
        max_completion_tokens=stage.max_completion_tokens,
    )


def most_of(stages: Sequence[StageOutline], budget: BudgetConfig) -> Most:
    """What some stages in a row come to at most, the run's budget considered.

    A budget is looked at after each step, so its last step may go beyond it. A budget of rollouts
    alone bounds the tokens too. One of tokens alone does not bound rollouts, which may be short;
    and of two budgets the run goes on until both are spent, so that neither bounds anything.
    """
    rollouts, tokens = sum(s.rollouts for s in stages), sum(s.tokens for s in stages)
    if budget.rollouts and not budget.tokens:
        rollouts = min(rollouts, budget.rollouts - 1 + max(s.step_rollouts for s in stages))
        tokens = min(tokens, rollouts * max(s.max_completion_tokens for s in stages))
    elif budget.tokens and not budget.rollouts:
        longest = max(s.step_rollouts * s.max_completion_tokens for s in stages)
        tokens = min(tokens, budget.tokens - 1 + longest)
    return Most(rollouts, tokens)
