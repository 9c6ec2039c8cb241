"""History resampling (SRPO, arXiv 2504.14286): drop what every rollout of the epoch solved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srpo.selection.passes import Uniform
from srpo.selection.rule import NOTHING, Decision, Resampled, Tally
from srpo.types import Outcome

DECISION_OF = {
    Outcome.ALL_CORRECT: Decision.DROP_ALL_CORRECT,
    Outcome.MIXED: Decision.KEEP_MIXED,
    Outcome.ALL_WRONG: Decision.KEEP_ALL_WRONG,
    Outcome.UNGRADABLE: Decision.KEEP_UNGRADABLE,
}


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
    dropped; revived ones never outnumber what the floor needs.

    Pure: SRPO, arXiv 2504.14286, section on history resampling; the floor is ours.
    """
    decided = []
    for problem_id in pool:
        tally = counts.get(problem_id)
        decision = Decision.KEEP_UNSEEN if tally is None else DECISION_OF[tally.outcome]
        seen = tally or NOTHING
        decided.append(Resampled(problem_id, set_name, decision, seen.correct, seen.gradable))
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


class Resampling(Uniform):
    """Passes over a pool that shrinks at every epoch's end. A drop is for good, but for the floor.

    What an earlier stage dropped stays dropped.
    """

    def end_epoch(self) -> list[Resampled]:
        """See `Rule.end_epoch`."""
        decided = resample(self.counts, self.kept, self.dropped, self.floor, self.set_name)
        gone = {d.problem_id for d in decided if d.decision.drops}
        gone |= {d.problem_id for d in decided if d.decision is Decision.STAY_DROPPED}
        before = dict.fromkeys(self.dropped)
        order = [*before, *(i for i in self.kept if i not in before)]
        self._dropped = [i for i in order if i in gone]
        self.counts = {}
        self.pool.start_epoch([d.problem_id for d in decided if d.problem_id not in gone])
        return decided

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """See `Rule.remember`: what was dropped stays out, unless the floor needs it."""
        dropped = [i for i in memory.get("dropped", ()) if i in self._known]
        missing = max(0, self.floor - (len(self.kept) - len(dropped)))
        back, self._dropped = dropped[:missing], dropped[missing:]
        if dropped:
            gone = set(dropped)
            self.pool.start_epoch([*(i for i in self.kept if i not in gone), *back])
        return [Resampled(i, self.set_name, Decision.REVIVE_FLOOR, 0, 0) for i in back]
