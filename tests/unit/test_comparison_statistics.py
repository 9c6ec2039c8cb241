"""Means, intervals, costs and ratios, worked out by hand or taken from printed tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.comparison.statistics import (
    Bound,
    Cost,
    cost,
    crossing,
    estimate,
    mean_cost,
    mean_height,
    paired_difference,
    saving,
    student_t_95,
)

numbers = st.floats(-1e3, 1e3)


@pytest.mark.parametrize(
    ("dof", "quantile"),
    # from the printed tables of the two-sided 95 % quantile
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (10, 2.228), (120, 1.980)],
)
def test_students_t_is_that_of_the_tables(dof: int, quantile: float) -> None:
    assert student_t_95(dof) == pytest.approx(quantile, abs=5e-4)


def test_students_t_falls_towards_the_normal_quantile() -> None:
    found = [student_t_95(dof) for dof in range(1, 60)]
    assert found == sorted(found, reverse=True)
    assert student_t_95(5000) == pytest.approx(1.960, abs=1e-3)


def test_a_mean_of_five_seeds_with_its_interval() -> None:
    # mean 3, variance (4+1+0+1+4)/4 = 2.5, standard error sqrt(2.5/5) = 0.7071; t(4) = 2.776
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found is not None and found.mean == 3.0 and found.n == 5
    assert found.half == pytest.approx(2.776 * math.sqrt(0.5), abs=1e-3)
    assert found.interval == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)


def test_one_seed_has_no_interval_and_none_no_mean() -> None:
    one = estimate([0.4])
    assert one is not None and one.interval is None
    assert estimate([]) is None


@given(st.lists(numbers, min_size=2, max_size=8), numbers)
def test_an_interval_moves_with_its_values(values: list[float], by: float) -> None:
    here, there = estimate(values), estimate([value + by for value in values])
    assert here is not None and there is not None
    assert there.mean == pytest.approx(here.mean + by, abs=1e-6)
    assert there.half == pytest.approx(here.half, abs=1e-6)


def test_differences_are_taken_within_a_seed() -> None:
    # seeds vary much more than the arms differ: 0.1 - 0.0 and 0.9 - 0.8; seed 3 has no partner
    found = paired_difference({1: 0.1, 2: 0.9, 3: 0.5}, {1: 0.0, 2: 0.8, 4: 0.7})
    assert found is not None and found.n == 2
    assert found.mean == pytest.approx(0.1) and found.half == pytest.approx(0.0, abs=1e-12)


def test_a_target_is_crossed_on_the_line_between_two_validations() -> None:
    # from 0.5 at 100 to 0.9 at 200: 0.8 is three quarters of the way
    assert crossing([0, 100, 200], [0.2, 0.5, 0.9], 0.8) == pytest.approx(175.0)


def test_the_first_crossing_counts_even_if_the_level_falls_again() -> None:
    assert crossing([0, 10, 20, 30], [0.0, 1.0, 0.0, 1.0], 0.5) == 5.0


def test_a_target_that_holds_from_the_start_costs_nothing() -> None:
    assert crossing([0, 10], [0.9, 0.2], 0.8) == 0.0
    assert crossing([0, 10], [0.1, 0.2], 0.8) is None


def test_past_the_limit_a_target_is_not_reached() -> None:
    # crossed at 175, as above
    assert cost([0, 100, 200], [0.2, 0.5, 0.9], 0.8, limit=170) == Cost(170, False)
    assert cost([0, 100, 200], [0.2, 0.5, 0.9], 0.8, limit=175) == Cost(175, True)


def test_a_mean_with_a_run_that_never_arrived_is_a_lower_bound() -> None:
    found = mean_cost([Cost(100, True), Cost(200, True), Cost(600, False)])
    assert found is not None
    assert (found.mean, found.half, found.reached, found.n) == (300, None, 2, 3)
    assert found.bound is Bound.AT_LEAST


def test_a_saving_is_the_geometric_mean_of_paired_ratios() -> None:
    # 400/100 = 4 and 900/100 = 9: the geometric mean is 6; by sums it would be 6.5
    found = saving(
        {1: Cost(100, True), 2: Cost(100, True)}, {1: Cost(400, True), 2: Cost(900, True)}
    )
    assert found is not None and found.value == pytest.approx(6.0)
    # logs ln 4 and ln 9: half their distance is ln 1.5, the standard error, times t(1) = 12.706
    assert found.high == pytest.approx(6 * 1.5**12.7062, rel=1e-3)
    assert found.low == pytest.approx(6 / 1.5**12.7062, rel=1e-3)


def test_a_baseline_that_never_arrived_makes_a_lower_bound() -> None:
    found = saving(
        {1: Cost(100, True), 2: Cost(100, True)}, {1: Cost(400, True), 2: Cost(400, False)}
    )
    assert found is not None and found.bound is Bound.AT_LEAST
    assert found.value == pytest.approx(4.0) and found.low is None and found.high is None


def test_an_arm_that_never_arrived_makes_an_upper_bound() -> None:
    found = saving({1: Cost(400, False)}, {1: Cost(100, True)})
    assert found is not None and found.bound is Bound.AT_MOST and found.value == 0.25


def test_no_number_where_nothing_is_known() -> None:
    both = {1: Cost(400, False)}
    assert saving(both, both) is None
    arm = {1: Cost(100, True), 2: Cost(400, False)}
    assert saving(arm, {1: Cost(400, False), 2: Cost(100, True)}) is None  # bounds of both kinds
    assert saving({1: Cost(0, True)}, {1: Cost(100, True)}) is None
    assert saving({1: Cost(100, True)}, {2: Cost(100, True)}) is None


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(1, 1e6)), min_size=1, max_size=6))
def test_the_saving_of_the_baseline_over_the_arm_is_the_inverse(
    pairs: list[tuple[float, float]],
) -> None:
    arm = {i: Cost(a, True) for i, (a, _) in enumerate(pairs)}
    base = {i: Cost(b, True) for i, (_, b) in enumerate(pairs)}
    there, back = saving(arm, base), saving(base, arm)
    assert there is not None and back is not None
    assert there.value * back.value == pytest.approx(1.0)


def test_the_mean_height_is_the_area_over_the_width() -> None:
    # a triangle of 100 x 1 / 2 = 50, then flat at 1 for 100: 150 / 200
    assert mean_height([0, 100, 200], [0.0, 1.0, 1.0], end=200) == pytest.approx(0.75)
    # cut at 50: the triangle up to there, 50 x 0.5 / 2 = 12.5, over 50
    assert mean_height([0, 100, 200], [0.0, 1.0, 1.0], end=50) == pytest.approx(0.25)


def test_after_the_last_measurement_the_level_stays() -> None:
    assert mean_height([0, 100], [0.5, 0.5], end=400) == pytest.approx(0.5)


def test_nothing_has_no_height() -> None:
    assert math.isnan(mean_height([], [], end=10))
    assert math.isnan(mean_height([5], [1.0], end=5))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(1, 50))
def test_a_mean_height_lies_between_the_levels(levels: list[float], end: float) -> None:
    spent = [10.0 * i for i in range(len(levels))]
    found = mean_height(spent, levels, end)
    assert min(levels) - 1e-9 <= found <= max(levels) + 1e-9
