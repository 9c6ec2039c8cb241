"""The live view, plain lines and the report."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from srpo.formats import clock, percent, share, short
from srpo.insight.live import LiveView, sparkline
from srpo.insight.pace import Pace
from srpo.insight.plain_lines import PlainLines, evaluation_line, step_line
from srpo.insight.report import report_data, report_text, report_view
from srpo.insight.watchers import watcher_for
from srpo.run.figures import Accuracy, DomainFigures, DomainScore, Evaluation
from srpo.run.watcher import StagePlan
from srpo.types import Domain
from tests.step_figures import domain, figures

PLAN = (StagePlan(1, "math", 25), StagePlan(2, "math and code", 45))


def evaluation(step: int = 0, correct: int = 36) -> Evaluation:
    """Of 20 problems, half of level 1 and solved, two completions of each."""
    levels = {2: Accuracy(10, 20, correct - 20), 1: Accuracy(10, 20, 20)}
    overall = Accuracy(problems=20, samples=40, correct=correct)
    score = DomainScore(overall, levels, thinking_frac=0.25, length_tokens=18.0, ungraded=0)
    return Evaluation(step=step, domains={"math": score}, tokens=900)


class Clock:
    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        return self.time_s


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_time_left_is_the_mean_step_so_far_times_the_steps_left() -> None:
    # steps of 1 s and 3 s: mean 2 s; 70 - 2 = 68 left -> 136 s = 2:16
    pace = Pace(PLAN)
    assert pace.left_text == "time left not known yet"
    pace.step(figures(1, seconds=1.0))
    pace.step(figures(2, seconds=3.0))
    assert (pace.steps_left, pace.left_s, pace.left_text) == (68, 136.0, "2:16 left")
    assert pace.step_text == "2/70"


def test_a_resumed_run_counts_earlier_steps_but_not_their_time() -> None:
    # steps 1 to 30 were done before: 25 of stage 1, 5 of stage 2; step 31 leaves 45 - 6 = 39
    pace = Pace(PLAN, first_step=31)
    assert (pace.stage, pace.done(1), pace.done(2)) == (2, 25, 5)
    pace.step(figures(31, stage=2, seconds=2.0))
    assert (pace.steps_left, pace.left_s) == (39, 78.0)


def test_a_stage_that_ended_early_leaves_no_steps_behind() -> None:
    # stage 1 stopped after 10 of its 25 steps; step 11 is the first of stage 2's 45
    pace = Pace(PLAN, first_step=1)
    for step in range(1, 11):
        pace.step(figures(step))
    pace.step(figures(11, stage=2))
    assert (pace.steps_left, pace.step_text) == (44, "11/55")


def test_an_open_stage_has_no_fixed_end_until_it_is_over() -> None:
    pace = Pace((StagePlan(1, "open", None), StagePlan(2, "both", 5)))
    pace.step(figures(1))
    assert (pace.left_text, pace.step_text) == ("no fixed end", "1")
    pace.step(figures(2, stage=2))
    assert pace.left_text == "0:08 left"  # 4 steps of 2 s


def test_the_line_of_a_step_holds_its_figures() -> None:
    # 12 steps of 2 s, 58 left: 116 s; 10,400 tokens in 2 s are 5.2 k/s
    pace = Pace(PLAN, first_step=12)
    pace.step(figures(12))
    assert step_line(figures(12), pace) == (
        "stage 1 step 12/70 epoch 3 | reward 0.52 solved .48 | signal 61 % | length 18 | "
        "thinks 34 % | kept 172 dropped 20 | 61 k tokens, 5.2 k/s | 1:56 left"
    )


def test_the_line_of_a_step_says_when_nothing_was_learned() -> None:
    assert "| no update |" in step_line(figures(updated=False), Pace(PLAN))
    assert "no update" not in step_line(figures(), Pace(PLAN))


def test_the_line_of_a_mixed_step_names_the_domains() -> None:
    both: dict[Domain, DomainFigures] = {"code": domain(solved=0.3), "math": domain(solved=1.0)}
    assert "solved .48 (math 1.00 code .30)" in step_line(figures(domains=both), Pace(PLAN))


def test_the_line_of_an_evaluation_holds_wilsons_interval() -> None:
    # 36 of 40 correct on 20 problems: Wilson's interval with n = 20 is [0.699, 0.972]
    assert evaluation_line(evaluation()) == "held out, step 0: math .90 [.70 .97]"
    assert evaluation_line(Evaluation(step=3)) == "held out, step 3: nothing"


def test_plain_lines_hold_no_control_characters() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    lines.start("a run", PLAN, first_step=1)
    lines.note("stage 2\nbegins \x1b[31mnow")
    lines.step(figures())
    lines.evaluated(evaluation())
    lines.stop()
    written = stream.getvalue()
    assert all(c.isprintable() or c == "\n" for c in written)
    assert written.splitlines()[:4] == [
        "a run",
        "stage 1: math, 25 steps",
        "stage 2: math and code, 45 steps",
        "* stage 2 begins  [31mnow",
    ]


def test_plain_lines_report_a_phase_only_after_half_a_minute_of_silence() -> None:
    now, stream = Clock(), io.StringIO()
    lines = PlainLines(stream, now)
    lines.phase("sampling", 1, 256)
    assert stream.getvalue() == ""
    now.time_s = 30.0
    lines.phase("sampling", 2, 256)
    lines.phase("sampling", 3, 256)
    assert stream.getvalue() == "  sampling 2/256\n"


def test_a_closed_pipe_does_not_end_the_run() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    stream.close()
    lines.step(figures())  # does not raise
    lines.note("nor does this")
    assert stream.closed


def test_the_live_view_is_only_for_terminals_that_can_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(watcher_for(Terminal()), LiveView)
    assert isinstance(watcher_for(io.StringIO()), PlainLines)
    latin = Terminal()
    latin.encoding = "latin-1"
    assert isinstance(watcher_for(latin), PlainLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(watcher_for(Terminal()), PlainLines)


def test_numbers_are_written_short() -> None:
    written = ", ".join(short(v) for v in (0, 999.4, 999.6, 9_949, 9_951, 1e6))
    assert written == "0, 999, 1.0 k, 9.9 k, 10 k, 1.0 M"
    assert (share(0.0), share(-0.05), percent(None)) == (".00", "-0.05", "-")
    assert [clock(s) for s in (0, 59.6, 3600)] == ["0:00", "1:00", "1:00:00"]


def shown(view: LiveView, width: int = 80, height: int = 24) -> list[str]:
    """The view as a terminal of that size shows it."""
    console = Console(file=io.StringIO(), width=width, height=height, record=True)
    console.print(view)
    return [line.rstrip() for line in console.export_text().splitlines()]


def busy_view(now: Clock) -> LiveView:
    """A view with everything there is to show, 12 steps of 2 s into the run."""
    view = LiveView(Console(file=io.StringIO(), width=80, height=24), now)
    view.start("srpo train", PLAN, first_step=1)
    both: dict[Domain, DomainFigures] = {"math": domain(), "code": domain(0.3, solved=0.25)}
    for step in range(1, 13):
        view.step(figures(step, domains=both, revived=1 if step == 6 else 0, updated=step < 12))
    view.evaluated(evaluation(0))
    view.evaluated(evaluation(5))
    view.evaluated(evaluation(10))
    for i in range(5):
        view.note(f"note {i} " + "long " * 30)
    now.time_s = 24.0
    view.phase("sampling", 64, 256)
    now.time_s = 27.0
    return view


def test_the_live_view_shows_the_headline_numbers_on_80_by_24() -> None:
    view = busy_view(Clock())
    try:
        lines = shown(view)
    finally:
        view.stop()
    text = "\n".join(lines)
    assert len(lines) <= 23  # the last line is the cursor's
    assert max(len(line) for line in lines) <= 80
    for expected in (
        "1 math  12/25",
        "2 math and code  0/45",
        "step 12/70   epoch 3   elapsed 0:27   1:56 left",
        "64/256  0:03",
        "172 kept, 20 dropped, 1 revived so far",
        "61 k generated, 5.2 k per second",
        "step 12: no signal in any group, weights left as they were",
        "held out, step 0  math .90 [.70 .97]",
        "held out, step 10",
        "* note 4",
    ):
        assert expected in text, expected
    assert "note 1" not in text and "step 5" not in text and "loss" not in text
    reward = next(line for line in lines if line.startswith("reward"))
    # 12 steps, two a cell: 0.52 * 8 = 4.2 -> the fifth block, 0.30 * 8 = 2.4 -> the third
    assert reward.split() == ["reward", "0.52", "▅▅▅▅▅▅", "0.30", "▃▃▃▃▃▃"]


@pytest.mark.parametrize(("width", "height"), [(20, 6), (60, 14), (200, 50)])
def test_the_live_view_never_leaves_the_terminal(width: int, height: int) -> None:
    view = busy_view(Clock())
    view.stop()
    lines = shown(view, width, height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)


def test_stopping_the_live_view_leaves_its_last_state() -> None:
    terminal, now = Terminal(), Clock()
    view = LiveView(Console(file=terminal, width=80, height=24, force_terminal=True), now)
    view.start("srpo train", PLAN, first_step=1)
    view.step(figures(1))
    now.time_s = 5.0
    view.stop()
    view.stop()
    written = terminal.getvalue()
    assert "ended after step 1" in written.rsplit("srpo train", 1)[1]
    assert written.count("\x1b[?25h") == 1  # the cursor is shown again


def test_a_sparkline_has_a_gap_where_a_step_has_no_value() -> None:
    values: list[tuple[int, float | None]] = [(1, 0.0), (2, None), (4, 1.0)]
    assert sparkline(values, last_step=5, cells=40) == "▁  █ "
    # with 20 cells two steps share one: means 0, nothing, 1 -> the third holds step 5 and 6
    assert sparkline([(1, 0.0), (5, 1.0)], last_step=6, cells=20) == "▁ █"


def test_the_report_holds_accuracies_with_their_intervals() -> None:
    data = report_data(evaluation(0, 24), evaluation(70, 36), run={"steps": 70}, notes=["a note"])
    assert (data["schema"], data["run"], data["notes"]) == (1, {"steps": 70}, ["a note"])
    after = data["after"]["domains"]["math"]
    # 36 / 40, Wilson with n = 20: center 0.8355, half width 0.1366
    assert after["accuracy"] == 0.9
    assert after["low"] == pytest.approx(0.699, abs=5e-4)
    assert after["high"] == pytest.approx(0.972, abs=5e-4)
    assert (after["correct"], after["samples"], after["problems"]) == (36, 40, 20)
    assert after["levels"]["1"]["accuracy"] == 1.0
    assert after["levels"]["2"]["accuracy"] == 0.8
    assert data["before"]["step"] == 0 and data["before"]["tokens"] == 900


def test_the_report_is_strict_json_where_nothing_was_gradable() -> None:
    nothing = Accuracy(problems=0, samples=0, correct=0)
    score = DomainScore(nothing, {1: nothing}, thinking_frac=0.0, length_tokens=0.0, ungraded=4)
    data = report_data(
        None, Evaluation(step=2, domains={"code": score}), run={"gap": math.nan, "deep": [math.inf]}
    )
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again["after"]["domains"]["code"]["accuracy"] is None
    assert (again["before"], again["run"]) == (None, {"gap": None, "deep": [None]})
    assert "not gradable 4" in report_text(again)


def test_the_report_in_text_sets_before_against_after() -> None:
    text = report_text(report_data(evaluation(0, 24), evaluation(70, 36), notes=["[a] note"]))
    rows = [line.split() for line in text.splitlines()]
    # 60 % -> 90 %: Wilson's intervals with n = 20 are [38.7 78.1] and [69.9 97.2], which overlap
    assert rows[1] == ["overall", "60.0", "[38.7", "78.1]", "90.0", "[69.9", "97.2]", "+30.0", "20"]
    assert [row[:2] for row in rows[2:4]] == [["level", "1"], ["level", "2"]]
    # level 2: 4 of 20 -> 16 of 20 with n = 10: [5.7 51.0] and [49.0 94.3] overlap
    assert rows[3][-2:] == ["+60.0", "10"]
    assert "* [a] note" in text
    assert all(len(line) <= 80 and "\x1b" not in line for line in text.splitlines())


def test_the_report_marks_a_change_beyond_both_intervals() -> None:
    # 20 of 40 -> 40 of 40, n = 20: [29.9 70.1] and [83.9 100.0]
    assert "+50.0*" in report_text(report_data(evaluation(0, 20), evaluation(1, 40)))


def test_the_report_has_colours_only_on_a_terminal() -> None:
    data = report_data(None, None)
    assert report_text(data) == "No held-out accuracy was measured.\n"
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(report_view(report_data(evaluation(), None)))
    assert "\x1b[1m" in capture.get()
