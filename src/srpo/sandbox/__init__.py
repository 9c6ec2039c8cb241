"""Running untrusted programs: the seam, its values, and what implements it.

A job holds a program and its inputs, never an expected output: the caller compares. So a
program gains nothing by reading its own process, lying about equality, or exiting with 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from srpo.types import Json

CaseStatus: TypeAlias = Literal[
    "ok", "timed_out", "crashed", "too_much_output", "not_plain", "not_run"
]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One input: call `function(*args)` in the loaded program.

    >>> FunctionCall("add", (1, 2)).args
    (1, 2)
    """

    function: str
    args: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Stdin:
    r"""One input: run the program as a script that reads this text.

    >>> Stdin("1 2\n").text
    '1 2\n'
    """

    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    >>> Limits().timeout_s
    2.0
    """

    timeout_s: float = 2.0  # wall time of loading, of each call, and of each script run
    memory_mib: int = 512  # address space
    output_kib: int = 64  # of one case: the returned value as text, or the standard output


@dataclass(frozen=True, slots=True)
class Job:
    """One program with all the inputs it is to be run on.

    >>> Job("7", "def add(a, b): return a + b", (FunctionCall("add", (1, 2)),)).limits.memory_mib
    512
    """

    id: str  # unique within one call of `run`
    program: str
    inputs: tuple[FunctionCall | Stdin, ...]
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class CaseOutput:
    """What one input led to.

    >>> CaseOutput("ok", value=3).error
    ''
    """

    status: CaseStatus
    value: object = None  # of a function call with status ok: a plain value (see `wire`)
    stdout: str = ""  # of a script with status ok
    error: str = ""  # in a few words, as the program's process told it: not to be trusted


@dataclass(frozen=True, slots=True)
class JobResult:
    """Outputs in the order of the job's inputs; none if the job could not be run.

    >>> JobResult("7", (), infra_error="the sandbox died twice").outputs
    ()
    """

    id: str
    outputs: tuple[CaseOutput, ...]
    infra_error: str = ""  # not empty: says nothing about the program


class Sandbox(Protocol):
    """Runs untrusted programs. Safe to call from several threads."""

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Run all jobs; results in the order of the jobs.

        Function calls share one process, in which the program is loaded once; each script run
        has a process of its own. A time-out ends the job: the inputs after it are `not_run`,
        as are the calls after one that ended the process. A failure of the sandbox itself is
        a result with `infra_error`, never an exception. Two jobs with one id: ValueError.
        """
        ...

    def describe(self) -> str:
        """One sentence on the isolation in force, and on what is missing."""
        ...

    def close(self) -> None:
        """End all processes. Calling it again does nothing."""
        ...


def check_ids(jobs: Sequence[Job]) -> None:
    """Raise ValueError if two jobs share an id."""
    if len({job.id for job in jobs}) != len(jobs):
        raise ValueError("two jobs have the same id")
