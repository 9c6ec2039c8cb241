"""The figures of every run -> means, intervals and paired comparisons of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from srpo.comparison.plan import Plan
from srpo.comparison.results import SPENDINGS, ArmFigures, RunFigures, Spending
from srpo.comparison.statistics import (
    Estimate,
    MeanCost,
    Ratio,
    estimate,
    mean_cost,
    paired_difference,
    saving,
)
from srpo.formats import in_order


class Where(NamedTuple):
    """Where accuracy is looked at: validation within a budget, or the test."""

    what: Literal["rollouts", "tokens", "test"]
    limit: int  # the budget; of the test that of tokens, at which it is read; 0: at the end


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over its seeds. Differences and savings are against the baseline, seed by seed.

    `accuracy` and `differences` are by (where, domain). `costs` and `savings` are by (target,
    spending). What no run could give is not there.
    """

    name: str
    rate: float | None
    seeds: tuple[int, ...]  # of the finished runs
    planned: int
    accuracy: dict[tuple[Where, str], Estimate]
    differences: dict[tuple[Where, str], Estimate]
    costs: dict[tuple[float, Spending], MeanCost]
    savings: dict[tuple[float, Spending], Ratio]
    signal_share: Estimate | None
    gradient_share: Estimate | None
    totals: dict[Spending, Estimate]


def summarize(arms: Sequence[ArmFigures], baseline: str, plan: Plan) -> list[ArmSummary]:
    """A summary of every arm, in order; `baseline` is the name of one of them."""
    base = next(arm for arm in arms if arm.name == baseline)
    return [_summary(arm, base, plan) for arm in arms]


def wheres_of(plan: Plan) -> list[Where]:
    """Where accuracy is looked at: the budget of rollouts, those of tokens, and the test."""
    budget = plan.budget
    tokens = sorted({*plan.evaluation.budgets_tokens, budget.tokens} - {0})
    found = [Where("rollouts", budget.rollouts)] if budget.rollouts else []
    return [*found, *(Where("tokens", limit) for limit in tokens), Where("test", budget.tokens)]


def limits_of(plan: Plan) -> dict[Spending, int]:
    """The budget in each kind of spending; 0: none."""
    return {"rollouts": plan.budget.rollouts, "tokens": plan.budget.tokens, "seconds": 0}


def domains_of(arms: Sequence[ArmFigures]) -> list[str]:
    """Domains of all runs, math first."""
    found = {d for arm in arms for run in arm.runs.values() for d in run.course.accuracy}
    return in_order(found)


def accuracy_of(run: RunFigures, where: Where) -> dict[str, float]:
    """A run's accuracy by domain: at the last validation within a budget, or on the test."""
    return run.test if where.what == "test" else run.course.accuracy_at(where.what, where.limit)


def _summary(arm: ArmFigures, base: ArmFigures, plan: Plan) -> ArmSummary:
    accuracy: dict[tuple[Where, str], Estimate] = {}
    differences: dict[tuple[Where, str], Estimate] = {}
    for where in wheres_of(plan):
        ours, theirs = _by_domain(arm, where), _by_domain(base, where)
        for domain, values in ours.items():
            if mean := estimate(list(values.values())):
                accuracy[where, domain] = mean
            if arm is not base and (
                difference := paired_difference(values, theirs.get(domain, {}))
            ):
                differences[where, domain] = difference
    costs: dict[tuple[float, Spending], MeanCost] = {}
    savings: dict[tuple[float, Spending], Ratio] = {}
    limits = limits_of(plan)
    for target in plan.evaluation.targets:
        for what in SPENDINGS:
            spent = arm.costs(target, what, limits[what])
            if found := mean_cost(list(spent.values())):
                costs[target, what] = found
            ratio = saving(spent, base.costs(target, what, limits[what]))
            if arm is not base and ratio:
                savings[target, what] = ratio
    runs = list(arm.runs.values())
    return ArmSummary(
        name=arm.name,
        rate=arm.rate,
        seeds=tuple(arm.runs),
        planned=arm.planned,
        accuracy=accuracy,
        differences=differences,
        costs=costs,
        savings=savings,
        signal_share=_mean([run.signal_share for run in runs]),
        gradient_share=_mean([run.gradient_share for run in runs]),
        totals=_totals(runs),
    )


def _by_domain(arm: ArmFigures, where: Where) -> dict[str, dict[int, float]]:
    """Domain -> seed -> accuracy."""
    found: dict[str, dict[int, float]] = {}
    for seed, run in arm.runs.items():
        for domain, value in accuracy_of(run, where).items():
            found.setdefault(domain, {})[seed] = value
    return found


def _mean(values: Sequence[float | None]) -> Estimate | None:
    return estimate([value for value in values if value is not None])


def _totals(runs: Sequence[RunFigures]) -> dict[Spending, Estimate]:
    by_kind: Mapping[Spending, list[float]] = {
        "rollouts": [run.rollouts for run in runs],
        "tokens": [run.tokens for run in runs],
        "seconds": [run.seconds for run in runs],
    }
    return {what: found for what, values in by_kind.items() if (found := estimate(values))}
