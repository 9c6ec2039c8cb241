"""What a run tells whoever looks on: the live view, plain lines, a notebook, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from srpo.run.figures import Evaluation, StepFigures


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage as it is announced before the run. `steps` is None where it is not known."""

    number: int
    name: str
    steps: int | None


class Watcher(Protocol):
    """Told of everything as it happens, in order. Must not raise."""

    def start(self, title: str, stages: tuple[StagePlan, ...], first_step: int) -> None:
        """The run begins (or goes on: `first_step` > 1)."""
        ...

    def note(self, text: str) -> None:
        """A sentence a person should read once: a switch, a revival, a step without signal."""
        ...

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """The run is now busy with `name`; `done` of `total` if that can be counted."""
        ...

    def step(self, figures: StepFigures) -> None:
        """A step is over."""
        ...

    def evaluated(self, evaluation: Evaluation) -> None:
        """Held-out accuracy was measured."""
        ...

    def stop(self) -> None:
        """The run is over or interrupted; free the screen."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def start(self, title: str, stages: tuple[StagePlan, ...], first_step: int) -> None:
        """Shows nothing."""

    def note(self, text: str) -> None:
        """Shows nothing."""

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """Shows nothing."""

    def step(self, figures: StepFigures) -> None:
        """Shows nothing."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Shows nothing."""

    def stop(self) -> None:
        """Shows nothing."""
