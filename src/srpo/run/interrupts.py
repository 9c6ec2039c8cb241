"""Ctrl-C and SIGTERM: the first asks the run to save and end, a second ends it at once.

As long as there is nothing to save, the first ends it at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class DrawingStopped(BaseException):
    """A signal came while rollouts were drawn: they are given up, and nothing else is.

    No `Exception`, so that no code between here and the loop takes it for an error of its own.
    """


class StoppedAtOnce(BaseException):
    """A second signal came, or one before there was anything to save. No checkpoint is written."""

    def __init__(self, exit_code: int, advice: str) -> None:
        """`advice`: what is left, and how to go on."""
        super().__init__(f"stopped at once; {advice}")
        self.exit_code = exit_code


class Interrupts:
    """A context manager that holds both signals; outside the main thread it holds nothing."""

    def __init__(self, said: Callable[[str], None], advice: str, *, saves: bool = True) -> None:
        """`advice`: what a stop at once leaves, and how to go on. `saves`: see `begin`."""
        self._said, self._advice = said, advice
        self._saves = saves
        self._before: dict[signal.Signals, Any] = {}
        self._drawing = False
        self.caught: signal.Signals | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in EXIT_CODES:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, advice: str) -> None:
        """From now on there is something to save, and a first signal waits until it is."""
        self._advice, self._saves = advice, True

    @property
    def exit_code(self) -> int:
        """What the command should exit with: 0 if no signal came."""
        return EXIT_CODES[self.caught] if self.caught else 0

    @contextmanager
    def while_drawing(self) -> Iterator[None]:
        """Within, the first signal raises `DrawingStopped` at once.

        Drawing is most of a step's time, and what it was going to bring is drawn again, the same,
        by the run that goes on. Elsewhere a signal waits for the end of the step.
        """
        if self.caught:
            raise DrawingStopped
        self._drawing = True
        try:
            yield
        finally:
            self._drawing = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.caught or not self._saves:
            raise StoppedAtOnce(EXIT_CODES[signal.Signals(number)], self._advice)
        self.caught = signal.Signals(number)
        what = "giving up the rollouts in hand" if self._drawing else "finishing this step"
        with suppress(RuntimeError):  # it came in the middle of another line: that one is said
            self._said(f"{self.caught.name}: {what}, then saving; press again to stop immediately")
        if self._drawing:
            raise DrawingStopped
