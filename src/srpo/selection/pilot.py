"""Adaptive groups: a pilot first, then the rest only where the group may become mixed.

Ours; the idea of spending rollouts where they may pay is that of Knapsack RL (arXiv 2509.25849),
AR3PO (2509.25808) and Pilot-Commit (2605.26606).

A problem that was never seen is taken to be like its set: a Beta distribution with the mean and
the spread of the pass rates in the set's last groups. So a pilot that is all correct in an easy
set, or all wrong in a hard one, is decided at the first visit.

When does the rest pay? It costs `rest` rollouts and gives a mixed group with some chance; the same
rollouts spent on other problems give mixed groups at the set's usual rate. With groups of 8 that
rate is .05 to .07 a rollout in sets that are easy, hard or both, so a rest of 4 pays from a chance
of .2 to .28 on; the default `pilot_chance` is .25. In a simulation (docs/selection.md) it gives
most mixed groups a rollout in mixed sets, and costs little where every problem is alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from srpo.selection.rule import Tally

DECAY = 0.5  # weight of what was seen before at each new visit: the policy has moved on
GROUP_DECAY = 0.98  # of a set's moments at each new group: the last 50 groups count
BEGINNING = 4.0  # so many groups' weight has the uniform prior that a set begins with
LEAST_STRENGTH, MOST_STRENGTH = 0.2, 32.0  # pseudo-rollouts of a set's prior
EDGE = 0.02  # a set's mean pass rate is taken to be at least so far from 0 and 1


@dataclass(frozen=True, slots=True)
class Belief:
    """A Beta posterior of one problem's pass rate: pseudo-counts of correct and wrong rollouts.

    >>> Belief().after(Tally(correct=3, gradable=4))
    Belief(correct=4.0, wrong=2.0)
    """

    correct: float = 1.0  # > 0; 1 and 1 is the uniform prior
    wrong: float = 1.0

    def after(self, tally: Tally) -> Belief:
        """With more rollouts under the same policy."""
        return Belief(self.correct + tally.correct, self.wrong + tally.gradable - tally.correct)

    def faded(self, decay: float = DECAY) -> Belief:
        """Some updates later: what was seen counts less, down to the prior.

        >>> Belief(5.0, 1.0).faded(0.5)
        Belief(correct=3.0, wrong=1.0)
        """
        return Belief(1.0 + decay * (self.correct - 1.0), 1.0 + decay * (self.wrong - 1.0))


@dataclass(frozen=True, slots=True)
class Moments:
    """Decayed moments of the pass rates p of a set's last groups; at first those of uniform p.

    >>> round(Moments().prior.correct, 6), round(Moments().prior.wrong, 6)
    (1.0, 1.0)
    """

    weight: float = BEGINNING  # groups, those of the uniform beginning among them
    mean: float = 1 / 2  # of p
    square: float = 1 / 3  # of p times p: the chance that two rollouts of a group are correct

    def after(self, tally: Tally) -> Moments:
        """With one more group; of one with fewer than two gradable rollouts nothing is learnt.

        `tally` must not depend on what came out, so it is that of the pilot, not of the group.
        Both estimates are unbiased: c / n for the mean, c (c - 1) / (n (n - 1)) for the square.
        """
        correct, gradable = tally.correct, tally.gradable
        if gradable < 2:
            return self
        old = GROUP_DECAY * self.weight
        weight = old + 1.0
        pair = correct * (correct - 1) / (gradable * (gradable - 1))
        return Moments(
            weight,
            (old * self.mean + correct / gradable) / weight,
            (old * self.square + pair) / weight,
        )

    @property
    def prior(self) -> Belief:
        """The Beta distribution with these moments, within bounds.

        Its pseudo-counts sum to 1 / r - 1, r being the share of the variance m (1 - m) that lies
        between problems: uniform p has 2; problems all of one pass rate many; solved and
        impossible ones side by side none.
        """
        mean = min(1.0 - EDGE, max(EDGE, self.mean))
        between = (self.square - self.mean**2) / (mean * (1.0 - mean))
        lowest, highest = 1.0 / (1.0 + MOST_STRENGTH), 1.0 / (1.0 + LEAST_STRENGTH)
        strength = 1.0 / min(highest, max(lowest, between)) - 1.0
        return Belief(strength * mean, strength * (1.0 - mean))


class Pilots:
    """What the pilots of one set go by: its last groups, and each problem's earlier visits."""

    def __init__(self, ids: Collection[str]) -> None:
        self._members = frozenset(ids)
        self._moments = Moments()
        self._seen: dict[str, tuple[float, float]] = {}  # faded (correct, wrong) of each problem

    def belief(self, problem_id: str) -> Belief:
        """What is believed of a problem before its pilot: its set's prior and its own visits."""
        prior = self._moments.prior
        correct, wrong = self._seen.get(problem_id, (0.0, 0.0))
        return Belief(prior.correct + correct, prior.wrong + wrong)

    def observe(self, problem_id: str, pilot: Tally, group: Tally) -> None:
        """One visit: the pilot, and the whole group (the pilot's rollouts among it)."""
        self._moments = self._moments.after(pilot)
        if group.gradable:
            correct, wrong = self._seen.get(problem_id, (0.0, 0.0))
            self._seen[problem_id] = (
                DECAY * (correct + group.correct),
                DECAY * (wrong + group.gradable - group.correct),
            )

    def memory(self) -> dict[str, Any]:
        """All of it, as JSON."""
        moments = self._moments
        return {
            "set": [moments.weight, moments.mean, moments.square],
            "problems": {i: list(pair) for i, pair in self._seen.items()},
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Go on with what `memory` gave; problems of other sets are left out."""
        self._moments = Moments(*memory["set"])
        seen = memory["problems"].items()
        self._seen = {i: (pair[0], pair[1]) for i, pair in seen if i in self._members}


def chance_of_mixed(belief: Belief, pilot: Tally, rest: int) -> float:
    """Probability that `rest` more rollouts make the group mixed, the pilot's included.

    Beta-binomial, with `belief` from before the pilot. 1 if the pilot is mixed already; 0 if
    there is no rest. A pilot without anything gradable says nothing: the chance is that of
    `rest` rollouts on their own.

    Uniform prior, four wrong of four: the other four are all wrong too with probability
    5/6 * 6/7 * 7/8 * 8/9 = 5/9.

    >>> round(chance_of_mixed(Belief(), Tally(0, 4), 4), 4)
    0.4444
    """
    if 0 < pilot.correct < pilot.gradable:
        return 1.0
    if rest <= 0:
        return 0.0
    now = belief.after(pilot)
    all_correct = all_wrong = 1.0
    for i in range(rest):
        total = now.correct + now.wrong + i
        all_correct *= (now.correct + i) / total
        all_wrong *= (now.wrong + i) / total
    if not pilot.gradable:
        return max(0.0, 1.0 - all_correct - all_wrong)
    return 1.0 - (all_correct if pilot.correct else all_wrong)
