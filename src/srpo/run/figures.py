"""What is measured of a step and of an evaluation: the numbers a person looks at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from srpo.types import Domain, Group, Outcome, Rollout, Split, Verdict

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class DomainFigures:
    """Means over one domain's rollouts of one step; rewards and pass rate over gradable ones."""

    groups: int
    reward: float | None  # None if nothing was gradable
    pass_rate: float | None
    signal_frac: float  # of groups
    length_tokens: float
    thinking_frac: float
    truncated_frac: float


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One training step, as it is shown, logged and plotted.

    Counts of problems are after this step; tokens are generated tokens.
    """

    step: int  # from 1, across the run
    stage: int  # from 1
    epoch: int  # from 1, across the run
    overall: DomainFigures
    domains: dict[Domain, DomainFigures]
    outcomes: dict[str, int]  # groups by outcome
    verdicts: dict[str, int]  # rollouts by verdict
    updated: bool  # False: no group had a signal, so the weights stayed as they were
    grad_norm: float | None
    logprob_gap: float | None  # largest |trainer - sampler| logprob of a trained token
    mean_logprob_gap: float | None
    skipped: int  # updates whose numbers were not finite
    learning_rate: float
    kept: int  # problems in play
    dropped: int  # problems out of play
    revived: int  # problems brought back at the end of this step's epoch
    step_tokens: int
    total_tokens: int
    total_rollouts: int
    seconds: dict[str, float]  # of each phase of the step
    fates: dict[str, int] = field(default_factory=dict)  # tokens, by the names of metrics.jsonl
    budget_share: float | None = None  # of the run's budget that is spent; None: it has none
    importance_capped_frac: float | None = None  # of trained tokens; None: no weights were used

    @property
    def step_s(self) -> float:
        """Wall time of the step."""
        return sum(self.seconds.values())

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens for each second of the whole step."""
        return self.step_tokens / self.step_s if self.step_s else 0.0

    def metrics(self) -> dict[str, float | int | None]:
        """Flat `area/thing_unit` names, as in metrics.jsonl. The first three place the step.

        Nothing here depends on the clock: equal runs have equal lines.
        """
        flat: dict[str, float | int | None] = {
            "step": self.step,
            "stage": self.stage,
            "epoch": self.epoch,
        }
        for name, figures in (("all", self.overall), *sorted(self.domains.items())):
            flat |= {f"{name}/{key}": value for key, value in asdict(figures).items()}
        flat |= {f"group/{name}_count": count for name, count in self.outcomes.items()}
        flat |= {f"verdict/{name}_count": count for name, count in self.verdicts.items()}
        return flat | {
            "update/done": int(self.updated),
            "update/grad_norm": self.grad_norm,
            "update/logprob_gap": self.logprob_gap,
            "update/mean_logprob_gap": self.mean_logprob_gap,
            "update/importance_capped_frac": self.importance_capped_frac,
            "update/skipped_count": self.skipped,
            "update/learning_rate": self.learning_rate,
            "history/kept_problems": self.kept,
            "history/dropped_problems": self.dropped,
            "history/revived_problems": self.revived,
            "tokens/step": self.step_tokens,
            "tokens/total": self.total_tokens,
            "rollouts/total": self.total_rollouts,
            **self.fates,
        }

    def times(self) -> dict[str, float]:
        """The step, and its seconds by phase, as in times.jsonl."""
        return {"step": self.step, **{name: round(s, 6) for name, s in self.seconds.items()}}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of correct completions on held-out problems, with a 95 % interval.

    The interval is Wilson's with the number of problems as its sample size: completions of one
    problem are not independent, so counting each as a sample would make it too narrow.

    >>> a = Accuracy(problems=20, samples=40, correct=36)
    >>> a.mean, tuple(round(x, 2) for x in a.interval)
    (0.9, (0.7, 0.97))
    """

    problems: int
    samples: int  # gradable completions
    correct: int

    @property
    def mean(self) -> float:
        """Correct among gradable completions; NaN if there are none."""
        return self.correct / self.samples if self.samples else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end; (0, 1) if there is nothing to go by."""
        n = self.problems
        if not n or not self.samples:
            return 0.0, 1.0
        center = (self.mean + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = math.sqrt(self.mean * (1 - self.mean) / n + Z_95**2 / (4 * n * n))
        half *= Z_95 / (1 + Z_95**2 / n)
        return max(0.0, center - half), min(1.0, center + half)


@dataclass(frozen=True, slots=True)
class DomainScore:
    """One domain's held-out accuracy: overall and by level (problems without a level: overall)."""

    overall: Accuracy
    levels: dict[int, Accuracy]
    thinking_frac: float
    length_tokens: float
    ungraded: int  # completions that could not be graded; they count nowhere else
    rates: dict[str, float] = field(default_factory=dict)  # problem -> share of correct; gradable


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean change of the problems' accuracies between two evaluations, and its 95 % interval.

    The interval is that of paired differences, mean -+ 1.96 s / sqrt(n): narrower than that of two
    separate accuracies, as hard problems are hard both times. None where the differences do not
    differ, one problem included: their spread says nothing then.

    >>> paired_gain({"a": 0.0, "b": 0.5}, {"a": 1.0, "b": 0.5, "c": 1.0})
    Gain(mean=0.5, half=0.979982, problems=2)
    """

    mean: float
    half: float | None  # half the width of the interval
    problems: int


def paired_gain(before: Mapping[str, float], after: Mapping[str, float]) -> Gain | None:
    """The gain over the problems that both evaluations could grade; None if there are none."""
    changes = [after[problem] - rate for problem, rate in before.items() if problem in after]
    if not changes:
        return None
    n = len(changes)
    mean = math.fsum(changes) / n
    squares = math.fsum((change - mean) ** 2 for change in changes)
    half = Z_95 * math.sqrt(squares / (n - 1) / n) if n > 1 and squares else None
    return Gain(mean, None if half is None else round(half, 9), n)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Held-out accuracy of one policy version."""

    step: int  # 0: before training
    domains: dict[Domain, DomainScore] = field(default_factory=dict)
    tokens: int = 0  # generated for it
    split: Split = "test"
    rollouts_spent: int = 0  # by training so far
    tokens_spent: int = 0  # generated by training so far


def evaluation_row(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as plain JSON; `evaluation_from` reads it back."""
    return asdict(evaluation)


def evaluation_from(row: Mapping[str, Any]) -> Evaluation:
    """An evaluation from what `evaluation_row` gave, JSON's string keys included."""
    domains: dict[Domain, DomainScore] = {}
    for domain, score in row["domains"].items():
        levels = {int(level): Accuracy(**a) for level, a in score["levels"].items()}
        overall = Accuracy(**score["overall"])
        domains[domain] = DomainScore(**{**score, "overall": overall, "levels": levels})
    return Evaluation(**{**row, "domains": domains})


def domain_figures(groups: Sequence[Group]) -> DomainFigures:
    """Figures of some groups; all zero, and None where nothing was gradable, if there are none."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    gradable = sum(group.num_gradable for group in groups)
    correct = sum(group.num_correct for group in groups)
    return DomainFigures(
        groups=len(groups),
        reward=math.fsum(rewards) / len(rewards) if rewards else None,
        pass_rate=correct / gradable if gradable else None,
        signal_frac=sum(g.has_signal for g in groups) / len(groups) if groups else 0.0,
        length_tokens=_mean([len(rollout.tokens) for rollout in rollouts]),
        thinking_frac=_mean([rollout.thinks for rollout in rollouts]),
        truncated_frac=_mean([rollout.verdict is Verdict.TRUNCATED for rollout in rollouts]),
    )


def count_outcomes(groups: Sequence[Group]) -> dict[str, int]:
    """Number of groups of each outcome, every outcome named."""
    found = [group.outcome for group in groups]
    return {outcome.value: found.count(outcome) for outcome in Outcome}


def count_verdicts(groups: Sequence[Group]) -> dict[str, int]:
    """Number of rollouts of each verdict, every verdict named."""
    found = [rollout.verdict for group in groups for rollout in group.rollouts]
    return {verdict.value: found.count(verdict) for verdict in Verdict}


def score_domain(groups: Sequence[Group]) -> DomainScore:
    """Accuracy of one domain's held-out groups."""
    rollouts: list[Rollout] = [rollout for group in groups for rollout in group.rollouts]
    by_level: dict[int, list[Group]] = {}
    for group in groups:
        if group.problem.level is not None:
            by_level.setdefault(group.problem.level, []).append(group)
    return DomainScore(
        overall=_accuracy(groups),
        levels={level: _accuracy(by_level[level]) for level in sorted(by_level)},
        thinking_frac=_mean([rollout.thinks for rollout in rollouts]),
        length_tokens=_mean([len(rollout.tokens) for rollout in rollouts]),
        ungraded=sum(1 for r in rollouts if r.verdict is not None and not r.verdict.gradable),
        rates={g.problem.id: g.num_correct / g.num_gradable for g in groups if g.num_gradable},
    )


def _accuracy(groups: Sequence[Group]) -> Accuracy:
    return Accuracy(
        problems=sum(1 for group in groups if group.num_gradable),
        samples=sum(group.num_gradable for group in groups),
        correct=sum(group.num_correct for group in groups),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
