"""What pilots go by: the moments of a set's last groups, and each problem's earlier visits."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.selection.pilot import Moments, Pilots, chance_of_mixed
from srpo.selection.rule import Tally


def after_many(pass_rates: list[float], pilots: int = 2000, seed: int = 1) -> Moments:
    """Pilots of four of problems with these pass rates, drawn at random."""
    rng = random.Random(seed)
    moments = Moments()
    for _ in range(pilots):
        p = rng.choice(pass_rates)
        moments = moments.after(Tally(sum(rng.random() < p for _ in range(4)), 4))
    return moments


def first_visit(moments: Moments, correct: int) -> float:
    """The chance that four more make a group mixed whose pilot has so many of four correct."""
    return chance_of_mixed(moments.prior, Tally(correct, 4), 4)


def test_one_group_moves_the_moments_by_its_share_of_the_weight() -> None:
    # the uniform beginning weighs 4 * .98 = 3.92, the group 1: 3 of 4 correct, and of the 12
    # ordered pairs 6 are both correct
    found = Moments().after(Tally(3, 4))
    assert found.weight == pytest.approx(4.92)
    assert found.mean == pytest.approx((3.92 / 2 + 3 / 4) / 4.92)
    assert found.square == pytest.approx((3.92 / 3 + 6 / 12) / 4.92)


def test_nothing_is_learnt_of_fewer_than_two_gradable_rollouts() -> None:
    assert Moments().after(Tally(1, 1)) == Moments().after(Tally(0, 0)) == Moments()


def test_the_prior_has_the_given_mean_and_spread() -> None:
    # Beta(2, 6): mean 1/4, mean of the square 2 * 3 / (8 * 9) = 1/12
    prior = Moments(50.0, 1 / 4, 1 / 12).prior
    assert prior.correct == pytest.approx(2.0)
    assert prior.wrong == pytest.approx(6.0)


@given(st.floats(0, 1), st.floats(0, 1))
def test_any_moments_give_a_prior_within_bounds(mean: float, square: float) -> None:
    prior = Moments(1.0, mean, square).prior
    assert prior.correct > 0
    assert prior.wrong > 0
    assert 0.19 < prior.correct + prior.wrong < 32.01


def test_at_a_first_visit_the_set_decides() -> None:
    easy = after_many([1.0, 1.0, 1.0, 0.6])
    hard = after_many([0.0, 0.0, 0.0, 0.4])
    either = after_many([0.0, 1.0])
    alike = after_many([0.2])
    # by hand for the last: it is mixed with 1 - .8^4 = .59, give or take the fitted spread
    assert first_visit(easy, 4) < 0.25 < first_visit(easy, 0)
    assert first_visit(hard, 0) < 0.25 < first_visit(hard, 4)
    assert max(first_visit(either, 0), first_visit(either, 4)) < 0.15
    assert first_visit(alike, 0) > 0.4
    # a uniform prior decides none of them: 4/9
    assert first_visit(Moments(), 0) == pytest.approx(4 / 9)


def test_the_moments_follow_a_set_that_has_become_easy() -> None:
    # all that was before the last 150 groups weighs .98^150 = .05 of the whole
    moments = after_many([0.0])
    for _ in range(150):
        moments = moments.after(Tally(4, 4))
    assert moments.mean == pytest.approx(1 - 0.98**150, abs=1e-6)


def test_a_problems_own_visits_are_added_and_each_weighs_half_of_the_next() -> None:
    pilots = Pilots(["a", "b"])
    prior = pilots.belief("a")
    assert pilots.belief("b") == prior
    pilots.observe("a", Tally(1, 1), Tally(8, 8))  # the set learns nothing of a pilot of one
    pilots.observe("a", Tally(1, 1), Tally(2, 8))
    pilots.observe("a", Tally(0, 0), Tally(0, 0))
    # (8 / 2 + 2) / 2 correct, and 6 / 2 wrong
    belief = pilots.belief("a")
    assert belief.correct - prior.correct == pytest.approx(3.0)
    assert belief.wrong - prior.wrong == pytest.approx(3.0)
    assert pilots.belief("b") == prior


def test_pilots_go_on_exactly_where_they_were_saved() -> None:
    rng = random.Random(3)
    first, again = Pilots(["a", "b", "c"]), Pilots(["a", "b"])
    for i in range(60):
        first.observe("abc"[i % 3], Tally(rng.randrange(5), 4), Tally(rng.randrange(9), 8))
    again.remember(json.loads(json.dumps(first.memory())))
    assert [again.belief(i) for i in "ab"] == [first.belief(i) for i in "ab"]
    assert set(again.memory()["problems"]) == {"a", "b"}
    for pilots in (first, again):
        pilots.observe("a", Tally(1, 4), Tally(3, 8))
    assert again.belief("a") == first.belief("a")
