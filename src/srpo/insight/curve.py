"""The course of a run as a picture: a PNG for the run directory, and blocks for a terminal.

Both read the rows of metrics.jsonl (`StepFigures.metrics()`). A domain that a step did not have
leaves a gap; it is never drawn as zero.
"""

from __future__ import annotations

import itertools
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from srpo.formats import in_order
from srpo.insight.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABEL_PIXELS,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    dress,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row: TypeAlias = Mapping[str, float | int | None]
Series: TypeAlias = list[float | None]

COLOURS = {"math": BLUE, "code": VERMILION, "all": "#555555"}
OTHER_COLOURS = (GREEN, PURPLE, ORANGE)
KEPT, DROPPED, REVIVED = SKY, "#D9D9D9", PURPLE
SIZE_IN, DPI = (12.0, 9.0), 100  # 1200 x 900 pixels
LETTER_PIXELS = 8  # width of a letter
NOTE_LETTERS, NOTE_LINES = 160, 2

TEXT_ROWS = 5  # of each domain's panel in the terminal
STAGE_LETTERS = 9  # columns that a stage's name wants
BLOCKS = " ▁▂▃▄▅▆▇█"


def series(rows: Sequence[Row], key: str) -> Series:
    """The values of one metric, step by step; None where the step has none.

    >>> series([{"step": 1, "math/reward": 0.5}, {"step": 2}], "math/reward")
    [0.5, None]
    """
    count = key.partition("/")[0] + "/groups"
    return [_finite(row.get(key)) if row.get(count) != 0 else None for row in rows]


def smoothed(values: Series, stages: Sequence[object]) -> Series:
    """The mean of each value and its neighbours in the same stage; a gap stays a gap.

    The window is about an eighth of the run, at most nine steps. It never reaches over a stage
    switch, where the problems, and so the meaning of the curve, change.

    >>> smoothed([0.0, 1.0, None], [1, 1, 1])
    [0.0, 1.0, None]
    """
    reach = min(4, len(values) // 16)
    means: Series = []
    for i in range(len(values)):
        near = range(max(0, i - reach), min(len(values), i + reach + 1))
        found = [v for j in near if (v := values[j]) is not None and stages[j] == stages[i]]
        means.append(None if values[i] is None else math.fsum(found) / len(found))
    return means


def domains_of(rows: Sequence[Row]) -> list[str]:
    """Domains with figures in at least one row, math first; `all` if no row has a domain."""
    names = {key.partition("/")[0] for row in rows for key in row if key.endswith("/reward")}
    found = [n for n in names - {"all"} if any(v is not None for v in series(rows, f"{n}/reward"))]
    return in_order(found) or ["all"]


def draw_curve(
    figures: Sequence[Row], stages: Sequence[tuple[str, int]], path: Path, note: str
) -> None:
    """Write the picture of a run as a PNG of 1200 x 900 pixels.

    `figures`: rows of metrics.jsonl, in order. `stages`: name and first step of each stage that
    began. `note`: printed small under the picture. Raises OSError if `path` cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_IN, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    reward, length, thinks, signal, pool = figure.subplots(
        5, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1, 1, 1, 1], "hspace": 0.42}
    )
    figure.subplots_adjust(left=0.065, right=0.885, top=0.905, bottom=0.105)
    _draw_lines(reward, figures, "reward", "Reward", top=1.0)
    _draw_lines(length, figures, "length_tokens", "Length of a completion, tokens", top=0.0)
    _draw_lines(thinks, figures, "thinking_frac", "Completions that think", top=1.0)
    _draw_lines(signal, figures, "signal_frac", "Groups with a signal to learn from", top=1.0)
    _draw_pool(pool, figures)
    axes = [reward, length, thinks, signal, pool]
    for ax in (thinks, signal):
        ax.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    reward.set_title(
        "thin: mean of a step's rollouts   thick: mean of neighbouring steps of the same stage",
        loc="right",
        fontsize=9,
        color=GREY,
        pad=5,
    )
    _draw_stages(axes, stages, [_step(row) for row in figures])
    _draw_margins(figure, pool, figures, note)
    with warnings.catch_warnings():
        # a stage may be named in a script that the font lacks; boxes are better than no picture
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def curve_text(rows: Sequence[Row], width: int = 70) -> str:
    """Reward over the steps, a panel of blocks for each domain, with the stage switches marked.

    A column is one step, or the mean of a few where there are more steps than columns.
    """
    if not rows:
        return "no steps yet"
    inside = max(10, width - 6)
    columns = _columns(rows, inside)
    lines = [_stage_names(rows, columns)]
    rewards = {domain: series(rows, f"{domain}/reward") for domain in domains_of(rows)}
    highest = max(v for values in rewards.values() for v in [1.0, *values] if v is not None)
    for domain, values in rewards.items():
        means = [_mean(values[a:b]) if b else None for a, b in columns]
        last = next(v for v in [*reversed(values), 0.0] if v is not None)
        name = "reward" if domain == "all" else f"{domain} reward"
        lines.append(f"      {name}, now {last:.2f}")
        lines += _panel(means, columns, math.ceil(10 * highest - 1e-9) / 10)
    first, end = str(_step(rows[0])), str(_step(rows[-1]))
    gap = len(columns) - len(first) - len(end) - 5
    lines.append(f"      step {first}{' ' * max(1, gap)}{end if end != first else ''}")
    return "\n".join(line.rstrip() for line in lines)


def _finite(value: float | int | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _step(row: Row) -> int:
    return int(row.get("step") or 0)


def _mean(values: Series) -> float | None:
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(found) if found else None


def _colour(domain: str) -> str:
    return COLOURS.get(domain) or OTHER_COLOURS[sum(domain.encode()) % len(OTHER_COLOURS)]


def _with_nan(values: Series) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _draw_lines(ax: Axes, rows: Sequence[Row], key: str, title: str, *, top: float) -> None:
    """One panel: each step light, the smoothed course strong, named at its end."""
    steps, stages = [_step(row) for row in rows], [row.get("stage") for row in rows]
    labels: list[tuple[float, str, str]] = []
    low, high = 0.0, top
    for domain in domains_of(rows):
        raw = series(rows, f"{domain}/{key}")
        strong = smoothed(raw, stages)
        known = [value for value in raw if value is not None]
        if not known:
            continue
        colour = _colour(domain)
        ax.plot(steps, _with_nan(raw), color=colour, alpha=0.3, lw=0.9, marker="o", ms=2.2, mew=0)
        for i_stage in sorted({stage or 0 for stage in stages}):
            inside = [
                v if (s or 0) == i_stage else None for v, s in zip(strong, stages, strict=True)
            ]
            few = sum(v is not None for v in inside) <= 3  # hardly a line: show the points
            ax.plot(
                steps,
                _with_nan(inside),
                color=colour,
                lw=2.2,
                solid_capstyle="round",
                marker="o" if few else "",
                ms=5,
            )
        low, high = min(low, *known), max(high, *known)
        value = [v for v in strong if v is not None][-1]
        shown = f"{value:.2f}" if key == "reward" else f"{100 * value:.0f} %"
        shown = f"{value:.0f}" if key == "length_tokens" else shown
        labels.append((value, f"{domain} {shown}", colour))
    high = high * 1.1 if high > top else high or 1.0
    _dress(ax, title)
    ax.set_ylim(low * 1.05, high * 1.04)
    _write_labels(ax, labels)


def _draw_pool(ax: Axes, rows: Sequence[Row]) -> None:
    """Problems in play and out of play as areas of one height, revivals as marks."""
    _dress(ax, "Problems")
    ax.set_ylim(0, 1)
    if not rows:
        return
    steps = [_step(row) for row in rows]
    edges = [step - 0.5 for step in steps] + [steps[-1] + 0.5]
    kept = [v or 0.0 for v in series(rows, "history/kept_problems")]
    dropped = [v or 0.0 for v in series(rows, "history/dropped_problems")]
    both = [a + b for a, b in zip(kept, dropped, strict=True)]
    ax.stairs(kept, edges, fill=True, color=KEPT, alpha=0.75)
    ax.stairs(both, edges, baseline=kept, fill=True, color=DROPPED)
    ax.set_ylim(0, max(1.0, *both) * 1.05)
    labels = [(kept[-1] / 2, f"kept {kept[-1]:.0f}", "#2176AE")]
    if dropped[-1]:
        labels.append((kept[-1] + dropped[-1] / 2, f"dropped {dropped[-1]:.0f}", GREY))
    revived = [(step, level, v) for step, level, v in _revivals(rows, steps, kept)]
    if revived:
        ax.plot(
            [step for step, _, _ in revived],
            [level for _, level, _ in revived],
            ls="",
            marker="^",
            ms=8,
            color=REVIVED,
            mec="white",
            mew=0.8,
            clip_on=False,
        )
        total = sum(count for _, _, count in revived)
        ax.text(
            1,
            1.06,
            f"▲ {total:.0f} revived",
            transform=ax.transAxes,
            ha="right",
            va="bottom",
            fontsize=10,
            color="#A0447A",
        )
    _write_labels(ax, labels)


def _revivals(
    rows: Sequence[Row], steps: Sequence[int], kept: Sequence[float]
) -> list[tuple[int, float, float]]:
    counts = series(rows, "history/revived_problems")
    return [(s, k, n) for s, k, n in zip(steps, kept, counts, strict=True) if n]


def _dress(ax: Axes, title: str) -> None:
    dress(ax, title)
    ax.locator_params(axis="y", nbins=4)


def _write_labels(ax: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Names at the right end of their lines, pushed apart where they would overlap."""
    low, high = ax.get_ylim()
    gap = LABEL_PIXELS / ax.get_window_extent().height * (high - low)
    place = -math.inf
    for value, text, colour in sorted(labels):
        place = max(value, place + gap)
        ax.text(
            1.012,
            place,
            text,
            transform=ax.get_yaxis_transform(),
            va="center",
            ha="left",
            fontsize=11,
            color=colour,
            fontweight="bold",
        )


def _draw_stages(
    axes: Sequence[Axes], stages: Sequence[tuple[str, int]], steps: Sequence[int]
) -> None:
    """A line through all panels at every switch; names above the first panel."""
    if not steps:
        return
    begun = [(name, first) for name, first in stages if first <= steps[-1]]
    ends = [*(first for _, first in begun[1:]), steps[-1] + 1]
    step_pixels = axes[0].get_window_extent().width / (steps[-1] + 1 - steps[0])
    for i, ((name, first), end) in enumerate(zip(begun, ends, strict=True)):
        left = max(first, steps[0]) - 0.5
        room = int((end - 0.5 - left) * step_pixels / LETTER_PIXELS)
        text = f"stage {i + 1}: {name}" if room > 12 else f"{i + 1}"
        if first > steps[0]:
            for ax in axes:
                ax.axvline(left, color=INK, lw=1.0, ls=(0, (4, 3)), zorder=1.5)
        axes[0].annotate(
            text if len(text) <= room else text[: room - 1] + "…",
            (left, 1),
            xycoords=axes[0].get_xaxis_transform(),
            xytext=(0, 30),
            textcoords="offset points",
            fontsize=12,
            color=INK,
            parse_math=False,
        )


def _draw_margins(figure: Figure, lowest: Axes, rows: Sequence[Row], note: str) -> None:
    from matplotlib.ticker import MaxNLocator

    lowest.set_xlabel("step", color=GREY, fontsize=10)
    lowest.xaxis.set_major_locator(MaxNLocator(nbins=14, integer=True, min_n_ticks=1))
    if rows:
        lowest.set_xlim(_step(rows[0]) - 0.5, _step(rows[-1]) + 0.5)
    else:
        lowest.set_xlim(0.5, 10.5)
        figure.text(0.475, 0.75, "no steps yet", ha="center", fontsize=16, color=GREY)
    lines = textwrap.wrap(note, NOTE_LETTERS, max_lines=NOTE_LINES, placeholder=" …")
    figure.text(0.065, 0.048, "\n".join(lines), fontsize=9, color=GREY, va="top", parse_math=False)


def _columns(rows: Sequence[Row], width: int) -> list[tuple[int, int]]:
    """For each column the rows [a, b) it stands for; (a, 0) is the mark of a stage switch."""
    starts = [i for i, row in enumerate(rows) if i and row.get("stage") != rows[i - 1].get("stage")]
    stages = list(zip([0, *starts], [*starts, len(rows)], strict=True))
    space = max(len(starts) + 1, width - len(starts))
    widest = max(3, math.ceil(STAGE_LETTERS / min(b - a for a, b in stages)))  # of a step
    per_row = max(1, min(widest, space // len(rows))) if len(rows) <= space else space / len(rows)
    columns: list[tuple[int, int]] = []
    for a, b in stages:
        cells = max(1, int((b - a) * per_row))
        columns += [(a, 0)] * bool(a)
        for i in range(cells):
            first = a + i * (b - a) // cells
            columns.append((first, max(first + 1, a + (i + 1) * (b - a) // cells)))
    return columns


def _panel(means: Series, columns: Sequence[tuple[int, int]], top: float) -> list[str]:
    lines = []
    for row in reversed(range(TEXT_ROWS)):
        cells = []
        for mean, (_, end) in zip(means, columns, strict=True):
            # an eighth of a row at least, so that a zero is not taken for a gap
            eighths = 0 if mean is None else max(1, round(8 * TEXT_ROWS * mean / top))
            cells.append(BLOCKS[max(0, min(8, eighths - 8 * row))] if end else "│")
        label = f"{top:.1f}" if row == TEXT_ROWS - 1 else ""
        lines.append(f"{label:>4} {'┤' if label else '│'}" + "".join(cells))
    return [*lines, " 0.0 └" + "".join("─" if end else "┴" for _, end in columns)]


def _stage_names(rows: Sequence[Row], columns: Sequence[tuple[int, int]]) -> str:
    line = "      "  # the axis
    switches = [i for i, (_, end) in enumerate(columns) if not end]
    for start, end in itertools.pairwise([0, *switches, len(columns)]):
        number = rows[columns[start][0]].get("stage") or 1
        mark, width = "│" if start else "", end - start
        name = f"{mark} stage {number}" if start else f"stage {number}"
        line += f"{name if len(name) < width else f'{mark}{number}':<{width}}"
    return line
