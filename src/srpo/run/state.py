"""Where a run stands: everything about it that changes, as a checkpoint keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from srpo.config import Config
from srpo.config.run import BudgetConfig
from srpo.schedule import Progress, StageEnd, Switch, share_spent


@dataclass(slots=True)
class RunState:
    """Everything about a run that changes, beside weights, optimizer and files.

    Random draws need no state of their own here: selection carries its generator, and every
    other draw is seeded by the run's seed and the step (rollouts.derive_seed). Nothing here
    depends on the clock.
    """

    step: int = 0  # steps done, across the run
    stage: int = 1  # the stage in progress, from 1
    epoch: int = 1  # the epoch in progress, across the run, from 1
    policy_version: int = 0
    total_tokens: int = 0  # generated in training
    total_rollouts: int = 0
    num_evaluations: int = 0  # lines of evaluations.jsonl
    num_opinions: int = 0  # lines of second_opinions.jsonl
    skipped_in_a_row: int = 0  # steps without an update, since their numbers were not finite
    progress: Progress = field(default_factory=Progress)  # of the stage
    selection: dict[str, Any] | None = None  # of the stage; None before its first step
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)  # of earlier stages, by set
    told_unfilled: bool = False  # that dynamic sampling could not fill a step
    grader: dict[str, Any] = field(default_factory=dict)  # which tests failed how often
    answers: dict[str, Any] = field(default_factory=dict)  # own correct answers to hard problems
    ending: str = ""  # the sentence the run ended with; empty while it goes on

    def accounts(self, budget: BudgetConfig) -> list[tuple[int, int]]:
        """(limit, spent) of rollouts and of generated tokens; limit 0: not counted."""
        return [(budget.rollouts, self.total_rollouts), (budget.tokens, self.total_tokens)]

    def budget_is_spent(self, budget: BudgetConfig) -> bool:
        """Whether all that a budget counts is spent; False if it counts nothing."""
        share = share_spent(self.accounts(budget))
        return share is not None and share >= 1.0

    def stage_end(self, config: Config) -> StageEnd | None:
        """What the stage in progress is over by; None while it goes on."""
        stage, idle = config.stage[self.stage - 1], config.selection.idle_epochs
        return Switch(stage.steps, stage.epochs, stage.plateau_steps, idle).end(self.progress)
