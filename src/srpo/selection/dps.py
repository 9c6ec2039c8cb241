"""Prediction by a three-state Markov chain: all wrong, mixed, all correct (DPS, arXiv 2603.10887).

Each problem is a chain with a transition matrix of its own, known only by decayed Dirichlet
counts. A visit shows the state; at every step, visit or not, the counts fade towards the prior
and the belief goes one step through the expected matrix. Those come whose next state is mixed
with the greatest probability. What was not seen for long is believed to be in any state alike,
so it comes before what was just seen solved, and after what was just seen mixed.

Update, prior and decay are those of the authors' code (github.com/maoyixiu/DPS); the paper's
results we know from secondary sources only. Ours: what differs from the prior by less than `EPS`
is forgotten; some places go to any problem (their candidates are a random part of the set).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srpo.selection.draws import Draws
from srpo.selection.rule import Choice, Resampled, Tally
from srpo.types import Outcome

STATE_OF = {Outcome.ALL_WRONG: 0, Outcome.MIXED: 1, Outcome.ALL_CORRECT: 2}
PRIOR = 1.0  # Dirichlet pseudo-count of every transition; the authors'
UNIFORM = 1.0 / len(STATE_OF)  # probability of every state of a problem never seen; the authors'
DECAY = 0.7  # of the counts at every step; the authors' on MATH (.5 in Countdown and geometry)
EXPLORE = 0.1  # chance of a place to go to any problem; ours
EPS = 1e-6  # ours

Floats = NDArray[np.float64]


class Dps(Draws):
    """Problems that are mixed next with the greatest predicted probability.

    Letters: N problems, S states they come from, Z states they go to.

    >>> rule = Dps("math", ["a", "b"], random.Random(1))
    >>> rule.observe({"a": Tally(correct=8, gradable=8)})
    >>> round(rule.chance_of_mixed("a"), 3), round(rule.chance_of_mixed("b"), 3)
    (0.3, 0.333)
    """

    def __init__(self, set_name: str, ids: Sequence[str], rng: random.Random) -> None:
        super().__init__(set_name, ids, rng)
        size, num_states = len(self.ids), len(STATE_OF)
        self._counts_NZS = np.full((size, num_states, num_states), PRIOR)
        self._belief_NS = np.full((size, num_states), UNIFORM)  # at the last step
        self._forecast_NZ = np.full((size, num_states), UNIFORM)  # of the next step
        self._known_N = np.zeros(size, dtype=bool)  # others are as they were at the beginning

    def chance_of_mixed(self, problem_id: str) -> float:
        """The predicted probability that a problem's next group is mixed."""
        return float(self._forecast_NZ[self.place_of[problem_id], STATE_OF[Outcome.MIXED]])

    def choose(self, count: int, without: Set[str]) -> list[Choice]:
        """See `Rule.choose`: the most probably mixed first, equals in random order."""
        self.num_places += count
        taken = [self.place_of[i] for i in without if i in self.place_of]
        count = min(count, len(self.ids) - len(taken))
        if not count:
            return []
        generator = np.random.default_rng(self.rng.getrandbits(128))
        mixed_N = self._forecast_NZ[:, STATE_OF[Outcome.MIXED]]
        scores_N = mixed_N + generator.uniform(0.0, EPS / 1000, len(self.ids))
        scores_N[taken] = -np.inf
        num_explored = int(np.count_nonzero(generator.random(count) < EXPLORE))
        best = np.argpartition(-scores_N, count - num_explored - 1)[: count - num_explored]
        best = best[np.argsort(-scores_N[best], kind="stable")]
        scores_N[best] = -np.inf
        free = np.flatnonzero(scores_N >= 0.0)
        explored = generator.choice(free, num_explored, replace=False)
        return [
            Choice(self.ids[i], f"{why}mixed with probability {mixed_N[i]:.2f}")
            for places, why in ((best, ""), (explored, "explores: "))
            for i in places
        ]

    def observe(self, tallies: Mapping[str, Tally]) -> None:
        """See `Rule.observe`: one step of every chain. Nothing gradable shows no state."""
        shown = {self.place_of[i]: t for i, t in tallies.items() if t.gradable}
        seen = np.array(list(shown), dtype=int)
        states = np.array([STATE_OF[tally.outcome] for tally in shown.values()], dtype=int)
        self._known_N[seen] = True
        known = np.flatnonzero(self._known_N)
        counts_KZS = DECAY * self._counts_NZS[known] + (1.0 - DECAY) * PRIOR
        belief_KS = self._forecast_NZ[known]
        rows = np.searchsorted(known, seen)
        belief_KS[rows] = np.eye(len(STATE_OF))[states]
        counts_KZS[rows] += self._transitions(seen, belief_KS[rows])
        forecast_KZ = np.einsum("kzs,ks->kz", _matrix(counts_KZS), belief_KS)
        self._counts_NZS[known], self._belief_NS[known] = counts_KZS, belief_KS
        self._forecast_NZ[known] = forecast_KZ
        self._forget(known)

    def state_dict(self) -> dict[str, Any]:
        """See `Rule.state_dict`."""
        return {**super().state_dict(), **self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Rule.load_state_dict`."""
        super().load_state_dict(state)
        self.check_known(state["chains"])
        self._reset(np.arange(len(self.ids)))
        self.remember(state)

    def memory(self) -> dict[str, Any]:
        """See `Rule.memory`: of every chain that is known, counts, belief and forecast."""
        return {
            "chains": {
                self.ids[i]: [
                    self._counts_NZS[i].tolist(),
                    self._belief_NS[i].tolist(),
                    self._forecast_NZ[i].tolist(),
                ]
                for i in np.flatnonzero(self._known_N)
            }
        }

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: goes on with the chains."""
        for problem_id, (counts, belief, forecast) in memory["chains"].items():
            i_problem = self.place_of.get(problem_id)
            if i_problem is not None:
                self._counts_NZS[i_problem], self._belief_NS[i_problem] = counts, belief
                self._forecast_NZ[i_problem], self._known_N[i_problem] = forecast, True
        return []

    def _transitions(self, seen: NDArray[np.int64], now_KZ: Floats) -> Floats:
        """One transition a problem, in the proportions in which it may have been made."""
        matrix_KZS = _matrix(self._counts_NZS[seen])
        weights_KZS: Floats = now_KZ[:, :, None] * self._belief_NS[seen][:, None, :] * matrix_KZS
        weights_KZS /= weights_KZS.sum(axis=(1, 2), keepdims=True)
        return weights_KZS

    def _forget(self, known: NDArray[np.int64]) -> None:
        """Set what has faded away to exactly what it was at the beginning."""
        counts = np.abs(self._counts_NZS[known] - PRIOR).max(axis=(1, 2), initial=0.0)
        forecast = np.abs(self._forecast_NZ[known] - UNIFORM).max(axis=1, initial=0.0)
        self._reset(known[(counts < EPS) & (forecast < EPS)])

    def _reset(self, places: NDArray[np.int64]) -> None:
        self._counts_NZS[places] = PRIOR
        self._belief_NS[places] = self._forecast_NZ[places] = UNIFORM
        self._known_N[places] = False


def _matrix(counts_KZS: Floats) -> Floats:
    """The expected transition matrix: from each state, probabilities that sum to one."""
    total_KZS: Floats = counts_KZS.sum(axis=1, keepdims=True)
    return counts_KZS / total_KZS
