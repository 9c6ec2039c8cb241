"""A comparison as a picture: for each domain, accuracy against generated tokens, a line an arm."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srpo.comparison.results import ArmFigures, Course
from srpo.comparison.statistics import estimate, mean_height
from srpo.comparison.summary import domains_of
from srpo.insight.drawing import (
    BLACK,
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

# Where there are more arms than colours, the dashes tell the second round apart.
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
BASELINE = "#777777"
POINTS = 200  # of each line
PANEL_IN, HEIGHT_IN, LABELS_IN, DPI = 4.6, 5.2, 2.9, 100
NOTE_LETTERS = 150
MOST_BANDS = 7  # of more arms only the lines can be told apart


def draw_comparison(
    arms: Sequence[ArmFigures],
    baseline: str,
    targets: Sequence[float],
    paths: Sequence[Path],
    note: str,
) -> None:
    """Write the picture to each of `paths`, whose endings choose the format (.png, .svg).

    A line is the mean over an arm's seeds, its band the 95 % interval (Student's t; not drawn for
    more than seven arms); a line ends where the first of its seeds does. Arms without a finished
    run are left out. `note` is printed small under the panels. Raises OSError if a path cannot be
    written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [arm for arm in arms if arm.runs]
    domains = domains_of(shown) or ["accuracy"]
    size = (PANEL_IN * len(domains) + LABELS_IN, HEIGHT_IN)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    right = 1 - (LABELS_IN - 0.1) / size[0]
    figure.subplots_adjust(left=0.6 / size[0], right=right, top=0.9, bottom=0.2, wspace=0.12)
    axes = figure.subplots(1, len(domains), sharex=True, sharey=True, squeeze=False)[0]
    styles = _styles(shown, baseline)
    banded = len(shown) <= MOST_BANDS
    for ax, domain in zip(axes, domains, strict=True):
        _dress(ax, domain, targets)
        for arm, style in zip(shown, styles, strict=True):
            courses = [run.course for run in arm.runs.values()]
            _draw_arm(ax, courses, domain, style, banded=banded)
    axes[0].set_ylim(bottom=0, top=1)
    axes[0].set_xlim(left=0)
    axes[0].set_ylabel("validation accuracy", fontsize=10, color=GREY)
    _write_names(axes[-1], shown, styles)
    bands = ", band: 95 % interval" if banded else " (the tables have the intervals)"
    lines = textwrap.wrap(f"Mean over seeds{bands}. {note}", NOTE_LETTERS)
    figure.text(
        0.6 / size[0], 0.08, "\n".join(lines), fontsize=8, color=GREY, va="top", parse_math=False
    )
    for path in paths:
        figure.savefig(path, dpi=DPI, metadata={"Date": None} if path.suffix == ".svg" else None)


def level_at(tokens: Sequence[float], levels: Sequence[float], x: float) -> float:
    """The level at `x`, on straight lines between measurements; NaN outside of them.

    >>> level_at([0, 100], [0.0, 1.0], 25), level_at([0, 100], [0.0, 1.0], 101)
    (0.25, nan)
    """
    if not tokens or not tokens[0] <= x <= tokens[-1]:
        return math.nan
    for i in range(1, len(tokens)):
        if x <= tokens[i]:
            share = (x - tokens[i - 1]) / (tokens[i] - tokens[i - 1])
            return levels[i - 1] + share * (levels[i] - levels[i - 1])
    return levels[-1]


Style = tuple[str, object]


def _styles(arms: Sequence[ArmFigures], baseline: str) -> list[Style]:
    """Colour and dash of each arm; no two arms have both in common, up to 21 arms."""
    styles: list[Style] = []
    others = 0
    for arm in arms:
        if arm.name == baseline:
            styles.append((BASELINE, "-"))
            continue
        rounds, i = divmod(others, len(COLOURS))
        styles.append((COLOURS[i], DASHES[rounds % len(DASHES)]))
        others += 1
    return styles


def _draw_arm(
    ax: Axes, courses: Sequence[Course], domain: str, style: Style, *, banded: bool
) -> None:
    colour, dash = style
    end = min(course.tokens[-1] for course in courses)
    xs = [end * i / POINTS for i in range(POINTS + 1)]
    found = [
        estimate(
            [level_at(c.tokens, c.accuracy[domain], x) for c in courses if domain in c.accuracy]
        )
        for x in xs
    ]
    means = [one.mean if one else math.nan for one in found]
    halves = [one.half or 0.0 if one else 0.0 for one in found]
    ax.plot(xs, means, color=colour, ls=dash, lw=1.9, solid_capstyle="round")
    if banded and len(courses) > 1:
        low = [max(0.0, mean - half) for mean, half in zip(means, halves, strict=True)]
        high = [min(1.0, mean + half) for mean, half in zip(means, halves, strict=True)]
        ax.fill_between(xs, low, high, color=colour, alpha=0.13, lw=0)


def _dress(ax: Axes, domain: str, targets: Sequence[float]) -> None:
    dress(ax, domain)
    ax.set_xlabel("generated tokens, thousands", fontsize=10, color=GREY)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}")
    for target in targets:
        ax.axhline(target, color=INK, lw=0.9, ls=(0, (1, 2)))


def _write_names(ax: Axes, arms: Sequence[ArmFigures], styles: Sequence[Style]) -> None:
    """Names beside the last panel, the quickest arm first: the highest mean of its worst domain."""
    end = min((run.course.tokens[-1] for arm in arms for run in arm.runs.values()), default=0.0)

    def height(arm: ArmFigures) -> float:
        courses = [run.course for run in arm.runs.values()]
        return math.fsum(mean_height(c.tokens, c.lowest, end) for c in courses) / len(courses)

    order = sorted(zip(arms, styles, strict=True), key=lambda one: height(one[0]), reverse=True)
    gap = min(LABEL_PIXELS / ax.get_window_extent().height, 1 / max(1, len(arms)))
    where = ax.transAxes
    for i, (arm, (colour, dash)) in enumerate(order):
        y = 1 - gap * i
        ax.plot([1.02, 1.09], [y, y], color=colour, ls=dash, lw=2, transform=where, clip_on=False)
        ax.text(
            1.11, y, textwrap.shorten(arm.name, 34, placeholder="…"), transform=where,
            va="center", fontsize=9.5, color=INK, parse_math=False,
        )  # fmt: skip
