"""The interface of selection: which problems of one set come next, and what became of them.

A rule is state, observe, choose, for one problem set; one small module each. The stage's
`srpo.selection.Selection` cuts a step among the sets, and decides how many rollouts a problem gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol

from srpo.types import Outcome, outcome_of


class Decision(StrEnum):
    """What was decided for a problem at an epoch's end."""

    KEEP_MIXED = "keep: mixed"
    KEEP_ALL_WRONG = "keep: all wrong"
    KEEP_UNGRADABLE = "keep: not gradable"
    KEEP_UNSEEN = "keep: not tried alone this epoch"  # not at all, or with a prefix
    DROP_ALL_CORRECT = "drop: all correct"
    STAY_DROPPED = "stays dropped"
    REST_ALL_CORRECT = "drop: all correct, rests for a while"
    REST_ALL_WRONG = "drop: all wrong again, rests for a while"
    TO_EASY_POOL = "to the easy pool: all correct"
    KEEP_EASY = "stays in the easy pool"
    FROM_EASY_POOL = "back from the easy pool: not all correct any more"
    REVIVE_FLOOR = "revive: its set fell below the floor"
    REVIVE_RESTED = "revive: it has rested"

    @property
    def drops(self) -> bool:
        """True if the problem goes out of play by this decision."""
        return self.value.startswith("drop:")

    @property
    def revives(self) -> bool:
        """True if a dropped problem comes back by this decision."""
        return self.value.startswith("revive:")


class Resampled(NamedTuple):
    """One problem's fate at one epoch's end. A tuple, since a million are made at once.

    >>> Resampled("5f3a", "math", Decision.DROP_ALL_CORRECT, correct=8, gradable=8).decision.value
    'drop: all correct'
    """

    problem_id: str
    set_name: str
    decision: Decision
    correct: int  # of its rollouts in this epoch
    gradable: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of some rollouts of one problem were correct, by the accuracy verdict.

    >>> Tally(correct=3, gradable=8) + Tally(1, 4)
    Tally(correct=4, gradable=12)
    """

    correct: int
    gradable: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.correct + other.correct, self.gradable + other.gradable)

    @property
    def outcome(self) -> Outcome:
        """All correct, mixed, all wrong, or nothing gradable."""
        return outcome_of(self.correct, self.gradable)


NOTHING = Tally(0, 0)


def add_up(counts: dict[str, Tally], tallies: Mapping[str, Tally]) -> None:
    """Add what came of a step to the counts of its epoch.

    >>> counts = {"5f3a": Tally(3, 8)}
    >>> add_up(counts, {"5f3a": Tally(1, 4), "77b0": Tally(0, 4)})
    >>> counts
    {'5f3a': Tally(correct=4, gradable=12), '77b0': Tally(correct=0, gradable=4)}
    """
    for problem_id, tally in tallies.items():
        before = counts.get(problem_id)
        counts[problem_id] = tally if before is None else before + tally


@dataclass(frozen=True, slots=True)
class Choice:
    """A problem that comes next, and why, in a few words for the ledger.

    >>> Choice("5f3a", "its turn").why
    'its turn'
    """

    problem_id: str
    why: str


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What is to be known of a rule where its work is told.

    >>> RuleFacts(decides="never", passes=True).takes_out
    False
    """

    decides: Literal["never", "at every draw", "at an epoch's end"]  # what comes, and what does not
    passes: bool  # whether an epoch reaches every problem in play

    @property
    def takes_out(self) -> bool:
        """Whether it takes problems out of play."""
        return self.decides == "at an epoch's end"


class Rule(Protocol):
    """Which problems of one set come next. Every random draw is from the generator it is given."""

    @property
    def kept(self) -> Sequence[str]:
        """Problems in play."""
        ...

    @property
    def dropped(self) -> Sequence[str]:
        """Problems out of play, longest first."""
        ...

    def choose(self, count: int, without: Set[str]) -> list[Choice]:
        """The next `count` problems, all different and none of `without`; fewer if there are."""
        ...

    def observe(self, tallies: Mapping[str, Tally]) -> None:
        """What came of a step: the problems of this set that were drawn."""
        ...

    @property
    def epoch_done(self) -> bool:
        """True once the epoch has run its course for this set."""
        ...

    def end_epoch(self) -> list[Resampled]:
        """Decide what comes in the next epoch, and begin it. Empty: nothing is decided."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, the generator aside, as JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave. Raises `ValueError` if it is of other problems."""
        ...

    def memory(self) -> dict[str, Any]:
        """What a later stage of the run should know, as JSON; given to its rule as `remember`."""
        ...

    def remember(self, memory: Mapping[str, Any]) -> list[Resampled]:
        """Begin with what an earlier stage knew; returns the problems that come back for it.

        Called once, before the first choice, if an earlier stage had the set. That one went by
        the same rule: a run has one.
        """
        ...
