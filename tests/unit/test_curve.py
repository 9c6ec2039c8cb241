"""The course of a run as a picture, and as blocks for a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from srpo.insight.curve import Row, curve_text, domains_of, draw_curve, series, smoothed
from srpo.run.figures import DomainFigures
from srpo.types import Domain
from tests.step_figures import domain, figures


def test_a_domain_without_groups_leaves_a_gap_and_no_zero() -> None:
    rows: list[Row] = [
        {"step": 1, "math/groups": 4, "math/reward": 0.5, "math/length_tokens": 9.0},
        {"step": 2, "math/groups": 0, "math/reward": None, "math/length_tokens": 0.0},
        {"step": 3, "math/groups": 4, "math/reward": None, "math/length_tokens": 8.0},
        {"step": 4},
    ]
    assert series(rows, "math/reward") == [0.5, None, None, None]
    assert series(rows, "math/length_tokens") == [9.0, None, 8.0, None]
    assert domains_of(rows) == ["math"]
    assert domains_of([]) == ["all"]


def test_smoothing_stays_within_a_stage_and_keeps_gaps() -> None:
    # 32 steps: a reach of 2. Stage 1 is 0, stage 2 is 1: a mean over both would be neither.
    stages = [1] * 16 + [2] * 16
    values: list[float | None] = [float(stage - 1) for stage in stages]
    values[3] = None
    assert smoothed(values, stages) == values
    ramp: list[float | None] = [float(i) for i in range(32)]
    assert smoothed(ramp, [1] * 32)[:3] == [1.0, 1.5, 2.0]  # means of 0-2, 0-3 and 0-4


def run_rows(steps: int, switch: int = 25) -> list[dict[str, float | int | None]]:
    """Stage 1 with math only, then both domains."""
    rows = []
    for step in range(1, steps + 1):
        found: dict[Domain, DomainFigures] = {"math": domain(min(1.0, 0.2 + step / 50))}
        if step > switch:
            found["code"] = domain(0.5)
        stage = 1 if step <= switch else 2
        rows.append(figures(step, stage=stage, domains=found, revived=int(step == 30)).metrics())
    return rows


@pytest.mark.parametrize("steps", [0, 1, 70])
def test_the_curve_is_a_picture_of_1200_by_900(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "curve.png"
    stages = [("first: $x^", 1), ("\u6570\u5b66", 26)]  # neither formulas nor missing letters harm
    draw_curve(run_rows(steps), stages, path, "the conflict between the domains is built in")
    with Image.open(path) as picture:
        assert picture.size == (1200, 900)
        colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20) or []}
    assert len(colours) > 10
    assert ((0, 114, 178) in colours) == (steps > 0)  # math
    assert ((213, 94, 0) in colours) == (steps == 70)  # code is drawn only once it began


def test_the_curve_in_text_marks_the_switch_and_leaves_a_gap_before_it() -> None:
    # 70 columns - 6 for the axis - 1 for the switch = 63 for 70 steps: 22 (of 25) and 40 (of 45)
    lines = curve_text(run_rows(70), width=70).splitlines()
    assert lines[0] == "      stage 1               │ stage 2"
    assert lines[1] == "      math reward, now 1.00"
    assert lines[8] == "      code reward, now 0.50"
    assert all(len(line) <= 70 for line in lines)
    # reward 0.5 fills two and a half of five rows, and nothing before the switch
    assert [line[:6] for line in lines[9:14]] == [" 1.0 ┤", *["     │"] * 4]
    assert [line[6:29] for line in lines[9:14]] == [" " * 22 + "│"] * 5
    assert [line[29:] for line in lines[9:14]] == ["", "", "▄" * 40, "█" * 40, "█" * 40]
    assert lines[-1].split() == ["step", "1", "70"]


def test_the_curve_in_text_draws_short_and_long_runs() -> None:
    assert curve_text([]) == "no steps yet"
    assert "now 0.22" in curve_text(run_rows(1))
    assert all(len(line) <= 40 for line in curve_text(run_rows(500), width=40).splitlines())


@pytest.mark.parametrize(
    ("steps", "switch", "names"),
    [
        (1, 1, "      stage 1"),
        (2, 1, "      stage 1  │ stage 2"),  # nine columns a step, so that both names fit
        (62, 1, "      1│ stage 2"),  # one column a step
        (41, 40, "      stage 1                                 │2"),
    ],
)
def test_a_stage_is_named_in_full_where_there_is_room(steps: int, switch: int, names: str) -> None:
    assert curve_text(run_rows(steps, switch), width=70).splitlines()[0] == names
