"""One plain line a step, for logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from srpo.formats import counted, in_order, number, one_line, percent, share, short
from srpo.insight.pace import Pace
from srpo.run.figures import Accuracy, Evaluation, StepFigures
from srpo.run.watcher import StagePlan

QUIET_S = 30.0  # after so long without a line, say what the run is busy with


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


def step_line(figures: StepFigures, pace: Pace) -> str:
    """The figures of one step in one line."""
    whole = figures.overall
    parts = [
        f"stage {figures.stage} step {pace.step_text} epoch {figures.epoch}",
        f"reward {number(whole.reward)} solved {share(whole.pass_rate)}{_by_domain(figures)}",
        f"signal {percent(whole.signal_frac)}",
        f"length {whole.length_tokens:.0f}",
        f"thinks {percent(whole.thinking_frac)}",
        f"kept {figures.kept} dropped {figures.dropped}"
        + (f", {figures.revived} revived now" if figures.revived else ""),
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
