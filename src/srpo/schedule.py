"""When a stage ends: after so many steps, so many epochs, or when the reward stops rising."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from srpo.formats import counted

SMOOTHING = 0.9  # of the exponential mean: about the last ten steps count


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage has come. Counts are within the stage.

    >>> Progress().after_step(1.0).steps
    1
    """

    steps: int = 0
    epochs: int = 0  # whole epochs
    steps_in_epoch: int = 0  # of the epoch in progress
    idle_epochs: int = 0  # whole epochs in a row without any signal
    epoch_had_signal: bool = False
    smoothed_reward: float | None = None
    best_smoothed: float | None = None
    steps_since_best: int = 0

    def after_step(self, reward: float | None, *, had_signal: bool = True) -> Progress:
        """After one more step with this mean reward (None: nothing was gradable)."""
        had = self.epoch_had_signal or had_signal
        moved = replace(
            self,
            steps=self.steps + 1,
            steps_in_epoch=self.steps_in_epoch + 1,
            epoch_had_signal=had,
        )
        if reward is None:
            return replace(moved, steps_since_best=self.steps_since_best + 1)
        old = self.smoothed_reward
        new = reward if old is None else SMOOTHING * old + (1 - SMOOTHING) * reward
        risen = self.best_smoothed is None or new > self.best_smoothed
        return replace(
            moved,
            smoothed_reward=new,
            best_smoothed=new if risen else self.best_smoothed,
            steps_since_best=0 if risen else self.steps_since_best + 1,
        )

    def after_epoch(self) -> Progress:
        """After one more whole epoch."""
        idle = 0 if self.epoch_had_signal else self.idle_epochs + 1
        return replace(
            self,
            epochs=self.epochs + 1,
            steps_in_epoch=0,
            idle_epochs=idle,
            epoch_had_signal=False,
        )


def share_spent(accounts: Iterable[tuple[int, int]]) -> float | None:
    """How much of a budget is spent, by (limit, spent) pairs: the least of the shares.

    A budget is spent when all of it is. Limits of 0 do not count; None if none counts.

    >>> share_spent([(1000, 500), (200, 150), (0, 99)])
    0.5
    """
    return min((spent / limit for limit, spent in accounts if limit), default=None)


def crosses(before: int, now: int, every: int) -> bool:
    """Whether a count that grew from `before` to `now` reached a multiple of `every`; 0: never.

    >>> crosses(99, 100, 100), crosses(100, 199, 100), crosses(5, 350, 100), crosses(0, 9, 0)
    (True, False, True, False)
    """
    return every > 0 and now // every > before // every


@dataclass(frozen=True, slots=True)
class StageEnd:
    """What a stage ended by.

    >>> StageEnd("idle", "nothing could be learned in 3 whole epochs").by
    'idle'
    """

    by: Literal["steps", "epochs", "plateau", "idle"]
    reason: str  # the end of a sentence


@dataclass(frozen=True, slots=True)
class Switch:
    """What ends a stage; the first that comes. None: never.

    >>> Switch(steps=25, epochs=None, plateau_steps=None, idle_epochs=3).end(Progress(steps=25))
    StageEnd(by='steps', reason='its 25 steps are done')
    """

    steps: int | None
    epochs: int | None
    plateau_steps: int | None
    idle_epochs: int

    def end(self, progress: Progress) -> StageEnd | None:
        """What the stage is over by; None while it goes on."""
        if self.steps is not None and progress.steps >= self.steps:
            return StageEnd("steps", _done(self.steps, "step"))
        if self.epochs is not None and progress.epochs >= self.epochs:
            return StageEnd("epochs", _done(self.epochs, "epoch"))
        if self.plateau_steps is not None and progress.steps_since_best >= self.plateau_steps:
            flat = f"the smoothed reward has not risen for {counted(self.plateau_steps, 'step')}"
            return StageEnd("plateau", flat)
        if progress.idle_epochs >= self.idle_epochs:
            idle = f"nothing could be learned in {counted(progress.idle_epochs, 'whole epoch')}"
            return StageEnd("idle", idle)
        return None


def _done(count: int, noun: str) -> str:
    return f"its {noun} is done" if count == 1 else f"its {counted(count, noun)} are done"
