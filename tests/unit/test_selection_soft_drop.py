"""Soft drop: turns skipped by the row of visits without signal, and the easy pool."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from srpo.selection.rule import Decision, Resampled, Tally
from srpo.selection.soft_drop import SoftDrop, chance_of_turn

NONE: frozenset[str] = frozenset()
SOLVED, MIXED, FAILED = Tally(8, 8), Tally(3, 8), Tally(0, 8)


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def test_the_chance_of_a_turn_halves_with_every_visit_without_signal_down_to_the_least() -> None:
    # 1/2 to the power of 6 is .0156, of 7 .0078, which is below the least
    assert [chance_of_turn(0.5, row) for row in (0, 1, 2, 3, 6, 7, 1000)] == [
        1.0,
        0.5,
        0.25,
        0.125,
        1 / 64,
        0.01,
        0.01,
    ]


def test_what_is_solved_is_in_the_easy_pool_until_it_is_not_solved_any_more() -> None:
    rule = SoftDrop("s", names(4), random.Random(1))
    rule.observe({"p0": SOLVED, "p1": MIXED, "p2": FAILED, "p3": Tally(0, 0)})
    assert rule.memory()["solved"] == {"p0": 1}
    assert rule.memory()["failed"] == {"p2": 1}
    rule.observe({"p0": SOLVED, "p2": FAILED})
    assert (rule.memory()["solved"], rule.memory()["failed"]) == ({"p0": 2}, {"p2": 2})
    rule.observe({"p0": FAILED, "p2": SOLVED})  # a row ends with the first visit of another kind
    assert (rule.memory()["solved"], rule.memory()["failed"]) == ({"p2": 1}, {"p0": 1})
    rule.observe({"p0": MIXED, "p2": Tally(0, 0)})  # nothing gradable says nothing
    assert (rule.memory()["solved"], rule.memory()["failed"]) == ({"p2": 1}, {})
    assert (rule.kept, rule.dropped) == (names(4), [])


def test_a_tenth_of_the_places_is_of_the_easy_pool() -> None:
    rule = SoftDrop("s", names(200), random.Random(2))
    rule.observe(dict.fromkeys(names(100), SOLVED))
    came: Counter[bool] = Counter()
    for _ in range(200):
        chosen = rule.choose(10, NONE)
        came.update(choice.problem_id in rule.memory()["solved"] for choice in chosen)
        assert all(
            (choice.problem_id in rule.memory()["solved"]) == choice.why.startswith("easy pool")
            for choice in chosen
        )
    # 2,000 places with the chance .1: 200, with a standard deviation of 13.4
    assert abs(came[True] - 200) < 4 * 13.4


def test_an_unsolved_problem_still_comes_at_the_rate_of_its_chance() -> None:
    # p0 failed three times: it takes one turn of eight. The others are mixed and take each turn.
    # 3,000 passes of 5 problems; p0 is out of the pass after its turn, taken or not
    rule = SoftDrop("s", names(5), random.Random(3))
    for _ in range(3):
        rule.observe({"p0": FAILED})
    came: Counter[str] = Counter()
    for _ in range(1500):
        came.update(choice.problem_id for choice in rule.choose(2, NONE))
    turns = came["p1"]  # as many as passes
    assert all(abs(came[f"p{i}"] - turns) <= 1 for i in (2, 3, 4))
    # 700 turns with the chance 1/8: 88, with a standard deviation of 8.8
    assert abs(came["p0"] - turns / 8) < 4 * (turns * 7 / 64) ** 0.5


def test_even_the_longest_row_is_tried_again() -> None:
    rule = SoftDrop("s", names(3), random.Random(4))
    for _ in range(50):
        rule.observe({"p0": FAILED})
    came = Counter(c.problem_id for _ in range(4000) for c in rule.choose(1, NONE))
    # about 2,000 turns with the chance .01: 20, with a standard deviation of 4.5
    assert 4 <= came["p0"] <= 40


def test_the_reason_counts_the_skipped_turns() -> None:
    rule = SoftDrop("s", names(2), random.Random(5))
    for _ in range(2):
        rule.observe({"p0": FAILED})
    reasons = {c.why for _ in range(400) for c in rule.choose(1, NONE) if c.problem_id == "p0"}
    assert {"its turn", "its turn, skipped 1 time", "its turn, skipped 2 times"} <= reasons


def test_what_was_skipped_fills_a_step_that_would_be_too_small() -> None:
    # nothing but hopeless problems: one whole pass is skipped, nearly, and four come all the same
    rule = SoftDrop("s", names(4), random.Random(6))
    for _ in range(9):
        rule.observe(dict.fromkeys(names(4), FAILED))
    choices = rule.choose(4, NONE)
    assert sorted(choice.problem_id for choice in choices) == names(4)
    assert any(choice.why.startswith("to fill the step") for choice in choices)
    assert rule.epoch_done  # all had their turn


def test_the_least_hopeless_fill_first() -> None:
    # chances 1/2 and .01: of two that were skipped, the first fills in 50 of 51 cases
    came: Counter[str] = Counter()
    for seed in range(200):
        rule = SoftDrop("s", ["once", "often"], random.Random(seed))
        rule.observe({"once": FAILED, "often": FAILED})
        for _ in range(20):
            rule.observe({"often": FAILED})
        came.update(choice.problem_id for choice in rule.choose(1, NONE))
    assert came["once"] > 185


def test_the_base_follows_the_share_of_unsolved_ones_from_the_second_epoch_on() -> None:
    rule = SoftDrop("s", names(12), random.Random(7))
    many = {"p0": FAILED, "p1": FAILED, **dict.fromkeys(names(12)[2:], MIXED)}  # 2 of 12: a sixth
    few = {"p0": FAILED, **dict.fromkeys(names(12)[1:], MIXED)}
    rule.observe(many)
    assert rule.base == 0.5
    rule.end_epoch()
    rule.observe(many)
    assert rule.base == pytest.approx(0.49)
    rule.observe(few)
    rule.observe(few)
    assert rule.base == pytest.approx(0.51)
    rule.observe({"p0": Tally(0, 0)})  # nothing was seen
    assert rule.base == pytest.approx(0.51)
    for _ in range(100):
        rule.observe(few)
    assert rule.base == pytest.approx(0.95)
    for _ in range(100):
        rule.observe(many)
    assert rule.base == pytest.approx(0.05)


def test_an_epoch_is_as_many_places_as_problems_even_if_all_is_solved() -> None:
    # 6 problems, 2 a step: three steps. With none left for the pass it would be over at once
    rule = SoftDrop("s", names(6), random.Random(8))
    for epoch in range(3):
        for step in range(3):
            assert (not rule.epoch_done, len(rule.choose(2, NONE))) == (True, 2), (epoch, step)
            rule.observe(dict.fromkeys(names(6), SOLVED))
        assert rule.epoch_done
        rule.end_epoch()


def test_a_pass_goes_on_over_the_end_of_an_epoch() -> None:
    # p0 and p1 are solved, some places are of the easy pool; the four others come equally often
    rule = SoftDrop("s", names(6), random.Random(8))
    rule.observe({"p0": SOLVED, "p1": SOLVED})
    came: Counter[str] = Counter()
    for _ in range(50):
        while not rule.epoch_done:
            chosen = rule.choose(1, NONE)
            came.update(c.problem_id for c in chosen if not c.why.startswith("easy"))
        rule.end_epoch()
    assert sorted(came) == ["p2", "p3", "p4", "p5"]
    assert max(came.values()) - min(came.values()) <= 1


def test_at_an_epochs_end_it_is_told_where_each_problem_is_now() -> None:
    rule = SoftDrop("s", names(6), random.Random(9))
    rule.observe({"p0": SOLVED, "p1": SOLVED, "p2": MIXED, "p3": FAILED, "p4": Tally(0, 0)})
    assert rule.end_epoch() == [
        Resampled("p0", "s", Decision.TO_EASY_POOL, 8, 8),
        Resampled("p1", "s", Decision.TO_EASY_POOL, 8, 8),
        Resampled("p2", "s", Decision.KEEP_MIXED, 3, 8),
        Resampled("p3", "s", Decision.KEEP_ALL_WRONG, 0, 8),
        Resampled("p4", "s", Decision.KEEP_UNGRADABLE, 0, 0),
        Resampled("p5", "s", Decision.KEEP_UNSEEN, 0, 0),
    ]
    # p0 is not drawn; p1 is lost at its second visit; p2 is won and lost again within the epoch
    rule.observe({"p1": SOLVED, "p2": SOLVED})
    saved = rule.state_dict()
    rule = SoftDrop("s", names(6), random.Random(9))
    rule.load_state_dict(saved)
    rule.observe({"p1": MIXED, "p2": FAILED})
    assert rule.end_epoch()[:3] == [
        Resampled("p0", "s", Decision.KEEP_EASY, 0, 0),
        Resampled("p1", "s", Decision.FROM_EASY_POOL, 11, 16),
        Resampled("p2", "s", Decision.KEEP_MIXED, 8, 16),
    ]
    assert not any(d.decision.drops or d.decision.revives for d in rule.end_epoch())


def test_a_move_is_told_once_though_a_stage_ends_before_its_epoch() -> None:
    first = SoftDrop("s", names(3), random.Random(9))
    first.observe({"p0": SOLVED})
    first.end_epoch()
    first.observe({"p1": SOLVED})  # the stage ends here
    second = SoftDrop("s", names(3), random.Random(9))
    second.remember(first.memory())
    assert [d.decision for d in second.end_epoch()] == [
        Decision.KEEP_EASY, Decision.TO_EASY_POOL, Decision.KEEP_UNSEEN,
    ]  # fmt: skip
