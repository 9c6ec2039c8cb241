"""Advantages of a group, and the KL term of a token: worked by hand, and their invariances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.advantages import EPS, dr_grpo_advantages, grpo_advantages, kl_penalties

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


# --- Dr. GRPO: no division by the std -------------------------------------------------------------


def test_without_the_division_an_advantage_is_the_distance_from_the_mean() -> None:
    # rewards 1, 0, 0, 0: mean 1/4
    assert dr_grpo_advantages([1.0, 0.0, 0.0, 0.0]) == [0.75, -0.25, -0.25, -0.25]
    # half solved: GRPO says 1, this says 1/2
    assert dr_grpo_advantages([1.0, 0.0, None]) == [0.5, -0.5, 0.0]


def test_nearly_solved_problems_weigh_less_without_the_division_than_with_it() -> None:
    # 7 of 8 right, the wrong one: -7/8 here; std sqrt(7)/8, so -sqrt(7) = -2.65 under GRPO
    rewards = [1.0] * 7 + [0.0]
    assert dr_grpo_advantages(rewards)[-1] == -0.875
    assert grpo_advantages(rewards, eps=0.0)[-1] == pytest.approx(-math.sqrt(7))


@pytest.mark.parametrize(
    "rewards", [[], [None], [1.0], [None, 0.3, None], [0.1] * 6, [1.1, None, *[1.1] * 6]]
)
def test_without_the_division_no_difference_is_no_signal_either(
    rewards: list[float | None],
) -> None:
    assert dr_grpo_advantages(rewards) == [0.0] * len(rewards)


@given(rewards_lists)
def test_both_formulas_have_the_same_signs_and_differ_by_one_factor(
    rewards: list[float | None],
) -> None:
    plain, scaled = dr_grpo_advantages(rewards), grpo_advantages(rewards, eps=0.0)
    known = [reward for reward in rewards if reward is not None]
    std = math.sqrt(math.fsum(a * a for a in plain) / len(known)) if known else 0.0
    assert plain == pytest.approx([std * a for a in scaled], abs=1e-9)
    assert math.fsum(plain) == pytest.approx(0.0, abs=1e-9)


# --- the KL to a reference, token by token --------------------------------------------------------


def test_a_token_that_became_likelier_than_under_the_reference_is_pushed_down() -> None:
    # log pi - log ref: +0.5, 0, -1; times -0.1
    found = kl_penalties([-1.0, -2.0, -3.0], [-1.5, -2.0, -2.0], weight=0.1)
    assert found == pytest.approx([-0.05, 0.0, 0.1])


def test_logprobs_of_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        kl_penalties([-1.0, -2.0], [-1.5], weight=0.1)


POLICY, REFERENCE = (0.5, 0.3, 0.2), (0.2, 0.3, 0.5)


def expected_gradient(term: Sequence[float]) -> list[float]:
    """Mean over pi of term * d log pi / d logit, for softmax logits: pi_j (term_j - mean term)."""
    mean = math.fsum(p * t for p, t in zip(POLICY, term, strict=True))
    return [p * (t - mean) for p, t in zip(POLICY, term, strict=True)]


def kl_gradient(kl: Callable[[Sequence[float]], float]) -> list[float]:
    """Numerical gradient of kl(pi) by the logits of pi."""
    h, found = 1e-6, []
    for i in range(3):
        values = []
        for sign in (1, -1):
            logits = [math.log(p) + (sign * h if i == j else 0.0) for j, p in enumerate(POLICY)]
            total = math.fsum(map(math.exp, logits))
            values.append(kl([math.exp(logit) / total for logit in logits]))
        found.append((values[0] - values[1]) / (2 * h))
    return found


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_the_expected_gradient_is_that_of_the_kl_from_policy_to_reference() -> None:
    # ascent on the advantage = descent on weight * KL(pi || ref)
    term = kl_penalties([*map(math.log, POLICY)], [*map(math.log, REFERENCE)], weight=0.7)
    slope = kl_gradient(lambda p: 0.7 * divergence(p, REFERENCE))
    assert expected_gradient(term) == pytest.approx([-value for value in slope], abs=1e-8)


def test_the_estimator_of_deepseekmath_descends_the_kl_the_other_way_round() -> None:
    # d/dlogit of k3 = ref/pi - log(ref/pi) - 1 is (1 - ref/pi) * d log pi / dlogit
    k3 = [1 - q / p for p, q in zip(POLICY, REFERENCE, strict=True)]
    slope = kl_gradient(lambda p: divergence(REFERENCE, p))
    assert expected_gradient(k3) == pytest.approx(slope, abs=1e-8)
    assert slope != pytest.approx(kl_gradient(lambda p: divergence(p, REFERENCE)), abs=1e-3)
