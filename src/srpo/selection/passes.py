"""Shuffled passes: every problem of a pool comes once before any comes again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from typing import Any

from srpo.selection.rule import Choice, Resampled, Tally, add_up


class Pool:
    """Problems in play, in shuffled passes without repetition.

    >>> pool = Pool(["a", "b"], random.Random(1))
    >>> sorted(pool.draw(2)), pool.pending
    (['a', 'b'], set())
    """

    def __init__(self, ids: Sequence[str], rng: random.Random) -> None:
        self.ids = list(ids)
        self._members = frozenset(ids)
        self.queue: list[str] = []  # what is left of the current pass, the next one last
        self.pending = set(ids)  # not yet drawn in this epoch
        self._rng = rng

    def draw(self, count: int, without: Set[str] = frozenset()) -> list[str]:
        """The next `count` problems, all different; fewer if the pool has no more.

        Those of `without` keep their place in the pass; they have come in this epoch, for another
        set or in an earlier round.
        """
        drawn: dict[str, None] = {}
        later: list[str] = []
        most = min(count, len(self.ids) - sum(i in self._members for i in without))
        while len(drawn) < most:
            if not self.queue:
                self.queue = self._rng.sample(self.ids, len(self.ids))
            candidate = self.queue.pop()
            if candidate in drawn or candidate in without:
                later.append(candidate)
            else:
                drawn[candidate] = None
        self.queue += reversed(later)
        self.pending.difference_update(drawn, without)
        return list(drawn)

    def start_epoch(self, ids: Sequence[str]) -> None:
        """Begin an epoch with these problems; a new pass in a new order."""
        self.ids = list(ids)
        self._members = frozenset(ids)
        self.queue = []
        self.pending = set(ids)

    def state_dict(self) -> dict[str, Any]:
        """What is in play, what is left of the pass, and what has not come in this epoch."""
        pending = [i for i in self.ids if i in self.pending]
        return {"ids": list(self.ids), "queue": list(self.queue), "pending": pending}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.ids, self.queue = list(state["ids"]), list(state["queue"])
        self._members = frozenset(self.ids)
        self.pending = set(state["pending"])


class Uniform:
    """Every problem equally often: passes over the whole set, and nothing is ever dropped.

    Also what other rules that go in passes are made of.
    """

    def __init__(self, set_name: str, ids: Sequence[str], rng: random.Random, floor: int) -> None:
        """`floor`: the least number of problems in play; a set that drops nothing ignores it."""
        self.set_name = set_name
        self.floor = min(floor, len(ids))
        self.pool = Pool(ids, rng)
        self.counts: dict[str, Tally] = {}  # of this epoch
        self._dropped: list[str] = []  # longest first
        self._known = frozenset(ids)

    @property
    def kept(self) -> list[str]:
        """Problems in play."""
        return self.pool.ids

    @property
    def dropped(self) -> list[str]:
        """Problems out of play, longest first."""
        return self._dropped

    @property
    def epoch_done(self) -> bool:
        """True once every problem in play has come in this epoch."""
        return not self.pool.pending

    def choose(self, count: int, without: Set[str]) -> list[Choice]:
        """See `Rule.choose`: the next of the pass."""
        return [Choice(problem_id, "its turn") for problem_id in self.pool.draw(count, without)]

    def observe(self, tallies: Mapping[str, Tally]) -> None:
        """See `Rule.observe`."""
        add_up(self.counts, tallies)

    def end_epoch(self) -> list[Resampled]:
        """See `Rule.end_epoch`: the same pool again; nothing to decide."""
        self.counts = {}
        self.pool.start_epoch(self.pool.ids)
        return []

    def state_dict(self) -> dict[str, Any]:
        """See `Rule.state_dict`."""
        counts = {i: [tally.correct, tally.gradable] for i, tally in self.counts.items()}
        return {"pool": self.pool.state_dict(), "counts": counts, "dropped": list(self.dropped)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Rule.load_state_dict`."""
        if self._known != {*state["pool"]["ids"], *state["dropped"]}:
            raise ValueError(f"the saved selection of set {self.set_name} is of other problems")
        self.pool.load_state_dict(state["pool"])
        self.counts = {i: Tally(*pair) for i, pair in state["counts"].items()}
        self._dropped = list(state["dropped"])

    def memory(self) -> dict[str, Any]:
        """See `Rule.memory`."""
        return {"dropped": list(self.dropped)}

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: nothing, since nothing is dropped."""
        return []
