"""Ctrl-C and SIGTERM: the first asks the run to stop after the step in hand, a second stops it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Interrupts:
    """A context manager that holds both signals; outside the main thread it holds nothing."""

    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said
        self._before: dict[signal.Signals, Any] = {}
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

    @property
    def exit_code(self) -> int:
        """What the command should exit with: 0 if no signal came."""
        return EXIT_CODES[self.caught] if self.caught else 0

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.caught:
            raise KeyboardInterrupt
        self.caught = signal.Signals(number)
        self._said(f"{self.caught.name}: finishing this step, then saving; once more to stop now")
