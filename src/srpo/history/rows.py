"""What the ledger is asked for and answers with: plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class When:
    """Where in the run something happened. All count from 1 across the whole run.

    >>> When(step=12, epoch=2, stage=1).epoch
    2
    """

    step: int
    epoch: int
    stage: int


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """One epoch of one domain as the ledger has it. Counts are of groups or of problems.

    Groups that began with a prefix are among the groups, but have none of the four outcomes. A
    problem of two sets is dropped and revived in each.
    """

    stage: int
    epoch: int
    domain: str
    groups: int
    all_correct: int
    mixed: int
    all_wrong: int
    ungradable: int
    tokens: int  # generated ones
    reused: int  # tokens that drafts brought
    dropped: int
    revived: int


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """One problem as the ledger has it."""

    id: str
    domain: str
    sets: str  # their names, the first one first: "math, code"
    statement: str  # its beginning


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group of one problem as the ledger has it."""

    step: int
    stage: int
    epoch: int
    policy_version: int
    why: str
    verdicts: dict[str, int]
    correct: int
    gradable: int
    outcome: str
    has_signal: bool
    generated: int  # tokens
    reused: int  # tokens that drafts brought
    prefix: int  # tokens of an own answer that the prompt ended with


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision about one problem as the ledger has it."""

    step: int
    stage: int
    epoch: int
    decision: str
    set_name: str  # the set that it is about
    before_step: bool  # True: as the stage began with this step; False: after it


@dataclass(frozen=True, slots=True)
class Decided:
    """One problem that a decision was about."""

    id: str
    set_name: str
    decision: str


@dataclass(frozen=True, slots=True)
class Resampling:
    """How many problems of one set got one decision at one step."""

    step: int
    stage: int
    epoch: int
    set_name: str
    decision: str
    problems: int
    before_step: bool  # True: as the stage began with this step; False: after it


@dataclass(frozen=True, slots=True)
class Totals:
    """What one problem came to in the whole run. Groups that began with a prefix count as drawn,
    and their tokens count, but not their answers: they do not show that it was solved alone."""

    id: str
    domain: str
    groups: int
    correct: int
    gradable: int
    generated: int  # tokens


@dataclass(frozen=True, slots=True)
class SetSoFar:
    """One set in the epoch that is under way.

    >>> SetSoFar("math", 10, dropped=2, drawn=5, all_correct=1, tokens=50, solved_tokens=8).in_play
    8
    """

    set_name: str
    problems: int
    dropped: int
    drawn: int  # problems that have come in this epoch
    all_correct: int  # of those, with nothing but correct gradable rollouts
    tokens: int  # generated in this epoch
    solved_tokens: int  # of those, for the problems that are all correct

    @property
    def in_play(self) -> int:
        """Problems that are not dropped."""
        return self.problems - self.dropped


@dataclass(frozen=True, slots=True)
class EpochSoFar:
    """The newest epoch of a run."""

    epoch: int
    stage: int
    last_step: int
    resampled: bool  # True: its resampling is over, and no later epoch has begun
    sets: tuple[SetSoFar, ...]
    shared: int = 0  # problems of more than one set, which count in each
