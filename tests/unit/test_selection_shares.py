"""How the places of a step are cut among the problem sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from srpo.selection.shares import quotas


def shares_over(weights: Mapping[str, float], size: int, steps: int) -> list[dict[str, int]]:
    """The places of each step, fractions carried as `Selection.choose` carries them."""
    owed: dict[str, float] = {}
    cuts = []
    for _ in range(steps):
        cut = quotas(weights, size, owed)
        for name, weight in weights.items():
            exact = size * weight / sum(weights.values())
            owed[name] = owed.get(name, 0.0) + exact - cut[name]
        cuts.append(cut)
    return cuts


def test_places_are_cut_by_weight_the_largest_remainder_rounded_up() -> None:
    # the exact shares are 10.67 and 21.33
    assert quotas({"math": 1, "code": 2}, 32, {}) == {"math": 11, "code": 21}
    # the exact shares are 4.2, 1.4 and 1.4; the two 0.4 tie and the first of them gets the place
    assert quotas({"a": 3, "b": 1, "c": 1}, 7, {}) == {"a": 4, "b": 2, "c": 1}
    assert quotas({"a": 1}, 5, {}) == {"a": 5}


def test_ties_go_to_the_set_that_is_named_first() -> None:
    assert quotas({"x": 1, "y": 1}, 3, {}) == {"x": 2, "y": 1}
    assert quotas({"y": 1, "x": 1}, 3, {}) == {"y": 2, "x": 1}


def test_over_many_steps_every_set_gets_its_exact_share() -> None:
    # 4 places in the ratio 1 to 2: 4/3 and 8/3 a step; over 3 steps exactly 4 and 8
    cuts = shares_over({"math": 1, "code": 2}, 4, 3)
    assert [cut["math"] for cut in cuts] == [1, 2, 1]
    assert [cut["code"] for cut in cuts] == [3, 2, 3]


def test_a_set_with_less_than_one_place_a_step_comes_when_its_turn_has_come() -> None:
    # 1/4 of a place a step: after two steps both are owed half a place, and the tie is the rare
    # set's, which is named first; then again every fourth step
    cuts = shares_over({"rare": 1, "usual": 3}, 1, 12)
    assert [i for i, cut in enumerate(cuts) if cut["rare"]] == [1, 5, 9]


@given(
    st.lists(st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 10.0]), min_size=1, max_size=4),
    st.integers(1, 40),
)
def test_no_set_is_ever_a_place_ahead_or_behind(weights: list[float], size: int) -> None:
    named = {str(i): weight for i, weight in enumerate(weights)}
    got: Counter[str] = Counter()
    for step, cut in enumerate(shares_over(named, size, 30), start=1):
        assert sum(cut.values()) == size
        assert min(cut.values()) >= 0
        got.update(cut)
        for name, weight in named.items():
            assert abs(got[name] - step * size * weight / sum(weights)) < 1.0 + 1e-9


def test_a_step_has_never_more_places_than_it_should() -> None:
    # three sets of weight 0.1 come once in 37 steps; when all three are ahead of their share,
    # the others' whole parts already fill more than the step
    weights = {"a": 0.1, "b": 0.1, "c": 20, "d": 20, "e": 0.1}
    assert [sum(cut.values()) for cut in shares_over(weights, 11, 60)] == [11] * 60
