"""Importance weights between sampler and trainer, worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.importance import corrected, importance_weights, untrained
from srpo.types import Datum

LN2 = math.log(2.0)


def test_the_weight_is_the_ratio_of_probabilities_cut_off_at_the_cap() -> None:
    # trainer over sampler: 1/2 over 1/4 = 2, cut to 1.5; 1/4 over 1/2 = 1/2; equal = 1
    trainer, sampler = [-LN2, -2 * LN2, -LN2], [-2 * LN2, -LN2, -LN2]
    assert importance_weights(trainer, sampler, 1.5) == pytest.approx([1.5, 0.5, 1.0])


def test_no_logprob_overflows_and_one_that_is_not_finite_is_seen_by_the_engine() -> None:
    assert importance_weights([0.0], [-1e6], 3.0) == [3.0]
    assert importance_weights([-1e6], [0.0], 3.0) == [0.0]
    weights = importance_weights([math.nan, -math.inf, 0.0], [0.0, 0.0, -math.inf], 3.0)
    assert all(math.isnan(weight) for weight in weights)


def test_advantages_are_weighted_and_the_ratio_begins_at_the_trainers_policy() -> None:
    datum = Datum((1, 5, 2), (0.0, 1.0, 1.0), (0.0, -2 * LN2, -LN2), (0.0, 0.5, -4.0))
    (row,), capped = corrected([datum], [[0.0, -LN2, -2 * LN2]], 1.25)
    assert row.sampler_logprobs == (0.0, -LN2, -2 * LN2)
    # 2 is cut to 1.25: 0.625. One half stays: -2. One of two trained tokens is at the cap.
    assert row.advantages == pytest.approx((0.0, 0.625, -2.0))
    assert capped == 0.5
    assert (row.tokens, row.mask) == (datum.tokens, datum.mask)


def test_nothing_to_train_on_has_no_share_at_the_cap() -> None:
    assert corrected([], [], 2.0) == ([], 0.0)
    prompt = Datum((1, 5), (0.0, 0.0), (0.0, 0.0), (0.0, 9.0))
    (row,), capped = corrected([prompt], [[0.0, 0.0]], 1.0)
    assert (row.advantages, capped) == ((0.0, 0.0), 0.0)


def test_data_that_only_ask_for_logprobs_have_no_advantage_left() -> None:
    datum = Datum((1, 5), (0.0, 1.0), (0.0, -1.0), (0.0, 3.0), temperature=0.7)
    assert untrained([datum]) == [Datum((1, 5), (0.0, 1.0), (0.0, -1.0), (0.0, 0.0), 0.7)]


@given(st.lists(st.tuples(st.floats(-50, 0), st.floats(-50, 0)), max_size=8), st.floats(1, 5))
def test_where_both_agree_nothing_changes_and_no_weight_leaves_its_range(
    pairs: list[tuple[float, float]], cap: float
) -> None:
    trainer = [new for new, _ in pairs]
    assert importance_weights(trainer, trainer, cap) == [1.0] * len(pairs)
    weights = importance_weights(trainer, [old for _, old in pairs], cap)
    assert all(0 <= weight <= cap for weight in weights)


@given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=5), st.data())
def test_without_a_cap_the_weighted_mean_over_the_sampler_is_the_trainers_mean(
    scores: list[float], data: st.DataObject
) -> None:
    # sum over tokens of q(t) * p(t)/q(t) * A(t) = sum of p(t) * A(t), for any two policies p, q
    other = data.draw(st.lists(st.floats(0.05, 1.0), min_size=len(scores), max_size=len(scores)))
    values = data.draw(st.lists(st.floats(-3, 3), min_size=len(scores), max_size=len(scores)))
    p = [score / math.fsum(scores) for score in scores]
    q = [score / math.fsum(other) for score in other]
    weights = importance_weights([math.log(x) for x in p], [math.log(x) for x in q], 1e9)
    weighted = math.fsum(a * w * v for a, w, v in zip(q, weights, values, strict=True))
    expected = math.fsum(a * v for a, v in zip(p, values, strict=True))
    assert weighted == pytest.approx(expected, abs=1e-9)
