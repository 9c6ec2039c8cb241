"""The token account: what became of every generated token, and what share became gradient.

Every token of every completion has exactly one fate (`srpo.types.Fate`), so fates add up to the
total, in each step, epoch, stage and domain. Counting needs graded groups with advantages; a
finished run is counted again from its metrics and evaluations alone (`account_of`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from srpo.types import Fate, Group, Outcome, Rollout, Verdict

TRAINING: tuple[Fate, ...] = tuple(fate for fate in Fate if fate is not Fate.EVALUATION)
GENERATED: tuple[Fate, ...] = tuple(fate for fate in TRAINING if fate is not Fate.REUSED)
NO_SIGNAL = {Outcome.ALL_CORRECT: Fate.ALL_CORRECT, Outcome.ALL_WRONG: Fate.ALL_WRONG}


def fate_of(rollout: Rollout, group: Group) -> Fate:
    """What became of a training rollout's generated tokens; the first that holds:

    1. it got no reward: UNGRADABLE;
    2. it has an advantage: GRADIENT;
    3. no rollout of its group has one, and all or none of them were correct: ALL_CORRECT or
       ALL_WRONG, since another fate would have changed nothing;
    4. it was left out of the chosen subset: SUBSET;
    5. it was truncated: TRUNCATED;
    6. else its reward is the group's mean: AT_MEAN.

    A KL term is not counted as gradient: it holds the policy back and teaches nothing. Evaluation
    is nothing that a rollout can tell; whoever draws it counts it (`Account.add`).
    """
    if rollout.reward is None:
        return Fate.UNGRADABLE
    if rollout.advantage != 0.0:
        return Fate.GRADIENT
    if not group.has_signal and group.outcome in NO_SIGNAL:
        return NO_SIGNAL[group.outcome]
    if not rollout.trained:
        return Fate.SUBSET
    return Fate.TRUNCATED if rollout.verdict is Verdict.TRUNCATED else Fate.AT_MEAN


def count_fates(groups: Iterable[Group]) -> dict[Fate, int]:
    """Tokens of some training groups by fate, every fate named but EVALUATION.

    Of a rollout that began with r tokens of a draft, r are REUSED; the others have its fate. The
    sum is the number of all tokens of all completions.
    """
    counts = dict.fromkeys(TRAINING, 0)
    for group in groups:
        for rollout in group.rollouts:
            counts[Fate.REUSED] += rollout.num_reused
            counts[fate_of(rollout, group)] += len(rollout.tokens) - rollout.num_reused
    return counts


def fate_metrics(groups: Sequence[Group]) -> dict[str, int]:
    """A step's tokens by fate, under the names of metrics.jsonl.

    `fate/NAME_tokens` for the whole step and `DOMAIN/fate_NAME_tokens` for each of its domains.
    """
    flat = {f"fate/{fate}_tokens": count for fate, count in count_fates(groups).items()}
    for domain, of_domain in _by_domain(groups).items():
        counts = count_fates(of_domain)
        flat |= {_column(domain, fate): count for fate, count in counts.items()}
    return flat


@dataclass(frozen=True, slots=True)
class Bill:
    """Tokens by fate, of a run or a part of it.

    >>> bill = Bill({Fate.GRADIENT: 30, Fate.ALL_CORRECT: 70, Fate.REUSED: 50})
    >>> bill.generated, bill.share(Fate.GRADIENT)
    (100, 0.3)
    """

    tokens: Mapping[Fate, int]

    @property
    def generated(self) -> int:
        """Tokens generated in training: neither taken over from drafts nor for evaluation."""
        return sum(self.tokens.get(fate, 0) for fate in GENERATED)

    def share(self, fate: Fate) -> float | None:
        """Tokens of a fate for each generated one; None if none was generated."""
        return self.tokens.get(fate, 0) / self.generated if self.generated else None


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A part of a run that is counted on its own.

    >>> Place(stage=1, epoch=3, domain="math").epoch
    3
    """

    stage: int  # from 1
    epoch: int  # from 1, across the run
    domain: str


class Account:
    """Tokens by stage, epoch, domain and fate: adds up, and tells any part or the whole."""

    def __init__(self) -> None:
        self._tokens: dict[Place, Counter[Fate]] = {}

    def add(self, place: Place, tokens: Mapping[Fate, int]) -> None:
        """More tokens at a place. Raises `ValueError` for a negative number."""
        if any(count < 0 for count in tokens.values()):
            raise ValueError(f"fewer than no tokens: {dict(tokens)}")
        self._tokens.setdefault(place, Counter()).update(tokens)

    @property
    def whole(self) -> Bill:
        """The run's."""
        return _sum(self._tokens.values())

    def by(self, part: Literal["stage", "epoch", "domain"]) -> dict[int | str, Bill]:
        """One bill for each stage, epoch or domain that has tokens, in order."""
        keys = sorted({getattr(place, part) for place in self._tokens})
        return {
            key: _sum(c for place, c in self._tokens.items() if getattr(place, part) == key)
            for key in keys
        }


def account_of(
    metrics: Iterable[Mapping[str, Any]],
    evaluations: Iterable[Mapping[str, Any]] = (),
    probe: Mapping[str, int] | None = None,
) -> Account:
    """The account of a run from its rows of metrics.jsonl and evaluations.jsonl.

    `probe`: tokens by domain that were drawn before the run; they count as evaluation of its
    beginning. An evaluation belongs to the stage and epoch of the step before it, or to the first
    ones. Rows of metrics without fates count as nothing.
    """
    account = Account()
    when: dict[int, tuple[int, int]] = {}  # step -> stage, epoch
    for row in metrics:
        when[row["step"]] = (row["stage"], row["epoch"])
        end = _column("", Fate.GRADIENT)
        for domain in [name.removesuffix(end) for name in row if name.endswith(end)]:
            counts = {fate: int(row[_column(domain, fate)]) for fate in TRAINING}
            account.add(Place(*when[row["step"]], domain), counts)
    first = next(iter(when.values()), (1, 1))
    for row in evaluations:
        place = when.get(row["step"], first)
        for domain, score in row["domains"].items():
            samples = score["overall"]["samples"] + score["ungraded"]
            tokens = round(score["length_tokens"] * samples)
            account.add(Place(*place, domain), {Fate.EVALUATION: tokens})
    for domain, tokens in (probe or {}).items():
        account.add(Place(*first, domain), {Fate.EVALUATION: tokens})
    return account


@dataclass(frozen=True, slots=True)
class Drawn:
    """A group that was drawn, as the ledger has it."""

    epoch: int
    problem_id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided for a problem, as the ledger has it."""

    epoch: int
    set_name: str
    problem_id: str
    drops: bool  # out of play from now on
    revives: bool  # back in play from now on
    ends_epoch: bool = True  # False: as a stage began


def saved_by_resampling(drawn: Iterable[Drawn], decided: Iterable[Decided]) -> dict[int, int]:
    """Tokens not spent since dropped problems were not drawn: epoch -> an ESTIMATE.

    For every dropped problem, in each whole epoch that it rests, the tokens of the last group it
    had. Both inputs are in order. What it assumes:

    * an epoch would have drawn the problem once, though smaller sets come more often: too low;
    * its group would be as long as the last one, though lengths change in training: either way;
    * its next groups would be all correct again. Where one would have been mixed, its tokens
      would not have been wasted, so this is no measure of what resampling gains. In a run with a
      fixed number of steps the tokens are not even saved: they are spent on other problems.

    An epoch that had no end (the last of a stage, mostly), a set that the stage does not use, and
    a problem that was never drawn in this run count as nothing.
    """
    draws = iter(drawn)
    pending = next(draws, None)
    last: dict[str, int] = {}  # problem -> tokens of its last group
    asleep: dict[str, str] = {}  # problem at rest -> its set
    resting: Counter[str] = Counter()  # set -> tokens of its problems at rest
    saved: dict[int, int] = {}

    def wake(problem_id: str) -> None:
        if problem_id in asleep:
            resting[asleep.pop(problem_id)] -= last.get(problem_id, 0)

    for epoch, decisions in groupby(decided, key=lambda decision: decision.epoch):
        while pending is not None and pending.epoch <= epoch:
            wake(pending.problem_id)  # a stage may begin with some of those that were dropped
            last[pending.problem_id] = pending.tokens
            pending = next(draws, None)
        saved[epoch] = 0
        counted: set[str] = set()
        for decision in decisions:
            if decision.ends_epoch and decision.set_name not in counted:
                counted.add(decision.set_name)
                saved[epoch] += resting[decision.set_name]
            if decision.drops and decision.problem_id not in asleep:
                asleep[decision.problem_id] = decision.set_name
                resting[decision.set_name] += last.get(decision.problem_id, 0)
            elif decision.revives:
                wake(decision.problem_id)
    return saved


def _by_domain(groups: Iterable[Group]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.problem.domain, []).append(group)
    return found


def _column(domain: str, fate: Fate) -> str:
    return f"{domain}/fate_{fate}_tokens"


def _sum(counts: Iterable[Mapping[Fate, int]]) -> Bill:
    total: Counter[Fate] = Counter()
    for count in counts:
        total.update(count)
    return Bill({fate: total[fate] for fate in Fate})
