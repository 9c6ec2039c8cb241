"""PODS: which rollouts of a group are trained on, against brute force over all subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.batching import with_advantages
from srpo.subsets import most_varied, with_subset
from srpo.types import Group
from tests.factories import BROKEN, CUT, RIGHT, WRONG, group, group_of

rewards_lists = st.lists(st.sampled_from([-0.1, 0.0, 0.1, 0.5, 1.0, 1.1]), max_size=9)


def variance(rewards: Sequence[float]) -> Fraction:
    """Exact, and not by the formula under test: mean squared distance from the mean."""
    values = [Fraction(reward) for reward in rewards]
    mean = sum(values) / Fraction(len(values))
    return Fraction(sum((value - mean) ** 2 for value in values), len(values))


@given(rewards_lists, st.integers(1, 9))
def test_no_other_subset_of_that_size_varies_more(rewards: list[float], count: int) -> None:
    chosen = most_varied(rewards, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(rewards))
    if rewards:
        found = variance([rewards[i] for i in chosen])
        assert found == max(variance(some) for some in combinations(rewards, len(chosen)))


@given(st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=8), st.integers(2, 7))
def test_that_holds_for_rewards_of_any_kind(rewards: list[float], count: int) -> None:
    chosen = most_varied(rewards, count)
    found = variance([rewards[i] for i in chosen])
    assert found == max(variance(some) for some in combinations(rewards, len(chosen)))


def test_right_and_wrong_answers_are_taken_half_and_half() -> None:
    # 2 right of 8, 4 to take: 2 and 2 vary most (variance 1/4)
    assert most_varied([0, 0, 1, 0, 0, 0, 0, 1], 4) == [0, 1, 2, 7]
    # 1 right: it is taken with the first three wrong ones (3/16; without it 0)
    assert most_varied([0, 0, 0, 0, 0, 0, 0, 1], 4) == [0, 1, 2, 7]


def test_the_split_need_not_be_even() -> None:
    # 0, .4, 1, 1 by two: {0, 1} has variance 1/4. By three: {0, .4, 1} sum 1.4, squares 1.16:
    # 1.16/3 - (1.4/3)^2 = .169; {0, 1, 1}: 2/3 - 4/9 = .222, which is more
    assert most_varied([0.0, 0.4, 1.0, 1.0], 3) == [0, 2, 3]
    # one outlier: 0 and the lowest three of the rest lose to 5 with the three lowest
    assert most_varied([5.0, 1.1, 1.0, 1.2, 1.3], 4) == [0, 1, 2, 3]


def test_ties_are_settled_the_same_way_each_time() -> None:
    # 3 of four 0s and four 1s: one high or two high vary alike (2/9); one high is taken, and of
    # equal rewards the earlier
    assert most_varied([1, 0, 1, 0, 1, 0, 1, 0], 3) == [0, 1, 3]
    assert most_varied([0.7] * 5, 2) == [0, 1]


def trained(found: Group) -> list[int]:
    return [i for i, r in enumerate(found.rollouts) if r.trained]


def test_those_left_out_get_no_advantage_and_the_others_that_of_the_subset() -> None:
    # rewards 1, 0 x 7; two are trained on: the right one and the first wrong one. Among
    # themselves: mean 1/2, std 1/2, so +1 and -1. (Of the whole group: +2.65 and -0.38.)
    found = with_subset(group([0, 0, 1, 0, 0, 0, 0, 0]), 2)
    assert trained(found) == [0, 2]
    graded = with_advantages(found, mask_truncated=True, count_truncated=True)
    assert [round(r.advantage, 3) for r in graded.rollouts] == [-1, 0, 1, 0, 0, 0, 0, 0]


def test_what_could_not_be_graded_is_never_chosen() -> None:
    assert trained(with_subset(group_of(BROKEN, WRONG, BROKEN, WRONG, RIGHT), 2)) == [1, 4]


def test_of_equal_rewards_the_answer_that_came_to_its_end_is_chosen() -> None:
    # the truncated one would be masked: with it, nothing would be pushed down
    assert trained(with_subset(group_of(CUT, RIGHT, WRONG, RIGHT), 2)) == [1, 2]


def test_answers_that_get_no_advantage_take_no_place_of_one_that_may() -> None:
    # 2 right, 4 wrong, 2 truncated with a reward below all others; 4 to take. Trained like the
    # others, the two truncated ones vary most from the right ones. Masked, they would be all that
    # pulls the mean down, and nothing would be pushed down: 2 right and 2 wrong are taken
    cut = replace(CUT, reward=-0.1)
    made = group_of(cut, RIGHT, WRONG, WRONG, cut, RIGHT, WRONG, WRONG)
    assert trained(with_subset(made, 4)) == [0, 1, 4, 5]
    chosen = with_subset(made, 4, train_truncated=False)
    assert trained(chosen) == [1, 2, 3, 5]
    found = with_advantages(chosen, mask_truncated=True, count_truncated=True)
    assert [round(r.advantage, 4) for r in found.rollouts] == [0, 1, -1, -1, 0, 1, 0, 0]


def test_they_take_the_places_that_are_left_and_still_count_in_the_mean() -> None:
    # 2 right and 3 truncated, 4 to take: both right ones, and the first two truncated ones, which
    # bring the mean to 1/2: the right ones are pushed up
    chosen = with_subset(group_of(CUT, RIGHT, CUT, CUT, RIGHT), 4, train_truncated=False)
    assert trained(chosen) == [0, 1, 2, 4]
    found = with_advantages(chosen, mask_truncated=True, count_truncated=True)
    assert [round(r.advantage, 4) for r in found.rollouts] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("count", [0, 3, 4, 9])
def test_a_group_that_is_small_enough_stays_as_it_is(count: int) -> None:
    small = group_of(RIGHT, BROKEN, WRONG, WRONG)
    assert with_subset(small, count) == small


def test_everything_else_of_the_group_stays_as_it_was() -> None:
    before = group_of(RIGHT, WRONG, WRONG, BROKEN)
    after = with_subset(before, 2)
    assert (
        replace(after, rollouts=tuple(replace(r, trained=True) for r in after.rollouts)) == before
    )
