"""Programs run by a service: the sandbox seam over HTTP, in SandboxFusion's protocol.

One POST to {url}/run_code runs one process. A script is sent as it is. All function calls of a
job are one process, whose driver (`driver`) tells each value on a line of its own. What
an outage leads to is an infrastructure error, never an output: it must not look like a wrong
answer.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from srpo.errors import InfraError, SandboxError
from srpo.sandbox import (
    Asserts,
    CaseInput,
    CaseOutput,
    FunctionCall,
    Job,
    JobResult,
    Limits,
    Stdin,
)
from srpo.sandbox.remote.answers import (
    Ran,
    call_outputs,
    is_complete,
    num_bytes,
    ran_of,
    ran_too_long,
    script_output,
)
from srpo.sandbox.remote.http import (
    AnswerTooLargeError,
    RequestError,
    address_of,
    post_json,
    printable,
)

NO_ASSERTS = (
    "assert tests cannot be run on a remote sandbox: its protocol runs one process, which the "
    "tests would have to share with the program; use a sandbox on this machine"
)
_SANDBOX = Path(__file__).parents[1]
_PROBE = "import sys\nprint(sys.version.split()[0], int(input()) * 7)\n"
_FIXED_BYTES = 64 << 10  # of an answer beside the program's own output
_MOST_BYTES = 64 << 20  # of any answer


class RemoteSandbox:
    """Runs programs on a SandboxFusion service, up to `workers` at once.

    Differences from the sandbox of this machine. Assert tests cannot be run: ask `supports`.
    How far programs are isolated, from the service and from each other, is the service's own
    matter (in its own default configuration, not at all). The seed of `hash()` is the service's.
    A standard output of `whole_output_kib` or more is an infrastructure error, because the
    service cuts such outputs without a word (its issue 62).

    Every request has a deadline: its time limit, `startup_s` for starting Python there, and
    `wait_s` for the network and for waiting in the service's queue. One that fails is sent once
    more after `backoff_s`, unless the service refused it for good (most of HTTP 4xx). Raises
    SandboxError at once for a URL that cannot be used.

    >>> RemoteSandbox("http://127.0.0.1:8080").supports(Stdin("1"))
    True
    """

    def __init__(
        self,
        url: str,
        workers: int = 8,
        *,
        startup_s: float = 0.5,
        wait_s: float = 30.0,
        backoff_s: float = 0.5,
        whole_output_kib: int = 128,
    ) -> None:
        if workers < 1:
            raise SandboxError(f"a remote sandbox needs at least 1 worker, not {workers}")
        self._address = address_of(url)
        self._url, self._workers = url, workers
        self._startup_s, self._wait_s, self._backoff_s = startup_s, wait_s, backoff_s
        self._whole_bytes = whole_output_kib << 10
        self._slots = threading.BoundedSemaphore(workers)  # over all threads that call `run`
        self._description = ""

    def supports(self, case: CaseInput) -> bool:
        """Whether such an input can be run: all but `Asserts`."""
        return not isinstance(case, Asserts)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Run all jobs; see `Sandbox.run`. The iterable is read in the caller's thread."""
        ids: set[str] = set()
        source, stop = iter(jobs), threading.Event()
        ended: queue.SimpleQueue[JobResult | BaseException] = queue.SimpleQueue()
        num_running = 0
        with ThreadPoolExecutor(self._workers, thread_name_prefix="srpo-remote") as pool:
            try:
                while True:
                    while num_running < self._workers and (job := next(source, None)) is not None:
                        if job.id in ids:
                            raise ValueError(f"two jobs have the same id: {job.id!r}")
                        ids.add(job.id)
                        pool.submit(self._run_into, job, stop, ended)
                        num_running += 1
                    if num_running == 0:
                        return
                    result = ended.get()
                    num_running -= 1
                    if isinstance(result, BaseException):
                        raise result
                    yield result
            finally:
                stop.set()  # jobs in hand end after the request that they wait for

    def _run_into(
        self,
        job: Job,
        stop: threading.Event,
        ended: queue.SimpleQueue[JobResult | BaseException],
    ) -> None:
        run = _JobRun(job)
        try:
            self._run_job(run, stop)
            ended.put(JobResult(job.id, tuple(run.outputs), seconds=run.spent_s))
        except InfraError as error:
            ended.put(JobResult(job.id, (), infra_error=str(error), seconds=run.spent_s))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            ended.put(error)

    def _run_job(self, run: _JobRun, stop: threading.Event) -> None:
        if not all(self.supports(item) for item in run.job.inputs):
            raise InfraError(NO_ASSERTS)
        for place, item in enumerate(run.job.inputs):
            if run.is_over:
                run.outputs.append(CaseOutput("not_run"))
                continue
            if stop.is_set():
                raise InfraError("the caller left before the job was done")
            output = self._run_input(run, item, stop)
            run.outputs.append(output)
            run.is_over = output.status == "timed_out" or _is_enough(run.job, place, output)

    def _run_input(self, run: _JobRun, item: CaseInput, stop: threading.Event) -> CaseOutput:
        if isinstance(item, FunctionCall):
            if not run.calls:
                run.calls = self._run_calls(run, stop)
            return run.calls.pop(0)
        assert isinstance(item, Stdin)
        if not _is_unicode(run.job.program) or not _is_unicode(run.job.prelude):
            return CaseOutput("crashed", error="the program is not valid Unicode")
        if not _is_unicode(item.text):
            raise InfraError("the input is not valid Unicode, which the protocol cannot send")
        max_bytes = run.job.limits.output_kib << 10
        ran = self._run_process(
            run, _script(run.job), item.text, stop, num_parts=1, max_bytes=max_bytes
        )
        if num_bytes(ran.stdout) >= self._whole_bytes:
            raise InfraError(self._cut_text())
        return script_output(ran, max_bytes)

    def _run_calls(self, run: _JobRun, stop: threading.Event) -> list[CaseOutput]:
        calls = [item for item in run.job.inputs if isinstance(item, FunctionCall)]
        mark = f"srpo-{secrets.token_hex(16)}:"
        max_bytes = run.job.limits.output_kib << 10
        ran = self._run_process(
            run,
            _driver(run.job, calls, mark),
            "",
            stop,
            num_parts=len(calls) + 1,
            max_bytes=max_bytes * len(calls),
        )
        if num_bytes(ran.stdout) >= self._whole_bytes and not is_complete(ran, mark):
            raise InfraError(self._cut_text())
        return call_outputs(ran, mark, len(calls))

    def _cut_text(self) -> str:
        return (
            f"the service reported {self._whole_bytes >> 10} KiB of output or more, which it is "
            "known to cut silently; use a sandbox on this machine for such programs"
        )

    def _run_process(
        self,
        run: _JobRun,
        code: str,
        stdin: str,
        stop: threading.Event,
        *,
        num_parts: int,
        max_bytes: int,
    ) -> Ran:
        """One process: `num_parts` things are done in it, each with a time limit of its own."""
        limits = run.job.limits
        left_s = limits.program_timeout_s - run.spent_s
        if left_s <= 0:
            return Ran("timed_out", return_code=-1, stdout="", stderr="", seconds=0.0)
        run_timeout_s = min(limits.timeout_s * num_parts, left_s) + self._startup_s
        message = {
            "code": code,
            "language": "python",
            "stdin": stdin,
            "compile_timeout": limits.timeout_s,
            "run_timeout": run_timeout_s,
            "memory_limit_MB": limits.memory_mib,
        }
        # In JSON a byte of output may take six (\u0001); standard error has the same room.
        cap = min(_FIXED_BYTES + 12 * max_bytes, _MOST_BYTES)
        with self._slots:
            ran = self._asked_twice(message, run_timeout_s + self._wait_s, cap, stop)
        run.spent_s += min(ran.seconds, run_timeout_s)
        return ran

    def _asked_twice(
        self, message: object, timeout_s: float, max_bytes: int, stop: threading.Event
    ) -> Ran:
        try:
            return self._asked(message, timeout_s, max_bytes)
        except RequestError as error:
            if not error.again or stop.wait(self._backoff_s):
                raise InfraError(f"{error} ({self._url})") from None
        try:
            return self._asked(message, timeout_s, max_bytes)
        except RequestError as error:
            raise InfraError(f"{error}, twice ({self._url})") from None

    def _asked(self, message: object, timeout_s: float, max_bytes: int) -> Ran:
        deadline_s = time.monotonic() + timeout_s
        try:
            answer = post_json(
                self._address, "/run_code", message, deadline_s=deadline_s, max_bytes=max_bytes
            )
        except AnswerTooLargeError as error:
            return ran_too_long(error)
        return ran_of(answer)

    def describe(self) -> str:
        """One sentence. Runs a program there first; SandboxError if that does not work."""
        if not self._description:
            job = Job("probe", _PROBE, (Stdin("6\n"),), Limits(timeout_s=10.0))
            (result,) = self.run([job])
            words = result.outputs[0].stdout.split() if result.outputs else []
            if len(words) != 2 or words[1] != "42":
                reason = result.infra_error or f"it did not run a small program: {result.outputs}"
                raise SandboxError(f"the remote sandbox cannot be used: {reason}"[:400])
            self._description = (
                f"Programs run on the service at {self._url} (Python {printable(words[0])}), as "
                "isolated as that service makes them, which cannot be seen from here; assert "
                "tests cannot be run there."
            )
        return self._description

    def close(self) -> None:
        """Nothing is held between requests, so there is nothing to end."""


@dataclass(slots=True)
class _JobRun:
    """A job on its way."""

    job: Job
    outputs: list[CaseOutput] = field(default_factory=list)
    calls: list[CaseOutput] = field(default_factory=list)  # of calls whose turn is still to come
    spent_s: float = 0.0  # as the service measured it
    is_over: bool = False


def _is_enough(job: Job, place: int, output: CaseOutput) -> bool:
    """Whether the caller wants no more; it is not asked about what was not run."""
    if job.keep_going is None or output.status == "not_run":
        return False
    return not job.keep_going(place, output)


def _is_unicode(text: str) -> bool:
    """Whether the text is free of lone surrogates, which the service refuses."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _script(job: Job) -> str:
    """The program as it is, or one that runs the imports first and then the program."""
    if not job.prelude:
        return job.program
    parts = ((job.prelude, "<prelude>"), (job.program, "<program>"))
    return "".join(
        f"exec(compile({text!a}, {name!r}, 'exec', dont_inherit=True))\n" for text, name in parts
    )


def _driver(job: Job, calls: Sequence[FunctionCall], mark: str) -> str:
    request = json.dumps(
        {
            "mark": mark,
            "prelude": job.prelude,
            "program": job.program,
            "calls": [(call.function, json.dumps(call.args)) for call in calls],
            "timeout_s": job.limits.timeout_s,
            "max_bytes": job.limits.output_kib << 10,
        }
    )
    return f"{_driver_text()}\nsys.modules['srpo.sandbox.remote.driver'].run_calls({request!a})\n"


@cache
def _driver_text() -> str:
    """A script that makes the two modules which the driver consists of, out of their text."""
    lines = ["import sys, types"]
    for name in ("channel.encoding", "remote.driver"):
        path = _SANDBOX / f"{name.replace('.', '/')}.py"
        text = path.read_text(encoding="utf-8")
        lines += [
            f"module = sys.modules['srpo.sandbox.{name}'] = types.ModuleType('{name}')",
            f"exec(compile({text!a}, '{name}', 'exec'), module.__dict__)",
        ]
    return "\n".join(lines)
