"""Soft drop: what gave no signal is skipped more and more often, never for good; and an easy pool.

GRESO (arXiv 2506.02177): when a problem's turn comes, it is drawn with the chance max(p^z, least)
and else skipped; z is the number of its last visits in a row that were all wrong (or all correct).
After the first epoch p for the unsolved follows what comes: down by `STEP` after a step with at
least a sixth of all-wrong problems, else up. Constants as in the authors' code
(github.com/Infini-AI-Lab/GRESO). MiMo (arXiv 2505.07608) keeps what is solved in an easy pool,
from which a place of a step is filled with the chance of 10 %.

Ours is how the two go together: a solved problem leaves the passes for the easy pool, and one
that is not solved there any more comes back; in either pool turns are skipped as GRESO has it. p
of the easy pool is fixed, since MiMo's share already says how many of it come. If too few are left
after one pass of skipping, those just skipped fill the step, by the same chances. An epoch is as
many places as the set has problems: once all is solved, a pass over the rest is no step long.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from srpo.selection.draws import Draws
from srpo.selection.resampling import DECISION_OF, uncollected
from srpo.selection.rule import NOTHING, Choice, Decision, Resampled, Tally, add_up
from srpo.types import Outcome

START = 0.5  # p at the beginning, of either pool; the authors'
LEAST = 0.01  # chance of a turn to be taken, at least; the authors'
STEP = 0.01  # change of p a step; the authors'
LOWEST, HIGHEST = 0.05, 0.95  # bounds of p; the authors'
HARD_SHARE = 0.25 * 2 / 3  # all-wrong problems among those drawn that p aims at; the authors'
EASY_SHARE = 0.1  # chance of a place to be filled from the easy pool; MiMo's


def chance_of_turn(base: float, row: int) -> float:
    """Probability that a problem is drawn at its turn, after `row` visits in a row like the last.

    >>> chance_of_turn(0.5, 0), chance_of_turn(0.5, 3), chance_of_turn(0.5, 50)
    (1.0, 0.125, 0.01)
    """
    return max(base**row, LEAST)


class SoftDrop(Draws):
    """Passes with skipped turns over what is not solved, and an easy pool of what is."""

    def __init__(self, set_name: str, ids: Sequence[str], rng: random.Random) -> None:
        super().__init__(set_name, ids, rng)
        self.base = START  # p of the unsolved
        self._members = frozenset(ids)
        self._solved: dict[str, int] = {}  # the easy pool: visits in a row all correct
        self._failed: dict[str, int] = {}  # visits in a row all wrong
        self._skipped: dict[str, int] = {}  # turns skipped since the last visit
        self._counts: dict[str, Tally] = {}  # of this epoch
        self._was_easy: frozenset[str] = frozenset()  # the easy pool as the epoch began
        self._adjusts = False  # from the second epoch on
        self._queue: list[str] = []  # what is left of the pass, the next one last
        self._easy_queue: list[str] = []

    def choose(self, count: int, without: Set[str]) -> list[Choice]:
        """See `Rule.choose`: each place from the easy pool or from the pass."""
        self.num_places += count
        places = [self.rng.random() < EASY_SHARE for _ in range(count)]
        chosen = self._take(sum(places), without, easy=True)
        for easy in (False, True):  # what one pool lacks, the other gives
            had = {choice.problem_id for choice in chosen}
            chosen += self._take(count - len(chosen), without | had, easy=easy)
        return chosen

    def observe(self, tallies: Mapping[str, Tally]) -> None:
        """See `Rule.observe`: moves problems between the pools, and adjusts the skipping."""
        add_up(self._counts, tallies)
        outcomes = {i: tally.outcome for i, tally in tallies.items() if tally.gradable}
        for problem_id, outcome in outcomes.items():
            if outcome is not Outcome.ALL_CORRECT:
                self._solved.pop(problem_id, None)
            else:
                self._solved[problem_id] = self._solved.get(problem_id, 0) + 1
            if outcome is not Outcome.ALL_WRONG:
                self._failed.pop(problem_id, None)
            else:
                self._failed[problem_id] = self._failed.get(problem_id, 0) + 1
        if self._adjusts and outcomes:
            wrong = sum(outcome is Outcome.ALL_WRONG for outcome in outcomes.values())
            change = -STEP if wrong >= HARD_SHARE * len(outcomes) else STEP
            self.base = min(HIGHEST, max(LOWEST, self.base + change))

    def end_epoch(self) -> list[Resampled]:
        """See `Rule.end_epoch`: where each problem is now. The moves were made on the way."""
        self._adjusts = True
        super().end_epoch()
        with uncollected():
            decided = [self._where(problem_id) for problem_id in self.ids]
        self._counts, self._was_easy = {}, frozenset(self._solved)
        return decided

    def state_dict(self) -> dict[str, Any]:
        """See `Rule.state_dict`."""
        return {
            **super().state_dict(),
            **self.memory(),
            "queue": list(self._queue),
            "easy_queue": list(self._easy_queue),
            "counts": {i: [tally.correct, tally.gradable] for i, tally in self._counts.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Rule.load_state_dict`."""
        super().load_state_dict(state)
        self.check_known([*state["queue"], *state["solved"], *state["failed"]])
        self.remember(state)
        self._queue, self._easy_queue = list(state["queue"]), list(state["easy_queue"])
        self._counts = {i: Tally(*pair) for i, pair in state["counts"].items()}

    def memory(self) -> dict[str, Any]:
        """See `Rule.memory`: the rows of visits without signal, and how fast they are skipped."""
        return {
            "solved": dict(self._solved),
            "failed": dict(self._failed),
            "skipped": dict(self._skipped),
            "base": self.base,
            "adjusts": self._adjusts,
            "was_easy": sorted(self._was_easy),
        }

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: goes on with the rows."""
        self._solved, self._failed, self._skipped = (
            {i: n for i, n in memory[name].items() if i in self._members}
            for name in ("solved", "failed", "skipped")
        )
        self.base, self._adjusts = memory["base"], memory["adjusts"]
        self._was_easy = self._members & set(memory["was_easy"])
        return []

    def _where(self, problem_id: str) -> Resampled:
        """A problem's pool at an epoch's end, and whether it has changed."""
        tally = self._counts.get(problem_id, NOTHING)
        was, easy = problem_id in self._was_easy, problem_id in self._solved
        if easy:
            decision = Decision.KEEP_EASY if was else Decision.TO_EASY_POOL
        elif was:
            decision = Decision.FROM_EASY_POOL
        else:
            seen = problem_id in self._counts
            decision = DECISION_OF[tally.outcome] if seen else Decision.KEEP_UNSEEN
        return Resampled(problem_id, self.set_name, decision, tally.correct, tally.gradable)

    def _chance(self, problem_id: str) -> float:
        if problem_id in self._solved:
            return chance_of_turn(START, self._solved[problem_id])
        return chance_of_turn(self.base, self._failed.get(problem_id, 0))

    def _take(self, count: int, without: Set[str], *, easy: bool) -> list[Choice]:
        """The next `count` of one pool whose turn is not skipped."""
        taken, passed = self._turns(count, without, easy=easy)
        waits = {
            problem_id: self.rng.expovariate(self._chance(problem_id)) for problem_id in passed
        }
        filling = sorted(waits, key=waits.__getitem__)[: count - len(taken)]
        for problem_id in passed:
            self._skipped[problem_id] = self._skipped.get(problem_id, 0) + 1
        why, why_filling = ("easy pool",) * 2 if easy else ("its turn", "to fill the step")
        return [*self._called(taken, why), *self._called(filling, why_filling)]

    def _turns(
        self, count: int, without: Set[str], *, easy: bool
    ) -> tuple[dict[str, None], dict[str, None]]:
        """Turn after turn, at most one whole pass: those who take it, and those who are skipped.

        Those of `without` keep their turn.
        """
        queue = self._easy_queue if easy else self._queue
        taken: dict[str, None] = {}
        passed: dict[str, None] = {}
        later: list[str] = []
        renewed = False
        while len(taken) < count and (queue or not renewed):
            if not queue:
                renewed = True
                queue += self._shuffled(easy=easy)
                continue
            candidate = queue.pop()
            if (candidate in self._solved) != easy:
                continue  # it has moved to the other pool
            if candidate in without or candidate in taken or candidate in passed:
                later.append(candidate)
            elif self.rng.random() < self._chance(candidate):
                taken[candidate] = None
            else:
                passed[candidate] = None
        queue += reversed(later)
        return taken, passed

    def _shuffled(self, *, easy: bool) -> list[str]:
        pool = list(self._solved) if easy else [i for i in self.ids if i not in self._solved]
        return self.rng.sample(pool, len(pool))

    def _called(self, ids: Iterable[str], why: str) -> list[Choice]:
        """Choices with their reason; their skipped turns are over."""
        choices = []
        for problem_id in ids:
            times = self._skipped.pop(problem_id, 0)
            skipped = f", skipped {times} time{'s' * (times > 1)}" if times else ""
            choices.append(Choice(problem_id, why + skipped))
        return choices
