"""`srpo judge` as a person sees it: progress while it runs, one line at its end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from srpo.config.verifier import VerifierConfig
from srpo.errors import JudgeFileError
from srpo.formats import clock, short
from srpo.rewards.judge import Judge
from srpo.rewards.judge.files import RowFile, VerdictFile
from srpo.types import Verdict

QUIET_S = 2.0  # a judge that is done sooner shows no progress
REDRAW_S = 0.25
BAR_CELLS = 20
INTERRUPTED = 130


def judge_file(
    rows: Path, out: Path, config: VerifierConfig, *, tell: Callable[[str], None]
) -> int:
    """Judge every row of a file and write the verdicts; returns the exit code.

    0 when every row has a verdict, 130 when interrupted: then the verdicts found so far are
    written, whole lines only. Raises SrpoError for what a user can mend.
    """
    counts: Counter[Verdict] = Counter()
    started_s = time.monotonic()
    with RowFile(rows) as source:
        if _same_file(rows, out):
            raise JudgeFileError(
                f"{out}: rows and verdicts are the same file; choose another --out"
            )
        with VerdictFile(out) as sink, Judge(config, tell=tell) as judge:
            progress = Progress(source)
            found = judge.judge(source.rows())
            try:
                for judged in found:
                    sink.write(judged)
                    counts[judged.verdict] += 1
                    progress.show(counts.total())
            except KeyboardInterrupt:
                progress.stop()
                sink.flush()
                tell(f"interrupted: {_summary(counts, started_s)}; their verdicts are in {out}")
                return INTERRUPTED
            finally:
                progress.stop()
                found.close()
    tell(_summary(counts, started_s))
    return 0


class Progress:
    """One line on standard error, redrawn in place, if that is a terminal."""

    def __init__(self, source: RowFile, stream: TextIO | None = None) -> None:
        self._source = source
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._started_s = self._drawn_s = time.monotonic()
        self._live: Live | None = None

    def show(self, num_judged: int) -> None:
        """Say how many rows are judged, and how long the rest will take."""
        now_s = time.monotonic()
        if not self._console.is_terminal or now_s - self._started_s < QUIET_S:
            return
        if now_s - self._drawn_s < REDRAW_S:
            return
        self._drawn_s = now_s
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._line(num_judged, now_s - self._started_s), refresh=True)

    def _line(self, num_judged: int, elapsed_s: float) -> Text:
        line = Text("judging  ")
        share = self._share(num_judged)
        if share:
            filled = round(BAR_CELLS * share)
            line.append("━" * filled, style="cyan")
            line.append("─" * (BAR_CELLS - filled), style="bright_black")
            line.append(f" {100 * share:.0f} %  ")
        rate = num_judged / elapsed_s
        line.append(f"{num_judged} rows, {short(rate)} a second  {clock(elapsed_s)}")
        if share:
            line.append(f"  {clock(elapsed_s * (1 / share - 1))} left")
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _share(self, num_judged: int) -> float:
        """The judged share of the file, by its bytes; 0 if that cannot be known.

        Some rows are read and not judged yet; they are taken to be as long as the others.
        """
        source = self._source
        if not source.total_bytes or not source.num_rows:
            return 0.0
        judged = num_judged / source.num_rows
        return min(1.0, source.read_bytes / source.total_bytes * judged)

    def stop(self) -> None:
        """Take the line off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _same_file(rows: Path, out: Path) -> bool:
    return out != Path("-") and out.exists() and rows.exists() and out.samefile(rows)


def _summary(counts: Counter[Verdict], started_s: float) -> str:
    """One line: how many rows, how long, and how often each verdict came."""
    total = counts.total()
    rows = f"judged {total} {'row' if total == 1 else 'rows'}"
    found = ", ".join(
        f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]
    )
    return f"{rows} in {time.monotonic() - started_s:.1f} s" + (f": {found}" if found else "")
