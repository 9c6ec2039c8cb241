"""Prediction by a decayed Beta posterior with Thompson sampling (MoPPS, arXiv 2507.04632).

Each problem's pass rate has a Beta posterior. At every visit the older counts fade towards the
prior, then the rollouts of the visit are added: alpha <- l alpha + (1 - l) alpha0 + correct, beta
likewise with the wrong ones. To choose, a pass rate is drawn from every posterior, and those
nearest to the target come: what is thought to be half solved, and what is hardly known.

As in the authors' code (github.com/thu-rllab/MoPPS): the update, the prior Beta(1, 1), the target
.5, the nearest come. Their candidates are a random part of the set in some runs and the set in
others; here always the whole set. Ours: a visit with nothing gradable changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from srpo.selection.draws import Draws
from srpo.selection.pilot import Belief
from srpo.selection.rule import Choice, Resampled, Tally

TARGET = 0.5  # the authors'
DECAY = 0.5  # l; the authors' in Countdown and geometry (1, no decay, in their runs on MATH)


class Mopps(Draws):
    """Problems whose pass rate, drawn from what is believed of it, is nearest to one half.

    >>> rule = Mopps("math", ["a", "b"], random.Random(1))
    >>> rule.observe({"a": Tally(correct=0, gradable=8)})
    >>> rule.belief("a")
    Belief(correct=1.0, wrong=9.0)
    """

    def __init__(self, set_name: str, ids: Sequence[str], rng: random.Random) -> None:
        super().__init__(set_name, ids, rng)
        self._correct = np.full(len(self.ids), Belief().correct)  # alpha of each problem
        self._wrong = np.full(len(self.ids), Belief().wrong)  # beta

    def belief(self, problem_id: str) -> Belief:
        """What is believed of a problem's pass rate."""
        i_problem = self.place_of[problem_id]
        return Belief(float(self._correct[i_problem]), float(self._wrong[i_problem]))

    def choose(self, count: int, without: Set[str]) -> list[Choice]:
        """See `Rule.choose`: one draw a problem, the nearest to the target first."""
        self.num_places += count
        taken = [self.place_of[i] for i in without if i in self.place_of]
        count = min(count, len(self.ids) - len(taken))
        if not count:
            return []
        generator = np.random.default_rng(self.rng.getrandbits(128))
        pass_rates = generator.beta(self._correct, self._wrong)
        distances = np.abs(pass_rates - TARGET)
        distances[taken] = np.inf
        nearest = np.argpartition(distances, count - 1)[:count]
        nearest = nearest[np.argsort(distances[nearest], kind="stable")]
        return [Choice(self.ids[i], f"drawn pass rate {pass_rates[i]:.2f}") for i in nearest]

    def observe(self, tallies: Mapping[str, Tally]) -> None:
        """See `Rule.observe`."""
        for problem_id, tally in tallies.items():
            if tally.gradable:
                self._believe(problem_id, self.belief(problem_id).faded(DECAY).after(tally))

    def state_dict(self) -> dict[str, Any]:
        """See `Rule.state_dict`."""
        return {**super().state_dict(), **self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Rule.load_state_dict`."""
        super().load_state_dict(state)
        self.check_known(state["pass_rates"])
        self._correct[:], self._wrong[:] = Belief().correct, Belief().wrong
        self.remember(state)

    def memory(self) -> dict[str, Any]:
        """See `Rule.memory`: every posterior that is not the prior."""
        known = np.flatnonzero(
            (self._correct != Belief().correct) | (self._wrong != Belief().wrong)
        )
        pairs = zip(self._correct[known].tolist(), self._wrong[known].tolist(), strict=True)
        ids = [self.ids[i] for i in known]
        return {"pass_rates": dict(zip(ids, map(list, pairs), strict=True))}

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: goes on with the posteriors."""
        for problem_id, (correct, wrong) in memory["pass_rates"].items():
            if problem_id in self.place_of:
                self._believe(problem_id, Belief(correct, wrong))
        return []

    def _believe(self, problem_id: str, belief: Belief) -> None:
        i_problem = self.place_of[problem_id]
        self._correct[i_problem], self._wrong[i_problem] = belief.correct, belief.wrong
