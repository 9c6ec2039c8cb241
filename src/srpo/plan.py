"""What a config comes to, before anything is trained: batches, steps, rollouts, tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from srpo.config import SelectionConfig, StageConfig
from srpo.config_run import BudgetConfig
from srpo.problem_sets import ProblemSets
from srpo.selection.shares import quotas


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


def outline(stage: StageConfig, sets: ProblemSets, selection: SelectionConfig) -> StageOutline:
    """Batch, steps, rollouts and tokens of a stage, before any budget."""
    weights = {name: weight for name, weight in stage.sets.items() if weight > 0}
    sizes = {name: len(sets.train[name]) for name in weights}
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
