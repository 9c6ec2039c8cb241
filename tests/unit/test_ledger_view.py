"""The ledger for a person."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from srpo.config.files import load_config, parse_set
from srpo.errors import SrpoError
from srpo.history import Ledger, When
from srpo.insight.ledger_view import print_decisions, print_ledger, print_life, print_never
from srpo.insight.preview_view import print_preview
from srpo.selection.resampling import resample
from srpo.selection.rule import Decision, Resampled
from srpo.types import Verdict
from tests.factories import group, math_problem, rollout
from tests.ledgers import CODE, EASY, HARD


def shown(ledger: Ledger, width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_ledger(ledger, Console(file=stream, width=width, highlight=False))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_ledger_ends_with_the_problems_drawn_most_often_and_solved_least(
    ledger: Ledger,
) -> None:
    # EASY and HARD are drawn twice, HARD with fewer correct answers; CODE is drawn once
    ledger.record_step(When(1, 1, 1), [group([1, 0], EASY), group([0, 0], HARD)], [], [])
    both = [group([1, 1], EASY), group([0, 1], HARD), group([1, 0], CODE)]
    ledger.record_step(When(2, 1, 1), both, [], [])
    assert shown(ledger)[-5:] == [
        "3 problems drawn, 0 of them never solved.",
        "Drawn most often (--problem ID shows what became of one):",
        "  bb01  math  2 times, 1 correct answer",
        "  aa01  math  2 times, 3 correct answers",
        "  cc01  code  once, 1 correct answer",
    ]


def test_a_ledger_without_groups_names_no_problem(ledger: Ledger) -> None:
    assert shown(ledger)[-1] == "0 problems drawn, 0 of them never solved."


def test_a_row_of_the_ledger_is_one_line_on_80_columns(ledger: Ledger) -> None:
    groups = [group([1, 0], EASY), group([0, 0], HARD)]
    ledger.record_step(When(1000, 1000, 10), groups, [], [])
    table = shown(ledger)[:2]
    assert table[0] == (
        "stage epoch domain groups correct mixed wrong ungraded drops revived tokens"
    )
    assert table[1].split()[:5] == ["10", "1000", "math", "2", "0"]


def told(show: Callable[[Console], None]) -> list[str]:
    stream = io.StringIO()
    show(Console(file=stream, width=80, highlight=False))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def an_epoch(ledger: Ledger) -> None:
    """EASY is solved and dropped, HARD is half solved and stays; each rollout has two tokens."""
    drawn = [replace(group([1, 1], EASY), why="its turn"), group([1, 0], HARD)]
    decided = [
        Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
        Resampled("bb01", "math", Decision.KEEP_MIXED, 1, 2),
    ]
    ledger.record_step(When(1, 1, 1), drawn, decided, [])


def test_the_life_of_a_problem_shows_its_pass_rate_and_fate_epoch_by_epoch(
    ledger: Ledger,
) -> None:
    an_epoch(ledger)
    again = [Resampled("bb01", "math", Decision.KEEP_MIXED, 3, 4)]
    ledger.record_step(When(2, 2, 1), [group([1, 1], HARD)], [], [])
    ledger.record_step(When(3, 2, 1), [group([1, 0], HARD)], again, [])
    ledger.record_step(When(4, 3, 1), [group([0, 0], HARD)], [], [])
    lines = told(lambda console: print_life(ledger, "bb", console))
    assert lines[:2] == ["bb01  math  (set math)", "What is 9 * 9?"]
    assert lines[3].split() == ["epoch", "stage", "groups", "correct", "rate", "tokens", "then"]
    assert [line.split() for line in lines[4:7]] == [
        ["1", "1", "1", "1", "of", "2", "0.50", "4", "keep:", "mixed"],
        ["2", "1", "2", "3", "of", "4", "0.75", "8", "keep:", "mixed"],  # it goes on
        ["3", "1", "1", "0", "of", "2", "0.00", "4"],  # not decided yet
    ]
    assert lines[-1] == "Drawn 4 times; 4 of 8 correct; 16 tokens generated"
    easy = told(lambda console: print_life(ledger, "aa", console))
    assert "step    1  2 correct; all correct; 4 tokens (its turn)" in easy
    assert "step    1  drop: all correct" in easy


def test_a_problem_that_is_not_known_or_not_clear_is_said(ledger: Ledger) -> None:
    with pytest.raises(SrpoError, match="no problem in the ledger begins with 'zz'"):
        print_life(ledger, "zz")
    with pytest.raises(SrpoError, match="3 problems begin with '': aa01, bb01, cc01"):
        print_life(ledger, "")


def test_decisions_are_counted_by_kind_and_named_for_one_epoch(ledger: Ledger) -> None:
    nothing = told(lambda c: print_decisions(ledger, None, "resampling", c))
    assert nothing[0].startswith("No decision yet. The run's rule is resampling: it decides when")
    an_epoch(ledger)
    lines = told(lambda console: print_decisions(ledger, None, "resampling", console))
    assert [line.split() for line in lines[1:3]] == [
        ["1", "1", "math", "1", "drop:", "all", "correct"],
        ["1", "1", "math", "1", "keep:", "mixed"],
    ]
    named = told(lambda console: print_decisions(ledger, 1, "resampling", console))
    assert named[-2:] == ["Dropped:", "  aa01  math  drop: all correct"]
    with pytest.raises(SrpoError, match="--epoch 2: the run has only reached epoch 1"):
        print_decisions(ledger, 2, "resampling")


def test_moves_into_the_easy_pool_and_out_of_it_are_named(ledger: Ledger) -> None:
    moves = [
        Resampled("aa01", "math", Decision.TO_EASY_POOL, 2, 2),
        Resampled("bb01", "math", Decision.FROM_EASY_POOL, 1, 2),
    ]
    ledger.record_step(When(1, 1, 1), [group([1, 1], EASY), group([1, 0], HARD)], moves, [])
    named = told(lambda console: print_decisions(ledger, 1, "soft-drop", console))
    assert [line for line in named[3:] if line] == [
        "To the easy pool:",
        "  aa01  math  to the easy pool: all correct",
        "Back from the easy pool:",
        "  bb01  math  back from the easy pool: not all correct any more",
    ]


@pytest.mark.parametrize("rule", ["mopps", "dps"])
def test_of_a_rule_that_decides_at_every_draw_it_is_said_where_to_look(
    ledger: Ledger, rule: str
) -> None:
    said = " ".join(told(lambda console: print_decisions(ledger, None, rule, console)))
    assert f"The run's rule is {rule}: it decides at every draw" in said
    assert "--problem ID" in said


def test_answers_begun_with_a_prefix_are_told_but_not_counted_in_a_life(ledger: Ledger) -> None:
    # 1 of 2 alone; then 2 of 2 with the beginning of an own answer. Two tokens a rollout
    helped = replace(group([1, 1], EASY), prefix=(4, 4, 4))
    ledger.record_step(When(1, 1, 1), [group([1, 0], EASY)], [], [])
    ledger.record_step(When(2, 1, 1), [helped], [], [])
    ledger.record_step(When(3, 2, 1), [helped], [], [])
    lines = told(lambda console: print_life(ledger, "aa", console))
    assert [line.split() for line in lines[4:6]] == [
        ["1", "1", "2", "1", "of", "2", "0.50", "8"],
        ["2", "1", "1", "0", "of", "0", "-", "4"],
    ]
    assert any("begun with 3 tokens of an own answer" in line for line in lines)
    assert lines[-1] == "Drawn 3 times; 1 of 2 correct; 12 tokens generated"


def test_the_life_of_a_problem_of_two_sets_names_the_set_of_each_decision(ledger: Ledger) -> None:
    ledger.add_problems("code", [EASY])
    decided = [
        Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
        Resampled("aa01", "code", Decision.KEEP_MIXED, 1, 2),
    ]
    ledger.record_step(When(1, 1, 1), [group([1, 1], EASY)], decided, [])
    back = [Resampled("aa01", "math", Decision.REVIVE_FLOOR, 0, 0)]
    ledger.record_step(When(2, 2, 2), [group([1, 0], EASY)], [], [], revived_before=back)
    lines = told(lambda console: print_life(ledger, "aa", console))
    assert lines[0] == "aa01  math  (sets math, code)"
    assert lines[4].endswith(" 4 math: drop: all correct")
    assert lines[5].strip() == "code: keep: mixed"
    back_at = lines.index(
        "step    2  math: revive: its set fell below the floor (as the stage began)"
    )
    assert lines[back_at + 1].startswith("step    2  1 correct, 1 wrong")


def test_of_many_dropped_problems_ten_are_named_and_all_are_counted(ledger: Ledger) -> None:
    many = [math_problem(id=f"many{i:02d}") for i in range(14)]
    ledger.add_problems("math", many)
    decided = [Resampled(p.id, "math", Decision.DROP_ALL_CORRECT, 2, 2) for p in many]
    ledger.record_step(When(1, 1, 1), [], decided, [])
    lines = told(lambda console: print_decisions(ledger, 1, "resampling", console))
    assert sum(line.startswith("  many") for line in lines) == 10
    assert lines[-1].startswith("  ... and 4 more")


def test_never_solved_and_never_gradable_are_told_apart_with_their_cost(ledger: Ledger) -> None:
    broken = replace(group([0], CODE), rollouts=(rollout(Verdict.UNGRADABLE),))
    ledger.record_step(When(1, 1, 1), [group([0, 0], HARD), group([1, 0], EASY), broken], [], [])
    assert told(lambda console: print_never(ledger, console)) == [
        "1 problem never solved, though graded; 4 tokens went into them, most into:",
        "  bb01  math  once, 4 tokens",
        "",
        "1 problem never gradable; 2 tokens went into them, most into:",
        "  cc01  code  once, 2 tokens",
    ]


def previewed(ledger: Ledger, *settings: str) -> list[str]:
    small = [
        "every_stage.sets={math = 1}",
        "stage.1.sets={math = 1}",
        "every_stage.problems_per_step=2",
        *settings,
    ]
    config = load_config(settings=[parse_set(text) for text in small]).config
    return told(lambda console: print_preview(ledger, config, console))


def test_the_preview_says_what_the_epochs_end_will_drop_and_save(ledger: Ledger) -> None:
    assert "nothing to look ahead from" in previewed(ledger)[0]
    # EASY is solved with 2 of the 6 tokens; CODE is in a set that the stage does not draw from
    drawn = [group([1], EASY), group([1, 0], HARD), group([1], CODE)]
    ledger.record_step(When(1, 1, 1), drawn, [], [])
    lines = previewed(ledger, "selection.floor=1")
    assert lines[0] == "Epoch 1, stage 1, after step 1."
    assert lines[1].startswith("The run's rule is resampling: this is what the end")
    assert lines[4].split() == ["math", "2", "2", "1", "0", "6", "2"]
    assert lines[-1].startswith("It drops 1 of 2, saves about 33 % of tokens (an estimate:")


def test_the_preview_counts_a_problem_in_every_set_that_has_it(ledger: Ledger) -> None:
    # EASY is solved, and is in the code set as well: each of the two drops it
    ledger.add_problems("code", [EASY])
    ledger.record_step(When(1, 1, 1), [group([1], EASY), group([1, 0], HARD)], [], [])
    both = "stage.1.sets={math = 1, code = 1}"
    lines = previewed(ledger, "every_stage.sets={math = 1, code = 1}", both, "selection.floor=1")
    assert lines[4].split() == ["math", "2", "2", "1", "0", "6", "2"]
    assert lines[5].split() == ["code", "2", "1", "1", "0", "2", "2"]
    assert lines[-1] == "1 problems of the run are in several sets and count in each."


def test_the_preview_knows_the_floor_and_what_has_not_come_yet(ledger: Ledger) -> None:
    # without a floor of its own a set keeps one step's share, here two problems
    ledger.record_step(When(1, 1, 1), [group([1], EASY)], [], [])
    assert "It drops 0 of 2, saves about 0 %" in previewed(ledger)[-1]
    assert "So far 1 of 2 were drawn in it" in previewed(ledger)[-1]


@pytest.mark.parametrize("rule", ["uniform", "mopps", "dps"])
def test_the_preview_says_when_resampling_is_off(ledger: Ledger, rule: str) -> None:
    ledger.record_step(When(1, 1, 1), [group([1], EASY)], [], [])
    lines = previewed(ledger, f"selection.rule={rule}")
    assert lines[1].startswith(f"The run's rule is {rule}: resampling is off")


def test_an_epoch_that_was_resampled_is_not_previewed_again(ledger: Ledger) -> None:
    an_epoch(ledger)
    assert previewed(ledger)[-1] == (
        "This epoch has ended and was resampled; the next has not begun."
    )


def test_at_the_end_the_preview_and_the_resampling_agree(ledger: Ledger) -> None:
    an_epoch(ledger)  # EASY is dropped; then HARD is solved, and the floor brings EASY back
    ledger.record_step(When(2, 2, 1), [group([1, 1], HARD)], [], [])
    said = previewed(ledger, "selection.floor=1")[-1]
    assert said.startswith("It drops 1 of 1, saves about 100 % of tokens")
    assert said.endswith("1 come back, because their set would fall below its floor.")
    tallies = list(ledger.tallies())[-1]
    done = [(d.problem_id, d.decision) for d in resample(tallies, ["bb01"], ["aa01"], 1, "math")]
    assert done == [("bb01", Decision.DROP_ALL_CORRECT), ("aa01", Decision.REVIVE_FLOOR)]
