"""GRPO's advantages: worked by hand, and their invariances."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.advantages import EPS, grpo_advantages

rewards_lists = st.lists(
    st.one_of(st.none(), st.floats(-3.0, 3.0).map(lambda value: round(value, 3))), max_size=12
)


def test_advantage_is_distance_from_the_mean_in_population_deviations() -> None:
    # rewards 1, 0, 0, 0: mean 1/4, variance (9/16 + 3 * 1/16) / 4 = 3/16, std 0.4330
    # (3/4) / 0.4330 = sqrt(3); (-1/4) / 0.4330 = -1 / sqrt(3)
    root = math.sqrt(3)
    assert grpo_advantages([1.0, 0.0, 0.0, 0.0], eps=0.0) == pytest.approx(
        [root, -1 / root, -1 / root, -1 / root]
    )


def test_half_correct_gives_plus_and_minus_one() -> None:
    # mean 0.5, every distance 0.5, std 0.5
    assert grpo_advantages([1.0, 0.0, 0.0, 1.0], eps=0.0) == [1.0, -1.0, -1.0, 1.0]


def test_eps_is_added_to_the_deviation() -> None:
    # distance 0.5, std 0.5, eps 0.5: 0.5 / (0.5 + 0.5)
    assert grpo_advantages([1.0, 0.0], eps=0.5) == [0.5, -0.5]
    assert grpo_advantages([1.0, 0.0])[0] == pytest.approx(0.5 / (0.5 + EPS), rel=1e-12)


def test_what_cannot_be_graded_gets_zero_and_leaves_the_others_alone() -> None:
    assert grpo_advantages([None, 1.0, None, 0.0], eps=0.0) == [0.0, 1.0, 0.0, -1.0]


@pytest.mark.parametrize(
    "rewards",
    [[], [None], [None, None], [1.0], [None, 0.3, None], [0.0] * 8, [1.0] * 8, [1.1] * 7],
)
def test_no_difference_no_signal(rewards: list[float | None]) -> None:
    assert grpo_advantages(rewards) == [0.0] * len(rewards)


@pytest.mark.parametrize("count", range(2, 40))
def test_equal_rewards_give_exact_zeros_where_a_plain_mean_would_not(count: int) -> None:
    # 0.1 has no exact binary form: sum([0.1] * 6) / 6 is not 0.1, so a float std is not 0
    assert grpo_advantages([0.1] * count, eps=0.0) == [0.0] * count
    assert grpo_advantages([1.1, *[None] * 2, *[1.1] * count]) == [0.0] * (count + 3)


def test_equal_rewards_of_which_the_plain_std_is_not_zero_do_exist() -> None:
    mean = sum([0.1] * 6) / 6
    assert math.sqrt(sum((0.1 - mean) ** 2 for _ in range(6)) / 6) > 0.0


@given(rewards_lists)
def test_advantages_sum_to_zero(rewards: list[float | None]) -> None:
    assert math.fsum(grpo_advantages(rewards)) == pytest.approx(0.0, abs=1e-9)


@given(rewards_lists)
def test_their_mean_square_is_one_up_to_eps(rewards: list[float | None]) -> None:
    known = [reward for reward in rewards if reward is not None]
    squares = math.fsum(value * value for value in grpo_advantages(rewards, eps=0.0))
    assert squares == pytest.approx(len(known) if len(set(known)) > 1 else 0.0, rel=1e-6)


@given(rewards_lists, st.floats(-5.0, 5.0).map(lambda value: round(value, 3)))
def test_a_constant_added_to_all_changes_nothing(rewards: list[float | None], shift: float) -> None:
    moved = [None if reward is None else round(reward + shift, 3) for reward in rewards]
    assert grpo_advantages(moved) == pytest.approx(grpo_advantages(rewards), abs=1e-6)


@given(rewards_lists, st.floats(0.1, 50.0))
def test_a_factor_changes_nothing_up_to_eps(rewards: list[float | None], factor: float) -> None:
    # with std s >= 0.0001 here, (d / s) and (d / (s + eps)) differ by eps / s <= 1 % of the value
    scaled = [None if reward is None else reward * factor for reward in rewards]
    expected = grpo_advantages(rewards)
    assert grpo_advantages(scaled, eps=EPS * factor) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert grpo_advantages(scaled) == pytest.approx(expected, rel=0.1, abs=1e-9)


@given(st.data(), rewards_lists)
def test_the_order_of_rollouts_does_not_matter(
    data: st.DataObject, rewards: list[float | None]
) -> None:
    order = data.draw(st.permutations(range(len(rewards))))
    plain = grpo_advantages(rewards)
    shuffled = grpo_advantages([rewards[i] for i in order])
    assert shuffled == pytest.approx([plain[i] for i in order], abs=1e-12)


@given(rewards_lists)
def test_a_higher_reward_never_gets_a_lower_advantage(rewards: list[float | None]) -> None:
    pairs = zip(rewards, grpo_advantages(rewards), strict=True)
    known = [(reward, advantage) for reward, advantage in pairs if reward is not None]
    assert [a for _, a in sorted(known)] == sorted(a for _, a in known)
