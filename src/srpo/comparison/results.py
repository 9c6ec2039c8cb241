"""Run directories -> what each run reached, and what it had spent by then.

Everything here is read from finished run directories; nothing is remembered between calls.
Accuracy along the way is that of the validation problems; the test problems count once, at a
result run's end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from srpo.comparison.jobs import Job, State, kept_rate, rate_jobs, result_jobs, state_of
from srpo.comparison.plan import Arm, Comparison
from srpo.comparison.statistics import Cost, cost, mean_height
from srpo.errors import RunDirectoryError
from srpo.resuming.checkpoints import newest_state
from srpo.resuming.lost import lost_figures
from srpo.run.figures import Evaluation, evaluation_from
from srpo.run.finish import signal_share
from srpo.rundir import RunDirectory

Spending = Literal["rollouts", "tokens", "seconds"]
SPENDINGS: tuple[Spending, ...] = ("rollouts", "tokens", "seconds")

RULE = (
    "highest mean, over generated tokens, of the lower of the domains' validation accuracies "
    "(area under the curve, straight lines between validations, up to the tokens that every "
    "rate's runs have spent), averaged over the seeds; at a tie the smaller rate; a rate with a "
    "failed run is not chosen; once a result run is begun, its rate stays"
)


@dataclass(frozen=True, slots=True)
class Course:
    """Validation along a run, one entry a validation, in order."""

    rollouts: tuple[float, ...]  # spent by training until then
    tokens: tuple[float, ...]
    seconds: tuple[float, ...]  # wall time of training steps; validation is not counted
    accuracy: dict[str, tuple[float, ...]]  # by domain

    def spent(self, what: Spending) -> tuple[float, ...]:
        """The entries of one kind of spending."""
        return {"rollouts": self.rollouts, "tokens": self.tokens, "seconds": self.seconds}[what]

    @property
    def lowest(self) -> list[float]:
        """The accuracy of the domain that is worst, at each validation."""
        return [min(values) for values in zip(*self.accuracy.values(), strict=True)]

    def accuracy_at(self, what: Spending, limit: float) -> dict[str, float]:
        """Accuracy by domain at the last validation within `limit`.

        Empty if there is none, and if the run ended before it had spent so much.
        """
        spent = self.spent(what)
        within = sum(x <= limit for x in spent)
        if not within or spent[-1] < limit:
            return {}
        return {d: values[within - 1] for d, values in self.accuracy.items()}

    def cost_of(self, target: float, what: Spending, budget: float) -> Cost:
        """What it took to reach `target` in every domain at once.

        Not within `budget` (0: none), or not by the last validation, is not reached; then the
        cost is what is known to have been too little.
        """
        spent = self.spent(what)
        limit = min(budget or math.inf, spent[-1]) if spent else 0.0
        return cost(spent, self.lowest, target, limit)


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One result run."""

    seed: int
    course: Course
    test: dict[str, float]  # accuracy by domain, at the end
    signal_share: float | None  # of all groups
    gradient_share: float | None  # of generated tokens; None if the run did not count it
    rollouts: float
    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """All finished runs of an arm."""

    name: str
    rate: float | None
    planned: int  # number of seeds
    runs: dict[int, RunFigures]  # by seed

    def costs(self, target: float, what: Spending, budget: float) -> dict[int, Cost]:
        """What each seed spent to reach a target."""
        return {s: run.course.cost_of(target, what, budget) for s, run in self.runs.items()}


@dataclass(frozen=True, slots=True)
class RateChoice:
    """How an arm got its learning rate."""

    arm: str
    chosen: float
    scores: dict[float, dict[int, float]] = field(default_factory=dict)  # rate -> seed -> score
    end_tokens: float = 0.0  # scores are means up to here
    better: float | None = None  # a rate found to do better when results were already there

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or largest that was tried: others may do better.

        The best one is `better`, where results had been begun with another.
        """
        best = self.chosen if self.better is None else self.better
        return len(self.scores) > 1 and best in (min(self.scores), max(self.scores))


def read_course(run: RunDirectory) -> Course:
    """The validations of a run. Raises `RunDirectoryError` if there are none."""
    return _course(run, _evaluations(run), _seconds(run))


def _evaluations(run: RunDirectory) -> list[Evaluation]:
    return [evaluation_from(row) for row in run.read_evaluations()]


def _seconds(run: RunDirectory) -> dict[int, float]:
    """By step, all of its phases together."""
    return {step: math.fsum(phases.values()) for step, phases in run.read_seconds().items()}


def _course(run: RunDirectory, rows: list[Evaluation], taken: dict[int, float]) -> Course:
    found = {e.step: e for e in rows if e.split == "validation"}
    if not found:
        raise RunDirectoryError(f"{run.root}: no validation was made; evaluations.jsonl has none")
    ordered = [found[step] for step in sorted(found)]
    domains = [d for d in ordered[0].domains if all(d in e.domains for e in ordered)]
    return Course(
        rollouts=tuple(float(e.rollouts_spent) for e in ordered),
        tokens=tuple(float(e.tokens_spent) for e in ordered),
        seconds=tuple(math.fsum(s for n, s in taken.items() if n <= e.step) for e in ordered),
        accuracy={d: tuple(e.domains[d].overall.mean for e in ordered) for d in domains},
    )


def read_run(job: Job) -> RunFigures:
    """The figures of a finished result run."""
    run = RunDirectory(job.folder)
    _check_whole(run)
    evaluations, taken = _evaluations(run), _seconds(run)
    tests = [e for e in evaluations if e.split == "test"]
    metrics = run.read_metrics()
    last = metrics[-1] if metrics else {}
    return RunFigures(
        seed=job.seed,
        course=_course(run, evaluations, taken),
        test={d: score.overall.mean for d, score in tests[-1].domains.items()} if tests else {},
        signal_share=signal_share(metrics),
        gradient_share=_gradient_share(metrics),
        rollouts=float(last.get("rollouts/total") or 0),
        tokens=float(last.get("tokens/total") or 0),
        seconds=math.fsum(taken.values()),
    )


def read_arm(comparison: Comparison, arm: Arm, rate: float | None) -> ArmFigures:
    """The figures of every result run of an arm that is finished."""
    jobs = result_jobs(comparison, arm, rate)
    runs = {job.seed: read_run(job) for job in jobs if state_of(job) is State.FINISHED}
    return ArmFigures(arm.name, rate, len(jobs), runs)


def choose_rate(comparison: Comparison, arm: Arm) -> RateChoice | None:
    """The learning rate of an arm by `RULE`; None if no rate has all of its runs finished.

    Only validations are read. Raises `RunDirectoryError` if a run has none beyond its start.
    """
    courses: dict[float, dict[int, Course]] = {}
    for job in rate_jobs(comparison, arm):
        if job.rate is not None and state_of(job) is State.FINISHED:
            run = RunDirectory(job.folder)
            _check_whole(run)
            courses.setdefault(job.rate, {})[job.seed] = read_course(run)
    rates = comparison.plan.learning_rate
    wanted = len(rates.seeds) if rates else 0
    whole = {rate: by_seed for rate, by_seed in courses.items() if len(by_seed) == wanted}
    kept = kept_rate(comparison, arm)
    if not whole:
        return None if kept is None else RateChoice(arm.name, kept)
    best = best_rate(arm.name, whole)
    if kept is None or kept == best.chosen:
        return best
    return replace(best, chosen=kept, better=best.chosen)


def best_rate(arm: str, courses: dict[float, dict[int, Course]]) -> RateChoice:
    """The choice among rates, each with the courses of its seeds. See `RULE`.

    Raises `RunDirectoryError` if a course has no validation after training began: nothing could
    then be compared.
    """
    for rate, by_seed in courses.items():
        for seed, course in by_seed.items():
            if course.tokens[-1] <= course.tokens[0]:
                raise RunDirectoryError(
                    f"{arm}: learning rate {rate:g}, seed {seed}: there is no validation after "
                    "training began, so no rate can be chosen; validate more often in the plan's "
                    "[evaluation], in another --out"
                )
    end = min(course.tokens[-1] for by_seed in courses.values() for course in by_seed.values())
    scores = {
        rate: {seed: mean_height(c.tokens, c.lowest, end) for seed, c in courses[rate].items()}
        for rate in sorted(courses)
    }
    means = {rate: math.fsum(found.values()) / len(found) for rate, found in scores.items()}
    chosen = max(means, key=lambda rate: (means[rate], -rate))
    return RateChoice(arm, chosen, scores, end)


def _check_whole(run: RunDirectory) -> None:
    """Raise `RunDirectoryError` if a file that figures are read from has lost lines."""
    state = newest_state(run)
    lost = lost_figures(run, state) if state else []
    if lost:
        raise RunDirectoryError(
            f"{lost[0].path}: {lost[0].said}, so the run has no figures; put back a copy, or move "
            f"{run.root} away and the comparison trains it again"
        )


def _gradient_share(metrics: Sequence[dict[str, float | int | None]]) -> float | None:
    """Tokens that became gradient over all that were generated."""
    total = sum(row.get("tokens/step") or 0 for row in metrics)
    found = [row["fate/gradient_tokens"] or 0 for row in metrics if "fate/gradient_tokens" in row]
    return sum(found) / total if found and total else None
