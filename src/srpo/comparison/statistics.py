"""Means with intervals over seeds, the cost of reaching a level, and paired comparisons.

Everything here is plain arithmetic on numbers that were measured elsewhere. A run that never
reached a level is kept as what it is, a lower bound, and never left out of a mean in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` seeds and its 95 % interval, which is None for one seed.

    >>> Estimate(2.0, None, 1).interval is None
    True
    """

    mean: float
    half: float | None  # half the width of the interval
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper end."""
        return None if self.half is None else (self.mean - self.half, self.mean + self.half)


class Bound(StrEnum):
    """What a number says when some runs never reached the level."""

    EXACT = ""
    AT_LEAST = ">"
    AT_MOST = "<"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run spent until it reached a level; if it never did, all that it had to spend."""

    spent: float
    reached: bool


@dataclass(frozen=True, slots=True)
class MeanCost:
    """Mean cost over seeds. With `reached` < `n` it is a lower bound, without an interval."""

    mean: float
    half: float | None
    reached: int
    n: int

    @property
    def bound(self) -> Bound:
        """Whether the mean is the mean, or only known to be at least so much."""
        return Bound.EXACT if self.reached == self.n else Bound.AT_LEAST


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of paired ratios over `n` seeds, with a 95 % interval if it is exact.

    A bound says that the true ratio is at least, or at most, this; the interval is then None.
    """

    value: float
    low: float | None
    high: float | None
    bound: Bound
    n: int


def student_t_95(dof: int) -> float:
    """The two-sided 95 % quantile of Student's t with `dof` degrees of freedom, dof >= 1.

    Found by bisection on the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.

    >>> [round(student_t_95(n), 3) for n in (1, 2, 4, 30)]
    [12.706, 4.303, 2.776, 2.042]
    """
    if dof < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {dof}")
    low, high = 0.0, 16.0  # the largest, at dof 1, is 12.71
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, dof) < CONFIDENCE else (low, middle)
    return (low + high) / 2


def _inside(t: float, dof: int) -> float:
    """Probability that |T| < t."""
    theta = math.atan(t / math.sqrt(dof))
    square = math.cos(theta) ** 2
    odd = dof % 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0 if dof == 1 else term
    for k in range(3 if odd else 2, dof - 1, 2):
        term *= square * (k - 1) / k
        total += term
    return (theta + math.sin(theta) * total) * 2 / math.pi if odd else math.sin(theta) * total


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and 95 % interval (Student's t) of values of different seeds; None without values.

    >>> estimate([0.5]), estimate([])
    (Estimate(mean=0.5, half=None, n=1), None)
    """
    if not values:
        return None
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return Estimate(mean, student_t_95(n - 1) * math.sqrt(variance / n), n)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> Estimate | None:
    """Mean of value minus baseline over the seeds that both have; None if there are none.

    >>> paired_difference({1: 0.9, 2: 0.8}, {2: 0.7, 3: 0.1}).n
    1
    """
    return estimate([values[seed] - baseline[seed] for seed in values if seed in baseline])


def crossing(spent: Sequence[float], levels: Sequence[float], target: float) -> float | None:
    """What had been spent when the level first reached `target`, linear between measurements.

    `spent` rises from measurement to measurement. None if the level never reached the target. A
    first measurement that is there already costs what it costs.

    >>> crossing([0, 100, 200], [0.2, 0.6, 1.0], 0.8)
    150.0
    """
    before: tuple[float, float] | None = None
    for x, level in zip(spent, levels, strict=True):
        if level >= target:
            if before is None:
                return float(x)
            share = (target - before[1]) / (level - before[1])
            return before[0] + share * (x - before[0])
        before = (x, level)
    return None


def cost(spent: Sequence[float], levels: Sequence[float], target: float, limit: float) -> Cost:
    """What it took to reach `target`; past `limit` it counts as not reached.

    >>> cost([0, 100], [0.0, 1.0], 0.5, limit=40)
    Cost(spent=40, reached=False)
    """
    found = crossing(spent, levels, target)
    return Cost(limit, False) if found is None or found > limit else Cost(found, True)


def mean_cost(costs: Sequence[Cost]) -> MeanCost | None:
    """Mean over seeds, those that never reached the level counted with all they had.

    >>> mean_cost([Cost(100, True), Cost(400, False)])
    MeanCost(mean=250.0, half=None, reached=1, n=2)
    """
    found = estimate([one.spent for one in costs])
    if found is None:
        return None
    reached = sum(one.reached for one in costs)
    half = found.half if reached == len(costs) else None
    return MeanCost(found.mean, half, reached, len(costs))


def saving(costs: Mapping[int, Cost], baseline: Mapping[int, Cost]) -> Ratio | None:
    """How many times less than the baseline was spent: geometric mean of ratios paired by seed.

    Where only the baseline failed to reach the level the ratio is at least what is known, where
    only the arm failed it is at most that. A seed in which both failed says nothing; with one of
    them, with bounds of both kinds, or with a cost of zero, there is no number: None.

    >>> saving({1: Cost(100, True)}, {1: Cost(400, False)}).bound
    <Bound.AT_LEAST: '>'>
    """
    pairs = [(costs[seed], baseline[seed]) for seed in costs if seed in baseline]
    if not pairs or any(not arm.reached and not base.reached for arm, base in pairs):
        return None
    if any(one.spent <= 0 for pair in pairs for one in pair):
        return None
    at_least = any(not base.reached for _, base in pairs)
    at_most = any(not arm.reached for arm, _ in pairs)
    if at_least and at_most:
        return None
    found = estimate([math.log(base.spent / arm.spent) for arm, base in pairs])
    if found is None:
        return None
    bound = Bound.AT_LEAST if at_least else Bound.AT_MOST if at_most else Bound.EXACT
    ends = found.interval if bound is Bound.EXACT else None
    low, high = (math.exp(ends[0]), math.exp(ends[1])) if ends else (None, None)
    return Ratio(math.exp(found.mean), low, high, bound, found.n)


def mean_height(spent: Sequence[float], levels: Sequence[float], end: float) -> float:
    """Mean level from the first measurement to `end`: the area under the course over its width.

    Straight lines between measurements; after the last one the level stays as it is. NaN
    without measurements, or if `end` is not beyond the first one.

    >>> mean_height([0, 100], [0.0, 1.0], end=100), mean_height([0, 100], [0.0, 1.0], end=200)
    (0.5, 0.75)
    """
    if not spent or end <= spent[0]:
        return math.nan
    points = [*zip(spent, levels, strict=True), (max(end, spent[-1]), levels[-1])]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        right = min(x1, end)
        if right > x0:
            y_right = y0 + (y1 - y0) * (right - x0) / (x1 - x0)
            area += (y0 + y_right) / 2 * (right - x0)
    return area / (end - spent[0])
