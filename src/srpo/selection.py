"""Which problems come next: passes over shuffled pools, and history resampling between epochs.

A stage draws from one pool a problem set. Every step takes each set's declared share. An epoch
ends when every problem of every pool has come at least once; smaller pools start another pass
meanwhile. At the epoch's end history resampling (SRPO, arXiv 2504.14286) rebuilds the pools.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from srpo.types import Group, Outcome, Problem, outcome_of


class Decision(StrEnum):
    """What resampling decided for a problem at an epoch's end."""

    KEEP_MIXED = "keep: mixed"
    KEEP_ALL_WRONG = "keep: all wrong"
    KEEP_UNGRADABLE = "keep: not gradable"
    KEEP_UNSEEN = "keep: not seen this epoch"
    DROP_ALL_CORRECT = "drop: all correct"
    STAY_DROPPED = "stays dropped"
    REVIVE_FLOOR = "revive: its set fell below the floor"


@dataclass(frozen=True, slots=True)
class Resampled:
    """One problem's fate at one epoch's end.

    >>> Resampled("5f3a", "math", Decision.DROP_ALL_CORRECT, correct=8, gradable=8).decision.value
    'drop: all correct'
    """

    problem_id: str
    set_name: str
    decision: Decision
    correct: int  # of its rollouts in this epoch
    gradable: int


DECISION_OF = {
    Outcome.ALL_CORRECT: Decision.DROP_ALL_CORRECT,
    Outcome.MIXED: Decision.KEEP_MIXED,
    Outcome.ALL_WRONG: Decision.KEEP_ALL_WRONG,
    Outcome.UNGRADABLE: Decision.KEEP_UNGRADABLE,
}


def quotas(weights: Mapping[str, float], size: int, owed: Mapping[str, float]) -> dict[str, int]:
    """Cut `size` places among sets by weight; `owed` carries the fractions of earlier steps.

    Largest remainder first, ties in the order of `weights`, so that over many steps every set
    gets its exact share.

    >>> quotas({"math": 1, "code": 2}, 32, {})
    {'math': 11, 'code': 21}
    """
    total = sum(weights.values())
    left = {name: size * w / total + owed.get(name, 0.0) for name, w in weights.items()}
    cut = dict.fromkeys(weights, 0)
    for _ in range(size):
        name = max(left, key=left.__getitem__)  # the first of equals
        cut[name] += 1
        left[name] -= 1.0
    return cut


def resample(
    counts: Mapping[str, tuple[int, int]],
    pool: Sequence[str],
    dropped: Sequence[str],
    floor: int,
    set_name: str,
) -> list[Resampled]:
    """History resampling of one set: the decision for every problem, kept and dropped.

    `counts`: problem -> (correct, gradable) rollouts of the epoch, by the accuracy verdict.
    Drops a problem of the `pool` whose gradable rollouts were all correct; keeps mixed ones,
    all-wrong ones, ungradable ones and those the epoch did not reach. If fewer than `floor` would
    be left, problems come back from `dropped` (longest dropped first) and then from those just
    dropped; revived ones never outnumber what the floor needs.

    Pure: SRPO, arXiv 2504.14286, section on history resampling; the floor is ours.
    """
    decided = []
    for problem_id in pool:
        correct, gradable = counts.get(problem_id, (0, 0))
        seen = problem_id in counts
        decision = DECISION_OF[outcome_of(correct, gradable)] if seen else Decision.KEEP_UNSEEN
        decided.append(Resampled(problem_id, set_name, decision, correct, gradable))
    just_dropped = [d for d in decided if d.decision is Decision.DROP_ALL_CORRECT]
    missing = max(0, floor - (len(decided) - len(just_dropped)))
    waiting = [Resampled(p, set_name, Decision.STAY_DROPPED, 0, 0) for p in dropped]
    revived = {d.problem_id for d in [*waiting, *just_dropped][:missing]}
    return [
        Resampled(d.problem_id, set_name, Decision.REVIVE_FLOOR, d.correct, d.gradable)
        if d.problem_id in revived
        else d
        for d in [*decided, *waiting]
    ]


class Pool:
    """One set's problems in play, in shuffled passes without repetition."""

    def __init__(self, ids: Sequence[str], rng: random.Random) -> None:
        self.ids = list(ids)
        self.queue: list[str] = []  # what is left of the current pass
        self.pending = set(ids)  # not yet drawn in this epoch
        self._rng = rng

    def draw(self, count: int) -> list[str]:
        """The next `count` problems, all different; fewer if the pool is smaller."""
        drawn: list[str] = []
        later: list[str] = []
        while len(drawn) < min(count, len(self.ids)):
            if not self.queue:
                self.queue = self._rng.sample(self.ids, len(self.ids))
            candidate = self.queue.pop()
            (later if candidate in drawn else drawn).append(candidate)
        self.queue += reversed(later)
        self.pending -= set(drawn)
        return drawn

    def start_epoch(self, ids: Sequence[str]) -> None:
        """Begin an epoch with these problems; a new pass in a new order."""
        self.ids = list(ids)
        self.queue = []
        self.pending = set(ids)


class Selection:
    """The problems of one stage: state, observe, choose; saved and restored as JSON."""

    def __init__(
        self,
        sets: Mapping[str, Sequence[Problem]],
        weights: Mapping[str, float],
        problems_per_step: int,
        seed: str,
        *,
        drop: bool,
        floor: int,
        dropped: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`dropped`: problems that an earlier stage dropped, by set, longest dropped first."""
        self._rng = random.Random(seed)
        self._weights = {name: weight for name, weight in weights.items() if weight > 0}
        self._size = problems_per_step
        self._drop = drop
        self._by_id = {p.id: p for name in self._weights for p in sets[name]}
        self._floors = {n: min(floor or p, len(sets[n])) for n, p in self._places.items()}
        self._owed: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int]] = {}
        self.epoch = 1
        self.dropped = {
            name: [i for i in (dropped or {}).get(name, ()) if i in self._by_id]
            for name in self._weights
        }
        self.pools = {}
        for name in self._weights:
            gone = set(self.dropped[name])
            self.pools[name] = Pool([p.id for p in sets[name] if p.id not in gone], self._rng)
        self.revived_at_start = self._revive_at_start()

    def choose(self) -> list[Problem]:
        """The problems of the next step, no two the same, each set with its share."""
        cut = quotas(self._weights, self._size, self._owed)
        total = sum(self._weights.values())
        chosen: list[str] = []
        for name, weight in self._weights.items():
            share = self._size * weight / total
            self._owed[name] = self._owed.get(name, 0.0) + share - cut[name]
            chosen += self.pools[name].draw(cut[name])
        return [self._by_id[i] for i in dict.fromkeys(chosen)]

    def observe(self, groups: Iterable[Group]) -> None:
        """Record the accuracy verdicts of this step's groups."""
        for group in groups:
            correct, gradable = self._counts.get(group.problem.id, (0, 0))
            self._counts[group.problem.id] = (
                correct + group.num_correct,
                gradable + group.num_gradable,
            )

    @property
    def short_sets(self) -> list[tuple[str, int, int]]:
        """(set, its problems, its places in a step) of sets that cannot fill their places."""
        places = self._places
        sizes = {n: len(pool.ids) + len(self.dropped[n]) for n, pool in self.pools.items()}
        return [(n, sizes[n], places[n]) for n in self._weights if sizes[n] < places[n]]

    @property
    def epoch_done(self) -> bool:
        """True once every problem of every pool has come in this epoch."""
        return not any(pool.pending for pool in self.pools.values())

    @property
    def num_kept(self) -> int:
        """Problems in play."""
        return sum(len(pool.ids) for pool in self.pools.values())

    @property
    def num_dropped(self) -> int:
        """Problems out of play."""
        return sum(len(ids) for ids in self.dropped.values())

    def end_epoch(self) -> list[Resampled]:
        """Resample every pool and begin the next epoch. Without dropping: the same pools again."""
        decisions: list[Resampled] = []
        for name, pool in self.pools.items():
            if not self._drop:
                pool.start_epoch(pool.ids)
                continue
            decided = resample(self._counts, pool.ids, self.dropped[name], self._floors[name], name)
            decisions += decided
            out = (Decision.DROP_ALL_CORRECT, Decision.STAY_DROPPED)
            gone = {d.problem_id for d in decided if d.decision in out}
            before = dict.fromkeys(self.dropped[name])
            order = [*before, *(i for i in pool.ids if i not in before)]
            self.dropped[name] = [i for i in order if i in gone]
            pool.start_epoch([d.problem_id for d in decided if d.problem_id not in gone])
        self._counts = {}
        self.epoch += 1
        return decisions

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as JSON."""
        version, internal, gauss = self._rng.getstate()
        return {
            "epoch": self.epoch,
            "owed": dict(self._owed),
            "counts": {i: list(pair) for i, pair in self._counts.items()},
            "dropped": {name: list(ids) for name, ids in self.dropped.items()},
            "pools": {
                name: {
                    "ids": list(pool.ids),
                    "queue": list(pool.queue),
                    "pending": sorted(pool.pending),
                }
                for name, pool in self.pools.items()
            },
            "rng": [version, list(internal), gauss],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave. Raises `ValueError` if it is of other problems."""
        saved = state["pools"]
        unknown = {i for pool in saved.values() for i in pool["ids"]} - set(self._by_id)
        if unknown or set(saved) != set(self.pools):
            raise ValueError("the saved selection is of other problem sets")
        for name, pool in self.pools.items():
            pool.ids, pool.queue = list(saved[name]["ids"]), list(saved[name]["queue"])
            pool.pending = set(saved[name]["pending"])
        self.epoch = state["epoch"]
        self._owed = dict(state["owed"])
        self._counts = {
            i: (correct, gradable) for i, (correct, gradable) in state["counts"].items()
        }
        self.dropped = {name: list(ids) for name, ids in state["dropped"].items()}
        version, internal, gauss = state["rng"]
        self._rng.setstate((version, tuple(internal), gauss))

    @property
    def _places(self) -> dict[str, int]:
        """Each set's share of a step, rounded up."""
        total = sum(self._weights.values())
        return {name: -int(-self._size * w // total) for name, w in self._weights.items()}

    def _revive_at_start(self) -> list[Resampled]:
        """Bring problems back when what earlier stages dropped leaves a set below its floor."""
        revived = []
        for name, pool in self.pools.items():
            missing = max(0, self._floors[name] - len(pool.ids))
            back, self.dropped[name] = self.dropped[name][:missing], self.dropped[name][missing:]
            if back:
                pool.start_epoch([*pool.ids, *back])
            revived += [Resampled(i, name, Decision.REVIVE_FLOOR, 0, 0) for i in back]
        return revived
