"""What all pictures have in common: colours, and the look of a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart with every common kind of colour blindness
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
INK, GREY, FAINT = "#222222", "#666666", "#DDDDDD"
LABEL_PIXELS = 17  # height of a line of text


def dress(ax: Axes, title: str) -> None:
    """A title at the left, faint horizontal lines, and no frame but the axis below."""
    ax.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=5)
    ax.grid(axis="y", color=FAINT, lw=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.tick_params(labelsize=10, colors=GREY, length=0)
    ax.tick_params(axis="x", length=3)
