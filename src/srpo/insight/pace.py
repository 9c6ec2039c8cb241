"""How many steps of a run are left, and how long they will take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from srpo.formats import clock
from srpo.run.figures import StepFigures
from srpo.run.watcher import StagePlan


class Pace:
    """How many steps are left, and how long they will take if they go on as so far.

    Steps before `first_step` were done by an earlier process; they are shared out over the
    stages in order, and their time is unknown, so it does not enter the mean.
    """

    def __init__(self, stages: Sequence[StagePlan] = (), first_step: int = 1) -> None:
        self.stages = tuple(stages)
        self.stage = stages[0].number if stages else 1
        self.last_step = first_step - 1
        self._done: dict[int, int] = {}
        self._timed_steps = 0
        self._timed_s = 0.0
        self._budget_share: float | None = None
        earlier = first_step - 1
        for plan in self.stages:
            taken = earlier if plan.steps is None else min(earlier, plan.steps)
            self._done[plan.number] = taken
            earlier -= taken
            if taken:
                self.stage = plan.number

    def step(self, figures: StepFigures) -> None:
        """One more step is over."""
        self.stage = figures.stage
        self.last_step = figures.step
        self._done[figures.stage] = self.done(figures.stage) + 1
        self._timed_steps += 1
        self._timed_s += figures.step_s
        self._budget_share = figures.budget_share

    def done(self, stage: int) -> int:
        """Steps done in a stage."""
        return self._done.get(stage, 0)

    @property
    def steps_left(self) -> int | None:
        """Steps of this stage and the later ones that are still to do; None if one is open.

        With a budget: as many as it will last for, at the pace so far, if that is less.
        """
        planned = self._planned_steps_left()
        if not self._budget_share:
            return planned
        lasting = math.ceil(self.last_step * (1.0 / min(1.0, self._budget_share) - 1.0))
        return lasting if planned is None else min(planned, lasting)

    def _planned_steps_left(self) -> int | None:
        left = 0
        for plan in self.stages:
            if plan.number < self.stage:  # it may have ended early; it is over all the same
                continue
            if plan.steps is None:
                return None
            left += max(0, plan.steps - self.done(plan.number))
        return left

    @property
    def left_s(self) -> float | None:
        """Mean time of a step so far times the steps left; None if either is unknown."""
        if self.steps_left is None or not self._timed_steps:
            return None
        return self._timed_s / self._timed_steps * self.steps_left

    @property
    def step_text(self) -> str:
        """Such as `12/70`, or `12` where the end is open."""
        left = self.steps_left
        return f"{self.last_step}" if left is None else f"{self.last_step}/{self.last_step + left}"

    @property
    def left_text(self) -> str:
        """Such as `0:31 left`; says so where it cannot be known."""
        if self.steps_left is None:
            return "no fixed end"
        return "time left not known yet" if self.left_s is None else f"{clock(self.left_s)} left"
