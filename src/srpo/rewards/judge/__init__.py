"""Rows with completions -> verdicts, as a stream: `srpo judge`, and for use on its own.

Math and code are checked side by side, in any order; only a few rows are in memory at a time.
Without torch.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Self, TypeVar

from srpo.config.verifier import VerifierConfig
from srpo.rewards.code.jobs import CodeFinding, CodeJob, job_for
from srpo.rewards.code.text import bare_program, extract_program
from srpo.rewards.format import Completion, split_completion
from srpo.rewards.grading import (
    NO_PROGRAM,
    before_verifying,
    limits_of,
    make_sandbox,
    parts_of,
)
from srpo.rewards.judge.lanes import Lane
from srpo.rewards.judge.rows import Judged, JudgeRow, parse_judge_row
from srpo.rewards.math import MathVerifier
from srpo.sandbox import Job, JobResult, Sandbox
from srpo.types import Verdict

Found = TypeVar("Found")

__all__ = ["Judge", "JudgeRow", "Judged", "judge_rows", "parse_judge_row"]

_IN_HAND = 64  # rows that wait in each lane
_MATH_THREADS = 4
_JOBS_A_RUN = 20_000  # a sandbox remembers the ids of a run
_NOT_COMPILED = ("SyntaxError", "IndentationError", "TabError")
_CODE_LINE = re.compile(
    r"^[ \t]*(?:(?:def|class|import|from|for|while|if|try|with|return|async|lambda)\b|@|#|print\b"
    r"|[A-Za-z_][\w.\[\], ]*=)",
    re.MULTILINE,
)


def judge_rows(
    rows: Iterable[Mapping[str, Any] | str | bytes],
    config: VerifierConfig | None = None,
    sandbox: Sandbox | None = None,
) -> Iterator[dict[str, Any]]:
    """A row of `srpo judge` for each row given (a mapping, or JSON text), as they are done.

    Rows are taken as they are needed, so that an endless iterable is fine. A row that cannot be
    judged is `ungradable`, with the reason as its detail. Raises SandboxError if a program is
    to be judged and no sandbox can be had.

    >>> next(judge_rows([{"id": "a", "domain": "math", "completion": "4", "answer": "4"}]))["id"]
    'a'
    """
    with Judge(config, sandbox) as judge:
        numbered = enumerate(rows, start=1)
        for judged in judge.judge(parse_judge_row(row, number) for number, row in numbered):
            yield dict(judged.row())


class Judge:
    """Judges rows of math and code. A context manager; `close` ends its processes.

    A given sandbox stays the caller's to close. Without one, the config's is started with the
    first program; `tell` is then told what isolates it.
    """

    def __init__(
        self,
        config: VerifierConfig | None = None,
        sandbox: Sandbox | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config = config or VerifierConfig.model_validate({})
        self._limits = limits_of(self.config)
        self._tell = tell
        self._owned = sandbox is None
        self.sandbox = sandbox or make_sandbox(self.config)
        workers = self.config.code_workers
        self.math = MathVerifier(self.config.math_timeout_s, stated=True, workers=workers)

    def judge(self, rows: Iterable[JudgeRow | Judged]) -> Generator[Judged, None, None]:
        """A verdict for each row, in the order in which they are found.

        What is judged already passes through. Closing the iterator early waits for the
        programs in hand. Raises what reading a row raises, and SandboxError.
        """
        flow = _Flow(self, rows)
        try:
            yield from flow.results()
        finally:
            flow.stop()

    def begin(self) -> None:
        """Start the sandbox and say what isolates programs. Raises SandboxError."""
        self._tell(self.sandbox.describe())

    def check_math(self, row: JudgeRow) -> Judged:
        """The verdict on a row with a gold answer."""
        start_s = time.monotonic()
        completion = cut(row)
        finding = _form(row, completion)
        if finding is None:
            verdict, note = self.math.check_one(row.answer, completion.answer)
            finding = CodeFinding(verdict, note=note)
        return _judged(row, completion, finding, start_s)

    def program_of(self, row: JudgeRow, id: str) -> tuple[CodeJob, bool] | Judged:
        """The job of a row with tests, and whether its text has no fence; or its verdict.

        `id` is the job's.
        """
        start_s = time.monotonic()
        completion = cut(row)
        bare = bare_program(completion.raw_answer)
        program = extract_program(completion.raw_answer) if bare is None else bare
        form = _form(row, completion)
        if form is None and program is not None:
            run_all = self.config.code_run_all
            return job_for(id, row.tests, program, self._limits, run_all=run_all), bare is not None
        finding = form or CodeFinding(Verdict.NO_ANSWER, note=NO_PROGRAM)
        return _judged(row, completion, finding, start_s)

    def code_verdict(self, row: JudgeRow, made: CodeJob, bare: bool, result: JobResult) -> Judged:
        """What a result of a row's program comes to."""
        finding = made.finding(result)
        completion = cut(row)
        if bare and finding.verdict is Verdict.WRONG and _is_prose(completion.answer, result):
            finding = CodeFinding(
                Verdict.NO_ANSWER, note="the text neither is a program nor contains one"
            )
        judged = _judged(row, completion, finding, None, bare=bare)
        return replace(judged, seconds=result.seconds)

    def close(self) -> None:
        """End all processes that this judge started."""
        self.math.close()
        if self._owned:
            self.sandbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cut(row: JudgeRow) -> Completion:
    """The completion at its tags; one with a closing tag alone began inside the thinking."""
    prefilled = row.prefilled
    if prefilled is None:
        text = row.completion
        prefilled = "<think>" not in text and text.count("</think>") == 1
    return split_completion(row.completion, prefilled_thinking=prefilled)


def _form(row: JudgeRow, completion: Completion) -> CodeFinding | None:
    """The finding that needs no look at the answer."""
    return before_verifying(
        row.domain, row.answer, completion, truncated=row.truncated, thinking_required=False
    )


def _judged(
    row: JudgeRow,
    completion: Completion,
    finding: CodeFinding,
    start_s: float | None,
    *,
    bare: bool = False,
) -> Judged:
    # a program without a fence is all code, and code does not count as a language
    text = completion.thinking if bare else row.completion
    parts = parts_of(finding.verdict, finding.passed_frac, completion, text, row.prompt)
    if parts:
        parts["length_chars"] = float(len(row.completion))
    seconds = 0.0 if start_s is None else time.monotonic() - start_s
    return Judged(row.id, finding.verdict, finding.note, seconds, parts)


def _is_prose(text: str, result: JobResult) -> bool:
    """Whether a text without a fence was no program: it did not compile, and no line is code."""
    error = result.outputs[0].error if result.outputs else ""
    return (
        error.removeprefix("not loaded: ").startswith(_NOT_COMPILED)
        and _CODE_LINE.search(text) is None
    )


class _Flow:
    """The threads between the rows and their verdicts, and the lanes between the threads."""

    def __init__(self, judge: Judge, rows: Iterable[JudgeRow | Judged]) -> None:
        self._judge = judge
        self._rows = rows
        self._math = Lane[JudgeRow](_IN_HAND)
        self._code = Lane[JudgeRow](_IN_HAND)
        self._out = Lane[Judged | BaseException](4 * _IN_HAND)
        self._waiting: dict[str, tuple[JudgeRow, CodeJob, bool]] = {}  # by job
        work = [self._feed, self._run_code, *[self._run_math] * _MATH_THREADS]
        self._running = len(work)
        self._ending = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guarded, args=(step,), name="srpo judge", daemon=True)
            for step in work
        ]

    def results(self) -> Iterator[Judged]:
        """Verdicts as they come. Raises what a thread raised."""
        for thread in self._threads:
            thread.start()
        while (found := self._out.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found

    def stop(self) -> None:
        """Drop what waits, and end the threads after the rows in hand.

        Where a lane is stuck its threads are left behind: they end with the process.
        """
        dropped = [lane.drop() for lane in (self._math, self._code, self._out)]  # all of them
        if not all(dropped):
            return
        for thread in self._threads[1:]:  # the first may be waiting for a row that never comes
            if thread.ident is not None:
                thread.join()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            self._out.put(error)
        with self._ending:
            self._running -= 1
            if not self._running:
                self._out.finish()

    def _feed(self) -> None:
        """Send every row its way."""
        try:
            for row in self._rows:
                lane: Lane[Any] = self._out
                if isinstance(row, JudgeRow):
                    lane = self._math if row.domain == "math" else self._code
                if not lane.put(row):
                    return
        finally:
            self._math.finish()
            self._code.finish()

    def _run_math(self) -> None:
        while (row := self._math.get()) is not None:
            self._out.put(_whatever_happens(row, self._judge.check_math, row))

    def _run_code(self) -> None:
        first = next(jobs := self._jobs(), None)
        if first is None:
            return
        self._judge.begin()
        try:
            while first is not None:
                if not self._run_jobs(chain([first], islice(jobs, _JOBS_A_RUN - 1))):
                    return
                first = next(jobs, None)
        finally:
            self._give_up_waiting()

    def _run_jobs(self, jobs: Iterator[Job]) -> bool:
        """Run these jobs; False if nobody wants verdicts any more."""
        for result in self._judge.sandbox.run(jobs):
            row, made, bare = self._waiting.pop(result.id)
            verdict = self._judge.code_verdict
            if not self._out.put(_whatever_happens(row, verdict, row, made, bare, result)):
                return False
        self._give_up_waiting()
        return True

    def _give_up_waiting(self) -> None:
        """A job that the sandbox lost is no reason to leave its row without a verdict."""
        for row, _, _ in self._waiting.values():
            self._out.put(_failed(row, "the sandbox gave no result"))
        self._waiting.clear()

    def _jobs(self) -> Iterator[Job]:
        """Jobs as the sandbox asks for them; rows without a program are done at once."""
        number = 0
        while (row := self._code.get()) is not None:
            number += 1
            made = _whatever_happens(row, self._judge.program_of, row, str(number))
            if isinstance(made, Judged):
                self._out.put(made)
                continue
            self._waiting[made[0].job.id] = (row, *made)
            yield made[0].job


def _whatever_happens(
    row: JudgeRow, check: Callable[..., Found], *arguments: Any
) -> Found | Judged:
    """What the check found; a failure of the check itself is the row's verdict, never raised."""
    try:
        return check(*arguments)
    except Exception as error:  # noqa: BLE001 - a border: what fails becomes a named verdict
        return _failed(row, f"the check failed: {type(error).__name__}: {error}")


def _failed(row: JudgeRow, detail: str) -> Judged:
    return Judged(row.id, Verdict.INFRA_ERROR, detail[:300])
