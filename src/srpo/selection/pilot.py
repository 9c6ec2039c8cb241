"""Adaptive groups: a pilot first, then the rest only where the group may become mixed.

Ours; the idea of spending rollouts where they may pay is that of Knapsack RL (arXiv 2509.25849),
AR3PO (2509.25808) and Pilot-Commit (2605.26606).
"""

from __future__ import annotations

from dataclasses import dataclass

from srpo.selection.rule import Tally

DECAY = 0.5  # weight of what was seen before at each new visit: the policy has moved on


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

    @property
    def mean(self) -> float:
        """Expected pass rate."""
        return self.correct / (self.correct + self.wrong)


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
