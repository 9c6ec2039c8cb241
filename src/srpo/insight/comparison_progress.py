"""How a comparison goes on: lines that stay, and on a terminal the runs at work below them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from srpo.formats import clock, one_line, percent

if TYPE_CHECKING:
    from srpo.comparison.running import Standing

QUIET_S = 120.0  # after so long without a line, say how far the runs are
SHOWN = 12  # runs at work


class ComparisonProgress:
    """An onlooker of `comparison.running`."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._last_s = time.monotonic()
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # refreshed by hand: a thread of its own would be copied into every run's fork
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def tell(self, text: str) -> None:
        """Writes a line that stays."""
        self._last_s = time.monotonic()
        with suppress(OSError, ValueError):  # a reader that went away must not end the runs
            self._console.print(Text(one_line(text)), soft_wrap=True)

    def show(self, standing: Standing) -> None:
        """Shows the runs at work; without a terminal, a line now and then."""
        if self._live is not None:
            lines = [status_line(standing)]
            lines += [f"  {percent(done):>5}  {words}" for words, done in standing.running[:SHOWN]]
            text = "\n".join(one_line(line) for line in lines)
            self._live.update(Text(text), refresh=True)
        elif time.monotonic() - self._last_s >= QUIET_S:
            self.tell(status_line(standing))

    def stop(self) -> None:
        """Takes the runs at work off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def status_line(standing: Standing) -> str:
    """How many runs are done and at work, and the time left."""
    left_s = standing.left_s
    left = "time left not known yet" if left_s is None else f"{clock(left_s)} left"
    done = f"{standing.finished} of {standing.total} runs finished"
    return f"{done}, {len(standing.running)} at work, {left}"
