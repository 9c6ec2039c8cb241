"""Spaced repetition: what is solved rests for longer and longer, and then is tried again.

Ours, on the history that resampling keeps. History resampling drops a solved problem for good, so
what is forgotten is never seen, and keeps every unsolved one at full price. Here a problem whose
epoch was all correct rests 1, 2, 4 ... epochs, up to a longest rest (the boxes of Leitner's cards);
one that was all wrong comes again at once the first time, and from then on rests 1, then 2 epochs,
no longer, since it may come within reach any time. A mixed epoch ends a row of either.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from srpo.selection.passes import Uniform
from srpo.selection.resampling import (
    DECISION_OF,
    OUT_OF_PLAY,
    dropped_by,
    kept_by,
    uncollected,
    with_revived,
)
from srpo.selection.rule import Decision, Resampled
from srpo.types import Outcome

LONGEST_UNSOLVED = 2  # epochs


@dataclass(frozen=True, slots=True)
class Card:
    """One problem's place among the boxes.

    >>> Card(streak=-2, rests=1).streak
    -2
    """

    streak: int = 0  # epochs in a row that were all correct (positive) or all wrong (negative)
    rests: int = 0  # whole epochs it still sits out

    def after(self, outcome: Outcome, longest_rest: int) -> Card:
        """The card after an epoch in which the problem came.

        >>> solved = Card().after(Outcome.ALL_CORRECT, 8)
        >>> solved, solved.after(Outcome.ALL_CORRECT, 8)
        (Card(streak=1, rests=1), Card(streak=2, rests=2))
        >>> Card().after(Outcome.ALL_WRONG, 8), Card(-1).after(Outcome.ALL_WRONG, 8)
        (Card(streak=-1, rests=0), Card(streak=-2, rests=1))
        """
        if outcome is Outcome.ALL_CORRECT:
            streak = max(self.streak, 0) + 1
            return Card(streak, min(longest_rest, 2 ** min(streak - 1, 30)))
        if outcome is Outcome.ALL_WRONG:
            streak = min(self.streak, 0) - 1
            longest = min(longest_rest, LONGEST_UNSOLVED)
            return Card(streak, min(longest, 2 ** min(-streak - 2, 30)) if streak < -1 else 0)
        return Card()


class Spaced(Uniform):
    """Passes over the problems that do not rest. Never fewer than `floor` in play."""

    def __init__(
        self,
        set_name: str,
        ids: Sequence[str],
        rng: random.Random,
        floor: int,
        longest_rest: int,
    ) -> None:
        super().__init__(set_name, ids, rng, floor)
        self._longest_rest = longest_rest
        self._cards: dict[str, Card] = {}  # of problems that have come at least once

    def end_epoch(self) -> list[Resampled]:
        """See `Rule.end_epoch`. If too few stay, those with the shortest rest left come back."""
        with uncollected():
            decided = [self._decide_waiting(problem_id) for problem_id in self.dropped]
            decided += [self._decide_in_play(problem_id) for problem_id in self.kept]
        out = [d for d in decided if d.decision in OUT_OF_PLAY]
        missing = max(0, self.floor - (len(decided) - len(out)))
        back = nsmallest(missing, out, key=self._rest_left)
        for d in back:
            self._cards[d.problem_id] = Card(self._cards[d.problem_id].streak)
        decided = with_revived(decided, back)
        self.counts = {}
        self._dropped = dropped_by(decided)
        self.pool.start_epoch(kept_by(decided))
        return decided

    def state_dict(self) -> dict[str, Any]:
        """See `Rule.state_dict`."""
        return {**super().state_dict(), **self.memory()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Rule.load_state_dict`."""
        super().load_state_dict(state)
        self._cards = {i: Card(*pair) for i, pair in state["cards"].items()}

    def memory(self) -> dict[str, Any]:
        """See `Rule.memory`: every card, and who rests."""
        cards = {i: [card.streak, card.rests] for i, card in self._cards.items()}
        return {"dropped": list(self.dropped), "cards": cards}

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: rests go on, unless the floor needs the problem."""
        cards = memory["cards"]
        self._cards = {i: Card(*pair) for i, pair in cards.items() if i in self._known}
        dropped = [i for i in memory["dropped"] if i in self._known]
        missing = max(0, self.floor - (len(self.kept) - len(dropped)))
        shortest = sorted(dropped, key=lambda i: self._cards[i].rests)
        back = set(shortest[:missing])
        for problem_id in back:
            self._cards[problem_id] = Card(self._cards[problem_id].streak)
        self._dropped = [i for i in dropped if i not in back]
        gone = set(self.dropped)
        if dropped:
            self.pool.start_epoch([i for i in self.kept if i not in gone])
        return [
            Resampled(i, self.set_name, Decision.REVIVE_FLOOR, 0, 0) for i in dropped if i in back
        ]

    def _decide_waiting(self, problem_id: str) -> Resampled:
        if problem_id in self.counts:  # it came all the same: in the history of another run
            return self._decide_in_play(problem_id)
        card = self._cards[problem_id]
        self._cards[problem_id] = Card(card.streak, card.rests - 1)
        rested = card.rests <= 1
        decision = Decision.REVIVE_RESTED if rested else Decision.STAY_DROPPED
        return Resampled(problem_id, self.set_name, decision, 0, 0)

    def _decide_in_play(self, problem_id: str) -> Resampled:
        tally = self.counts.get(problem_id)
        if tally is None:
            return Resampled(problem_id, self.set_name, Decision.KEEP_UNSEEN, 0, 0)
        card = self._cards.get(problem_id, Card()).after(tally.outcome, self._longest_rest)
        self._cards[problem_id] = card
        decision = DECISION_OF[tally.outcome]
        if card.rests:
            solved = tally.outcome is Outcome.ALL_CORRECT
            decision = Decision.REST_ALL_CORRECT if solved else Decision.REST_ALL_WRONG
        return Resampled(problem_id, self.set_name, decision, tally.correct, tally.gradable)

    def _rest_left(self, decided: Resampled) -> int:
        return self._cards[decided.problem_id].rests
