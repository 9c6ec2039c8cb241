"""Running untrusted programs: the seam, its values, and what implements it.

A job holds a program and its inputs, never an expected output: the caller compares. So a
program gains nothing by reading its own process, lying about equality, or exiting with 0.
The one input that judges by itself, `Asserts`, runs the trusted tests in a process of their
own, which talks to the program over a channel of plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from srpo.types import Json

CaseStatus: TypeAlias = Literal[
    "ok", "failed", "timed_out", "crashed", "too_much_output", "not_plain", "not_run"
]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One input: call `function(*args)` in the loaded program.

    If the program has no such function but a class `Solution` with such a method, that is
    called on a new `Solution()`.

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
class Asserts:
    """One input: trusted tests, run in another process than the program they test.

    `setup` and then `tests` are executed; `entry_point`, and names that neither of them
    defines, are looked up in the untrusted program. If that leaves a function `check`
    (HumanEval) and there is an entry point, it is called with that. The output is `ok` if
    nothing was raised, `failed` if something was.

    >>> Asserts("assert add(1, 2) == 3").entry_point
    ''
    """

    tests: str
    setup: str = ""
    entry_point: str = ""


CaseInput: TypeAlias = FunctionCall | Stdin | Asserts


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    >>> Limits().timeout_s
    2.0
    """

    timeout_s: float = 2.0  # wall time of loading, of each call, and of each script run
    program_timeout_s: float = 20.0  # wall time of all inputs of a job together
    memory_mib: int = 512  # address space of a process
    output_kib: int = 1024  # of one case: the returned value as text, or the standard output


@dataclass(frozen=True, slots=True)
class CaseOutput:
    """What one input led to.

    >>> CaseOutput("ok", value=3).error
    ''
    """

    status: CaseStatus
    value: object = (
        None  # of a function call with status ok: a plain value (see `channel.encoding`)
    )
    stdout: str = ""  # of a script with status ok
    error: str = ""  # in a few words, as the program's process told it: not to be trusted


@dataclass(frozen=True, slots=True)
class Job:
    """One program with all the inputs it is to be run on, in this order.

    `keep_going` is asked in the caller's process after each output (with the input's place from
    0); if it says no, the inputs after it are `not_run`.

    >>> Job("7", "def add(a, b): return a + b", (FunctionCall("add", (1, 2)),)).limits.memory_mib
    512
    """

    id: str  # unique within one call of `run`
    program: str
    inputs: tuple[CaseInput, ...]
    limits: Limits = field(default_factory=Limits)
    keep_going: Callable[[int, CaseOutput], bool] | None = None
    prelude: str = ""  # trusted text, executed before the program in its process: imports


@dataclass(frozen=True, slots=True)
class JobResult:
    """Outputs in the order of the job's inputs; none if the job could not be run.

    >>> JobResult("7", (), infra_error="the sandbox died twice").outputs
    ()
    """

    id: str
    outputs: tuple[CaseOutput, ...]
    infra_error: str = ""  # not empty: says nothing about the program
    seconds: float = 0.0  # wall time of the job, waiting for a server aside


class Sandbox(Protocol):
    """Runs untrusted programs. Safe to call from several threads."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Run all jobs; results come in the order in which the jobs end, by their ids.

        Jobs are taken from the iterable as servers get free, so that an endless one is fine.
        Function calls in a row share one process, in which the program is loaded once; each
        script run has a process of its own. A time-out ends the job: the inputs after it are
        `not_run`, as are those after a `keep_going` that said no. A failure of the sandbox
        itself is a result with `infra_error`, never an exception. A second job of one id:
        ValueError.
        Closing the iterator early waits for the jobs in hand.
        """
        ...

    def describe(self) -> str:
        """One sentence on the isolation in force, and on what is missing."""
        ...

    def close(self) -> None:
        """End all processes. Calling it again does nothing."""
        ...
