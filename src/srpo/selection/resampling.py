"""History resampling (SRPO, arXiv 2504.14286): drop what every rollout of the epoch solved."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from srpo.selection.passes import Uniform
from srpo.selection.rule import Decision, Resampled, Tally
from srpo.types import Outcome, outcome_of

DECISION_OF = {
    Outcome.ALL_CORRECT: Decision.DROP_ALL_CORRECT,
    Outcome.MIXED: Decision.KEEP_MIXED,
    Outcome.ALL_WRONG: Decision.KEEP_ALL_WRONG,
    Outcome.UNGRADABLE: Decision.KEEP_UNGRADABLE,
}
JUST_DROPPED = frozenset(decision for decision in Decision if decision.drops)
OUT_OF_PLAY = JUST_DROPPED | {Decision.STAY_DROPPED}


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector out: of a million decisions made at once none is garbage.

    It would walk through all of them, and all problems, again and again: half of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@cache
def decision_on(correct: int, gradable: int) -> Decision:
    """What becomes of a problem in play with so many correct of its gradable rollouts.

    >>> decision_on(8, 8).value, decision_on(3, 8).value
    ('drop: all correct', 'keep: mixed')
    """
    return DECISION_OF[outcome_of(correct, gradable)]


def resample(
    counts: Mapping[str, Tally],
    pool: Sequence[str],
    dropped: Sequence[str],
    floor: int,
    set_name: str,
) -> list[Resampled]:
    """History resampling of one set: the decision for every problem, kept and dropped.

    `counts`: problem -> its rollouts of the epoch, by the accuracy verdict.
    Drops a problem of the `pool` whose gradable rollouts were all correct; keeps mixed ones,
    all-wrong ones, ungradable ones and those the epoch did not reach. If fewer than `floor` would
    be left, problems come back from `dropped` (longest dropped first) and then from those just
    dropped; revived ones never outnumber what the floor needs. A dropped problem that came all the
    same, in the history of another run or through another set, is decided on as if in play.

    Pure. SRPO (arXiv 2504.14286) drops all-correct problems. Ours: the floor, and that ungradable
    problems and those not seen in the epoch are kept.
    """
    decided = []
    again = [problem_id for problem_id in dropped if problem_id in counts]
    for problem_id in [*pool, *again]:
        tally = counts.get(problem_id)
        if tally is None:
            decided.append(Resampled(problem_id, set_name, Decision.KEEP_UNSEEN, 0, 0))
        else:
            correct, gradable = tally.correct, tally.gradable
            decision = decision_on(correct, gradable)
            decided.append(Resampled(problem_id, set_name, decision, correct, gradable))
    just_dropped = [d for d in decided if d.decision is Decision.DROP_ALL_CORRECT]
    waiting = [
        Resampled(p, set_name, Decision.STAY_DROPPED, 0, 0) for p in dropped if p not in counts
    ]
    missing = max(0, floor - (len(decided) - len(just_dropped)))
    return with_revived([*decided, *waiting], [*waiting, *just_dropped][:missing])


def with_revived(decided: list[Resampled], back: Sequence[Resampled]) -> list[Resampled]:
    """The decisions, but those of `back` come back, since their set fell below the floor."""
    if not back:
        return decided  # as it mostly is, and there may be a million of them
    revived = {d.problem_id for d in back}
    return [
        Resampled(d.problem_id, d.set_name, Decision.REVIVE_FLOOR, d.correct, d.gradable)
        if d.problem_id in revived
        else d
        for d in decided
    ]


def kept_by(decided: Sequence[Resampled]) -> list[str]:
    """The problems that are in play after these decisions."""
    return [d.problem_id for d in decided if d.decision not in OUT_OF_PLAY]


def dropped_by(decided: Sequence[Resampled]) -> list[str]:
    """The problems that are not, longest dropped first."""
    waiting = [d.problem_id for d in decided if d.decision is Decision.STAY_DROPPED]
    return waiting + [d.problem_id for d in decided if d.decision in JUST_DROPPED]


class Resampling(Uniform):
    """Passes over a pool that shrinks at every epoch's end. A drop is for good, but for the floor.

    What an earlier stage dropped stays dropped.
    """

    def end_epoch(self) -> list[Resampled]:
        """See `Rule.end_epoch`."""
        with uncollected():
            decided = resample(self.counts, self.kept, self.dropped, self.floor, self.set_name)
        self.counts = {}
        self._dropped = dropped_by(decided)
        self.pool.start_epoch(kept_by(decided))
        return decided

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: what was dropped stays out, unless the floor needs it."""
        dropped = [i for i in memory["dropped"] if i in self._known]
        missing = max(0, self.floor - (len(self.kept) - len(dropped)))
        back, self._dropped = dropped[:missing], dropped[missing:]
        if dropped:
            gone = set(dropped)
            self.pool.start_epoch([*(i for i in self.kept if i not in gone), *back])
        return [Resampled(i, self.set_name, Decision.REVIVE_FLOOR, 0, 0) for i in back]
