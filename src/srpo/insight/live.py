"""The live view: one screen of a run, redrawn in place."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from srpo.formats import clock, counted, in_order, number, one_line, percent, short
from srpo.insight.pace import Pace
from srpo.insight.plain_lines import evaluation_line
from srpo.run.figures import DomainFigures, Evaluation, StepFigures
from srpo.run.watcher import StagePlan
from srpo.types import Domain

REDRAW_S = 0.25
SHOWN_STEPS = 40
SHOWN_NOTES = 3
WIDEST = 120  # bars and sparklines do not grow beyond; the eye would have to travel
LABEL_CELLS = 15
VALUE_CELLS = 6
SPARKS = "▁▂▃▄▅▆▇█"
COLOURS: dict[Domain, str] = {"math": "dodger_blue1", "code": "dark_orange"}

Past = list[tuple[int, DomainFigures]]  # (step, figures), oldest first


class LiveView:
    """A watcher that keeps one view up to date on a terminal.

    A thread of its own redraws it, so that the clock moves while a step takes minutes. What
    other code prints appears above the view.
    """

    def __init__(
        self, console: Console | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console()
        self._now = now
        self._lock = threading.RLock()  # state below; never held while something is drawn
        self._title = ""
        self._pace = Pace()
        self._first_step = 1
        self._started_s = self._phase_since_s = now()
        self._ended_s: float | None = None
        self._phase = ("starting", 0, 0)
        self._last: StepFigures | None = None
        self._past: dict[Domain, Past] = {}
        self._revived = 0
        self._no_updates = 0
        self._evaluations: list[Evaluation] = []
        self._notes: deque[str] = deque(maxlen=SHOWN_NOTES)
        self._live: Live | None = None
        self._size = self._console.size
        self._ticker: threading.Thread | None = None
        self._over = threading.Event()

    def start(self, title: str, stages: tuple[StagePlan, ...], first_step: int) -> None:
        """Shows the empty view."""
        with self._lock:
            self._title = one_line(title)
            self._pace = Pace(stages, first_step)
            self._first_step = first_step
            self._started_s = self._phase_since_s = self._now()
        if self._ticker is None:
            self._open()
            self._ticker = threading.Thread(target=self._tick, name="live view", daemon=True)
            self._ticker.start()

    def note(self, text: str) -> None:
        """Shows the note until three later ones have come."""
        with self._lock:
            self._notes.append(one_line(text))

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        """Shows what the run is busy with, and for how long already."""
        with self._lock:
            if name != self._phase[0] or done < self._phase[1]:
                self._phase_since_s = self._now()
            self._phase = (one_line(name), done, total)

    def step(self, figures: StepFigures) -> None:
        """Shows the figures of the step."""
        with self._lock:
            self._pace.step(figures)
            self._last = figures
            self._revived += figures.revived
            self._no_updates += not figures.updated
            for domain, found in figures.domains.items():
                if found.groups:
                    past = self._past.setdefault(domain, [])
                    past.append((figures.step, found))
                    del past[:-SHOWN_STEPS]

    def evaluated(self, evaluation: Evaluation) -> None:
        """Shows the first and the latest accuracy."""
        with self._lock:
            self._evaluations = [*self._evaluations[:1], evaluation]

    def stop(self) -> None:
        """Leaves the last state on the screen and frees it."""
        with self._lock:
            if self._ended_s is None:
                self._ended_s = self._now()
        self._over.set()
        if self._ticker is not None:
            self._ticker.join(timeout=2)
        if self._live is not None:
            with suppress(OSError, ValueError):
                self._live.stop()  # draws once more
            self._live = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The view as it is now, one line at a time, never wider or higher than the terminal."""
        with self._lock:
            lines = list(self._lines(min(options.max_width, WIDEST)))
        room = options.size.height - 1
        if len(lines) > room:
            lines = [line for line in lines if line.plain]
        for line in lines[:room]:
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _open(self) -> None:
        self._size = self._console.size
        self._live = Live(self, console=self._console, auto_refresh=False, transient=False)
        with suppress(OSError, ValueError):
            self._live.start(refresh=True)

    def _tick(self) -> None:
        while not self._over.wait(REDRAW_S):
            with suppress(OSError, ValueError):  # a terminal that went away must not end the run
                if self._console.size != self._size:
                    self._reopen()
                elif self._live is not None:
                    self._live.refresh()

    def _reopen(self) -> None:
        # After a resize the terminal has wrapped the old lines anew, so that counting them to
        # find the top of the view goes wrong. A cleared screen is the one known place.
        if self._live is not None:
            self._live.transient = True
            self._live.stop()
        self._console.clear()
        self._open()

    def _lines(self, width: int) -> Iterator[Text]:
        yield Text(self._title, style="bold")
        yield Text()
        yield from stage_bar(self._pace, width)
        yield Text()
        yield self._clock_line()
        yield self._phase_line(width)
        yield Text()
        yield from domain_table(self._past, self._pace.last_step, width)
        yield Text()
        yield from self._count_lines()
        yield from self._evaluation_lines()
        if self._notes:
            yield Text()
        for text in self._notes:
            yield Text.assemble(("* ", "dim"), text)

    def _clock_line(self) -> Text:
        end_s = self._now() if self._ended_s is None else self._ended_s
        left = self._pace.left_text if self._ended_s is None else ""
        return Text.assemble(
            ("step ", "dim"),
            (self._pace.step_text, "bold"),
            ("   epoch ", "dim"),
            str(self._last.epoch if self._last else "-"),
            ("   elapsed ", "dim"),
            clock(end_s - self._started_s),
            f"   {left}",
        )

    def _phase_line(self, width: int) -> Text:
        if self._ended_s is not None:
            return Text(f"ended after step {self._pace.last_step}", style="bold")
        name, done, total = self._phase
        line = Text(f"{name:<{LABEL_CELLS}}")
        if total:
            cells = max(10, min(40, width - LABEL_CELLS - 28))
            filled = round(cells * min(1.0, done / total))
            line.append("━" * filled, style="cyan")
            line.append("─" * (cells - filled), style="bright_black")
            line.append(f" {done}/{total}")
        line.append(f"  {clock(self._now() - self._phase_since_s)}", style="dim")
        return line

    def _count_lines(self) -> Iterator[Text]:
        last = self._last
        if last is None:
            return
        since = f"since step {self._first_step}" if self._first_step > 1 else "so far"
        yield Text.assemble(
            (f"{'problems':<{LABEL_CELLS}}", "dim"),
            f"{last.kept} kept, {last.dropped} dropped, {self._revived} revived {since}",
        )
        yield Text.assemble(
            (f"{'tokens':<{LABEL_CELLS}}", "dim"),
            f"{short(last.total_tokens)} generated, {short(last.tokens_per_s)} per second",
        )
        if not last.updated:
            text = f"step {last.step}: no signal in any group, weights left as they were"
            yield Text.assemble((f"{'no update':<{LABEL_CELLS}}", "bold red"), text)
        elif self._no_updates:
            text = f"{counted(self._no_updates, 'step')} {since}"
            yield Text.assemble((f"{'no update':<{LABEL_CELLS}}", "dim"), text)

    def _evaluation_lines(self) -> Iterator[Text]:
        for evaluation in self._evaluations:
            what, _, scores = evaluation_line(evaluation).partition(": ")
            yield Text.assemble((f"{what}  ", "dim"), scores)


def stage_bar(pace: Pace, width: int) -> Iterator[Text]:
    """Two lines: names with steps done and planned, and a bar for each stage below."""
    names, bars = Text(), Text()
    if not pace.stages:
        return
    for plan, cells in zip(pace.stages, _stage_cells(pace, width), strict=True):
        done = pace.done(plan.number)
        planned = counted(done, "step") if plan.steps is None else f"{done}/{plan.steps}"
        over, current = plan.number < pace.stage, plan.number == pace.stage
        head = Text(f"{plan.number} {one_line(plan.name)}")
        head.truncate(max(1, cells - len(planned) - 3), overflow="ellipsis")
        head.append(f"  {planned}")
        head.stylize("bold cyan" if current else "green" if over else "dim")
        head.truncate(cells - 1)
        head.pad_right(cells - head.cell_len)
        names.append_text(head)
        filled = cells - 1 if over or plan.steps == done else 0
        if plan.steps and not filled:
            filled = int((cells - 1) * min(1.0, done / plan.steps))
        bars.append("━" * filled, style="green" if over else "cyan")
        open_end = current and plan.steps is None
        bars.append(("╌" if open_end else "─") * (cells - 1 - filled), style="bright_black")
        bars.append(" ")
    yield names
    yield bars


def domain_table(past: dict[Domain, Past], last_step: int, width: int) -> Iterator[Text]:
    """A column for each domain seen so far: the latest value and its course over the last steps."""
    domains = in_order(past)
    if not domains:
        yield Text("the first figures come after the first step", style="dim")
        return
    cells = (width - LABEL_CELLS - len(domains) * (VALUE_CELLS + 3)) // len(domains)
    cells = max(4, min(SHOWN_STEPS, cells))
    head = Text(f"last {SHOWN_STEPS} steps".ljust(LABEL_CELLS), style="dim")
    for domain in domains:
        head.append(
            domain.rjust(VALUE_CELLS) + " " * (cells + 3), style=f"bold not dim {COLOURS[domain]}"
        )
    yield head
    for label, read, show in MEASURES:
        line = Text.assemble((label.ljust(LABEL_CELLS), "dim"))
        for domain in domains:
            series = [(step, read(figures)) for step, figures in past[domain]]
            here = series[-1][1] if series[-1][0] == last_step else None
            line.append(show(here).rjust(VALUE_CELLS), style="bold")
            line.append(f" {sparkline(series, last_step, cells):<{cells}}  ", COLOURS[domain])
        yield line


def sparkline(series: list[tuple[int, float | None]], last_step: int, cells: int) -> str:
    """The last 40 steps as blocks from 0 to 1, or to the highest value; a gap where there is none.

    With fewer cells than steps a cell is the mean of neighbouring steps.

    >>> sparkline([(1, 0.0), (2, None), (3, 1.0)], last_step=3, cells=40)
    '▁ █'
    """
    per_cell = -(-SHOWN_STEPS // cells)
    last = (last_step - 1) // per_cell
    first = max(0, last - SHOWN_STEPS // per_cell + 1)
    bins: list[list[float]] = [[] for _ in range(first, last + 1)]
    for step, value in series:
        place = (step - 1) // per_cell
        if value is not None and first <= place <= last:
            bins[place - first].append(value)
    means = [sum(found) / len(found) if found else None for found in bins]
    top = max([1.0, *(mean for mean in means if mean is not None)])
    return "".join(
        " " if mean is None else SPARKS[max(0, min(7, int(8 * mean / top)))] for mean in means
    )


def _stage_cells(pace: Pace, width: int) -> list[int]:
    """Cells of each stage: as its planned steps, an open one as the mean of the others."""
    planned = [plan.steps for plan in pace.stages if plan.steps]
    usual = sum(planned) / len(planned) if planned else 1.0
    weights = [plan.steps or usual for plan in pace.stages]
    least = min(16, width // len(weights))
    spare = max(0, width - least * len(weights))
    return [least + int(spare * weight / sum(weights)) for weight in weights]


def _tokens(value: float | None) -> str:
    return "-" if value is None else short(value)


MEASURES: tuple[
    tuple[str, Callable[[DomainFigures], float | None], Callable[[float | None], str]], ...
] = (
    ("reward", lambda figures: figures.reward, number),
    ("solved", lambda figures: figures.pass_rate, percent),
    ("groups: signal", lambda figures: figures.signal_frac, percent),
    ("length, tokens", lambda figures: figures.length_tokens, _tokens),
    ("thinks", lambda figures: figures.thinking_frac, percent),
)
