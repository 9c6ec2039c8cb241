"""Spaced repetition: cards, rests, the floor, and what a later stage remembers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.selection.rule import Decision, Tally
from srpo.selection.spaced import Card, Spaced
from srpo.types import Outcome

NONE: frozenset[str] = frozenset()
SOLVED, MIXED, FAILED = Tally(8, 8), Tally(3, 8), Tally(0, 8)


def spaced(count: int, *, floor: int = 1, longest: int = 8) -> Spaced:
    return Spaced("s", [f"p{i}" for i in range(count)], random.Random(1), floor, longest)


def epoch(rule: Spaced, **outcomes: Tally) -> dict[str, Decision]:
    """One epoch; those not named are mixed if they are in play."""
    rule.choose(len(rule.kept), NONE)
    rule.observe({i: outcomes.get(i, MIXED) for i in rule.kept})
    return {decided.problem_id: decided.decision for decided in rule.end_epoch()}


def epochs_seen(outcome: Tally, epochs: int, longest: int = 8) -> list[int]:
    """Epochs (from 1) in which p0 is in play, if it always comes to `outcome`."""
    rule, seen = spaced(3, longest=longest), []
    for number in range(1, epochs + 1):
        if "p0" in rule.kept:
            seen.append(number)
        epoch(rule, p0=outcome)
    return seen


def test_a_solved_problem_rests_1_2_4_8_8_epochs() -> None:
    # seen in 1, rests 2; seen in 3, rests 4, 5; seen in 6, rests 7 to 10; seen in 11, rests 12 to
    # 19; seen in 20, rests the longest rest again, 21 to 28
    assert epochs_seen(SOLVED, 30) == [1, 3, 6, 11, 20, 29]
    assert epochs_seen(SOLVED, 10, longest=1) == [1, 3, 5, 7, 9]


def test_an_unsolved_problem_comes_again_at_once_and_then_rests_1_2_2_epochs() -> None:
    assert epochs_seen(FAILED, 15) == [1, 2, 4, 7, 10, 13]
    assert epochs_seen(FAILED, 9, longest=1) == [1, 2, 4, 6, 8]


def test_what_is_mixed_or_cannot_be_graded_never_rests() -> None:
    assert epochs_seen(MIXED, 5) == [1, 2, 3, 4, 5]
    assert epochs_seen(Tally(0, 0), 5) == [1, 2, 3, 4, 5]


def test_a_row_ends_with_another_outcome() -> None:
    # solved twice, then unsolved: the first of a new row, which does not rest
    card = Card().after(Outcome.ALL_CORRECT, 8).after(Outcome.ALL_CORRECT, 8)
    assert card.after(Outcome.ALL_WRONG, 8) == Card(streak=-1, rests=0)
    assert card.after(Outcome.MIXED, 8) == Card()
    assert Card(-4).after(Outcome.ALL_CORRECT, 8) == Card(streak=1, rests=1)


def test_every_decision_is_named() -> None:
    rule = spaced(4)
    assert epoch(rule, p0=SOLVED, p1=FAILED) == {
        "p0": Decision.REST_ALL_CORRECT,
        "p1": Decision.KEEP_ALL_WRONG,
        "p2": Decision.KEEP_MIXED,
        "p3": Decision.KEEP_MIXED,
    }
    assert epoch(rule, p1=FAILED, p2=SOLVED) == {
        "p0": Decision.REVIVE_RESTED,
        "p1": Decision.REST_ALL_WRONG,
        "p2": Decision.REST_ALL_CORRECT,
        "p3": Decision.KEEP_MIXED,
    }
    assert sorted(rule.kept) == ["p0", "p3"]
    epoch(rule, p0=SOLVED)
    assert epoch(rule)["p0"] is Decision.STAY_DROPPED  # two epochs this time


def test_the_floor_brings_back_the_shortest_rest_first() -> None:
    # p0 is solved for the second time, p1 and p2 for the first; a floor of 2 needs one of the
    # latter, and it is the first; its row goes on
    rule = spaced(3, floor=2)
    rule._cards["p0"] = Card(streak=1)
    found = epoch(rule, p0=SOLVED, p1=SOLVED, p2=SOLVED)
    assert {i for i, d in found.items() if d is Decision.REVIVE_FLOOR} == {"p1", "p2"}
    assert rule.dropped == ["p0"]
    assert rule.memory()["cards"]["p1"] == [1, 0]


@pytest.mark.parametrize("floor", [1, 3, 5, 99])
def test_a_set_never_falls_below_its_floor_though_all_is_solved(floor: int) -> None:
    rule = spaced(5, floor=floor)
    for _ in range(20):
        assert len(rule.kept) >= min(floor, 5)
        epoch(rule, **{f"p{i}": SOLVED for i in range(5)})


def test_rests_go_on_in_a_later_stage() -> None:
    rule = spaced(4)
    epoch(rule, p0=SOLVED, p1=SOLVED)
    epoch(rule)
    epoch(rule, p0=SOLVED)  # rests for two epochs
    later = spaced(4)
    assert later.remember(rule.memory()) == []
    assert later.dropped == ["p0"]
    assert epoch(later)["p0"] is Decision.STAY_DROPPED
    assert epoch(later)["p0"] is Decision.REVIVE_RESTED


def test_a_later_stage_with_a_higher_floor_takes_the_shortest_rests_back() -> None:
    later = spaced(4, floor=3)
    memory = {"dropped": ["p0", "p1"], "cards": {"p0": [3, 4], "p1": [1, 1]}}
    assert [d.problem_id for d in later.remember(memory)] == ["p1"]
    assert later.dropped == ["p0"]
    assert later.memory()["cards"] == {"p0": [3, 4], "p1": [1, 0]}


def test_a_resting_problem_that_another_run_drew_is_judged_by_what_came_of_it() -> None:
    rule = spaced(3)
    epoch(rule, p0=SOLVED)
    rule.observe({"p0": FAILED, "p1": MIXED})  # another run's epoch, in which p0 came
    assert {d.problem_id: d.decision for d in rule.end_epoch()}["p0"] is Decision.KEEP_ALL_WRONG


@given(
    st.lists(
        st.dictionaries(st.integers(0, 5), st.sampled_from([SOLVED, MIXED, FAILED, Tally(0, 0)])),
        max_size=12,
    ),
    st.integers(1, 7),
    st.integers(1, 5),
)
def test_nothing_is_lost_and_no_rest_is_longer_than_the_longest(
    epochs: list[dict[int, Tally]], floor: int, longest: int
) -> None:
    rule = spaced(6, floor=floor, longest=longest)
    out: dict[str, int] = {}
    for outcomes in epochs:
        epoch(rule, **{f"p{i}": tally for i, tally in outcomes.items()})
        assert sorted([*rule.kept, *rule.dropped]) == [f"p{i}" for i in range(6)]
        assert len(rule.kept) >= min(floor, 6)
        out = {i: out.get(i, 0) + 1 for i in rule.dropped}
        assert max(out.values(), default=0) <= longest
