"""One plain line a step, for logs and pipes; and the arithmetic the live view shares with it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TextIO

from srpo.run.figures import Accuracy, Evaluation, StepFigures
from srpo.run.watcher import StagePlan, Watcher
from srpo.types import Domain

QUIET_S = 30.0  # after so long without a line, say what the run is busy with
DOMAIN_ORDER: tuple[Domain, ...] = ("math", "code")


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


class PlainLines:
    """A watcher that writes one line for each step, without colours or cursor movements."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._pace = Pace()
        self._last_line_s = now()

    def start(self, title: str, stages: tuple[StagePlan, ...], first_step: int) -> None:
        """Writes the title and the plan."""
        self._pace = Pace(stages, first_step)
        self._write(title)
        for plan in stages:
            steps = "no fixed end" if plan.steps is None else counted(plan.steps, "step")
            self._write(f"stage {plan.number}: {plan.name}, {steps}")
        if first_step > 1:
            self._write(f"going on at step {first_step}")

    def note(self, text: str) -> None:
        """Writes the note on a line of its own."""
        self._write(f"* {text}")

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """Writes the phase if nothing has been written for long."""
        if self._now() - self._last_line_s >= QUIET_S:
            self._write(f"  {name} {done}/{total}" if total else f"  {name}")

    def step(self, figures: StepFigures) -> None:
        """Writes the line of the step."""
        self._pace.step(figures)
        self._write(step_line(figures, self._pace))

    def evaluated(self, evaluation: Evaluation) -> None:
        """Writes the accuracy of every domain."""
        self._write(evaluation_line(evaluation))

    def stop(self) -> None:
        """Writes nothing: every line is out already."""

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        line = one_line(text).encode(encoding, "replace").decode(encoding)
        with suppress(OSError, ValueError):  # a reader that went away must not end the run
            self._stream.write(line + "\n")
            self._stream.flush()
        self._last_line_s = self._now()


def watcher_for(stream: TextIO) -> Watcher:
    """The live view if `stream` is a terminal that can show it, else plain lines."""
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    if not stream.isatty() or encoding != "utf8" or os.environ.get("TERM") in ("dumb", "unknown"):
        return PlainLines(stream)
    from rich.console import Console

    from srpo.insight.live import LiveView

    return LiveView(Console(file=stream))


def step_line(figures: StepFigures, pace: Pace) -> str:
    """The figures of one step in one line."""
    whole = figures.overall
    parts = [
        f"stage {figures.stage} step {pace.step_text} epoch {figures.epoch}",
        f"reward {number(whole.reward)} solved {share(whole.pass_rate)}{_by_domain(figures)}",
        f"signal {percent(whole.signal_frac)}",
        f"length {whole.length_tokens:.0f}",
        f"thinks {percent(whole.thinking_frac)}",
        f"kept {figures.kept} dropped {figures.dropped} revived {figures.revived}",
        f"{short(figures.total_tokens)} tokens, {short(figures.tokens_per_s)}/s",
        pace.left_text,
    ]
    if not figures.updated:
        parts.insert(3, "no update")
    return " | ".join(parts)


def evaluation_line(evaluation: Evaluation) -> str:
    """Held-out accuracy with its 95 % intervals in one line."""
    scores = [
        f"{domain} {_with_interval(evaluation.domains[domain].overall)}"
        for domain in in_order(evaluation.domains)
    ]
    return f"held out, step {evaluation.step}: {' '.join(scores) or 'nothing'}"


def in_order(domains: Collection[Domain]) -> list[Domain]:
    """Domains in the order in which they are always shown."""
    return [d for d in DOMAIN_ORDER if d in domains]


def counted(count: int, noun: str) -> str:
    """Such as `1 step`, `2 steps`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float | None) -> str:
    """Two decimals, `-` for none.

    >>> number(0.523), number(None)
    ('0.52', '-')
    """
    return "-" if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A share without its leading zero, `-` for none.

    >>> share(0.48), share(1.0), share(None)
    ('.48', '1.00', '-')
    """
    return number(value).removeprefix("0")


def percent(value: float | None) -> str:
    """A share in whole per cent, `-` for none.

    >>> percent(0.614)
    '61 %'
    """
    return "-" if value is None else f"{100 * value:.0f} %"


def short(value: float) -> str:
    """A count in at most three or four characters and a unit.

    >>> short(18), short(5_234), short(61_234), short(1_500_000)
    ('18', '5.2 k', '61 k', '1.5 M')
    """
    for unit in ("", " k", " M", " G"):
        if value < 999.5 or unit == " G":
            digits = 1 if unit and value < 9.95 else 0
            return f"{value:.{digits}f}{unit}"
        value /= 1000
    raise AssertionError("the last unit takes every value")


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, with hours and days where there are any.

    >>> clock(31.4), clock(3725), clock(93_784)
    ('0:31', '1:02:05', '1 d 2:03:04')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h}:{m:02d}:{s:02d}"
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"


def one_line(text: str) -> str:
    """The text without line ends and control characters, which could move the cursor."""
    return "".join(c if c.isprintable() else " " for c in text)


def _by_domain(figures: StepFigures) -> str:
    if len(figures.domains) < 2:
        return ""
    parts = [f"{d} {share(figures.domains[d].pass_rate)}" for d in in_order(figures.domains)]
    return f" ({' '.join(parts)})"


def _with_interval(accuracy: Accuracy) -> str:
    if not accuracy.samples:
        return "-"
    low, high = accuracy.interval
    return f"{share(accuracy.mean)} [{share(low)} {share(high)}]"
