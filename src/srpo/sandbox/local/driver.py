"""One job on the servers of one worker: the program's processes, time-outs, early ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

from srpo.sandbox import Asserts, CaseInput, CaseOutput, FunctionCall, Job, Limits, Stdin
from srpo.sandbox.channel.tests_text import TestText
from srpo.sandbox.local import memory_files
from srpo.sandbox.local.caller import Caller
from srpo.sandbox.local.client import Ending, ServerClient, Use, script_payload

_MAX_ERROR_CHARS = 300
_STDERR_BYTES = 1 << 16
_VERDICT_BYTES = 4096
_NOT_RUN = CaseOutput("not_run")
_MAX_PROGRAM_CHARS = 4 << 20  # what takes longer to read than to refuse


class Worker:
    """The servers of one worker, started when first needed: one for programs, one for tests."""

    def __init__(self, start: Callable[[], ServerClient]) -> None:
        self._start = start
        self._program: ServerClient | None = None
        self._tests: ServerClient | None = None

    @property
    def program_server(self) -> ServerClient:
        """Runs untrusted programs. Raises SandboxError if it cannot start."""
        if self._program is None:
            self._program = self._start()
        return self._program

    @property
    def tests_server(self) -> ServerClient:
        """Runs trusted tests. Raises SandboxError if it cannot start."""
        if self._tests is None:
            self._tests = self._start()
        return self._tests

    def pids(self) -> list[int]:
        """Process ids of the servers that run now."""
        return [server.pid for server in (self._program, self._tests) if server is not None]

    def close(self) -> None:
        """End the servers; a later job starts new ones."""
        for server in (self._program, self._tests):
            if server is not None:
                server.close()
        self._program = self._tests = None

    def run(self, job: Job) -> tuple[CaseOutput, ...]:
        """Outputs of the job's inputs, in order. Raises ServerDiedError, SandboxError."""
        if len(job.program) > _MAX_PROGRAM_CHARS and job.inputs:
            what = f"a program of {len(job.program)} characters is not read"
            return (CaseOutput("crashed", error=what), *[_NOT_RUN] * (len(job.inputs) - 1))
        deadline_s = time.monotonic() + job.limits.program_timeout_s
        outputs: list[CaseOutput] = []
        functions = _Functions(self, job, deadline_s)
        try:
            for place, item in enumerate(job.inputs):
                output = self._output(job, item, functions, deadline_s)
                outputs.append(output)
                stop = output.status in ("timed_out", "not_run")
                if stop or not (job.keep_going is None or job.keep_going(place, output)):
                    break
        finally:
            functions.end()
        return (*outputs, *[_NOT_RUN] * (len(job.inputs) - len(outputs)))

    def _output(
        self, job: Job, item: CaseInput, functions: _Functions, deadline_s: float
    ) -> CaseOutput:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return CaseOutput("timed_out", error="the time of the whole program was up")
        if isinstance(item, FunctionCall):
            return functions.call(item)
        functions.end()  # a server runs one program at a time
        limits = replace(job.limits, timeout_s=min(job.limits.timeout_s, left_s))
        if isinstance(item, Stdin):
            return _run_script(self.program_server, job, item, limits)
        return _run_asserts(self, job, item, limits, left_s)


def _use(limits: Limits, timeout_s: float) -> Use:
    return Use(timeout_s, limits.memory_mib, file_bytes=limits.output_kib << 10)


@contextlib.contextmanager
def _streams(stdin: bytes = b"") -> Iterator[list[int]]:
    """Descriptors of a program's input, output and errors."""
    fds = [memory_files.sealed(stdin), memory_files.empty(), memory_files.empty()]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@contextlib.contextmanager
def _nowhere() -> Iterator[list[int]]:
    """The same for a process whose input and output are nobody's business."""
    fd = os.open(os.devnull, os.O_RDWR)
    try:
        yield [fd] * 3
    finally:
        os.close(fd)


def _run_script(server: ServerClient, job: Job, item: Stdin, limits: Limits) -> CaseOutput:
    with _streams(item.text.encode("utf-8", "surrogatepass")) as fds:
        payload = script_payload(job.program, job.prelude)
        server.start("script", payload, _use(limits, limits.timeout_s), fds)
        ending = server.wait()
        return _script_output(ending, fds[1], fds[2], limits)


def _script_output(ending: Ending, stdout_fd: int, stderr_fd: int, limits: Limits) -> CaseOutput:
    failure = _failure(ending)
    if failure is not None and failure.status == "timed_out":
        return failure
    written = memory_files.content(stdout_fd, limits.output_kib << 10)
    full = ending.exit_code != 0 and os.fstat(stdout_fd).st_size >= limits.output_kib << 10
    if written is None or full:
        return CaseOutput("too_much_output")
    if failure is not None:
        said = memory_files.tail(stderr_fd, _STDERR_BYTES)[-_MAX_ERROR_CHARS:]
        return replace(failure, error=said or failure.error)
    return CaseOutput("ok", stdout=written.decode("utf-8", "replace"))


def _failure(ending: Ending) -> CaseOutput | None:
    """What an ending says against the program; None for a clean one."""
    if ending.killed == "timeout" or ending.exit_code == -signal.SIGXCPU:
        return CaseOutput("timed_out")
    if ending.killed == "scratch":
        return CaseOutput("crashed", error="it wrote too many files")
    if ending.exit_code == 0:
        return None
    if ending.exit_code < 0:
        return CaseOutput("crashed", error=f"ended by signal {-ending.exit_code}")
    return CaseOutput("crashed", error=f"ended with exit status {ending.exit_code}")


class _Functions:
    """The process in which a job's functions are called; started with the first call."""

    def __init__(self, worker: Worker, job: Job, deadline_s: float) -> None:
        self._worker = worker
        self._job = job
        self._deadline_s = deadline_s
        self._server: ServerClient | None = None  # while the process runs
        self._channel: socket.socket | None = None
        self._caller: Caller | None = None
        self._not_loaded: CaseOutput | None = None

    def call(self, item: FunctionCall) -> CaseOutput:
        """The output of one call; of the loading, if that failed."""
        if self._caller is None:
            self._not_loaded = self._load()
        if self._not_loaded is not None or self._caller is None:
            return self._not_loaded or _NOT_RUN
        return self._caller.call(item, self._by())

    def _by(self) -> float:
        return min(time.monotonic() + self._job.limits.timeout_s, self._deadline_s)

    def _load(self) -> CaseOutput | None:
        """Start the process and load the program; what to answer if that fails."""
        job, server = self._job, self._worker.program_server
        max_bytes = job.limits.output_kib << 10
        self._channel, theirs = socket.socketpair()
        with theirs, _nowhere() as streams:
            use = _use(job.limits, max(0.0, self._deadline_s - time.monotonic()) + 1.0)
            payload = _model_payload(job, max_bytes)
            server.start("model", payload, use, [*streams, theirs.fileno()])
        self._server = server
        self._caller = Caller(self._channel.fileno(), max_bytes)
        return self._caller.wait_loaded(self._by())

    def end(self) -> None:
        """End the process; a later call starts another."""
        if self._channel is not None:
            self._channel.close()
        server, self._server, self._channel, self._caller = self._server, None, None, None
        if server is not None:
            server.stop()
            server.wait()


def _model_payload(job: Job, max_bytes: int) -> bytes:
    asked = {"program": job.program, "prelude": job.prelude, "max_bytes": max_bytes}
    return json.dumps(asked).encode()


@lru_cache(maxsize=512)
def _prepared(item: Asserts) -> bytes:
    """The tests of one problem are run against many programs."""
    return TestText(item.setup, item.tests, item.entry_point).prepared()


def _run_asserts(
    worker: Worker, job: Job, item: Asserts, limits: Limits, left_s: float
) -> CaseOutput:
    """Program and trusted tests side by side, each in a process of its own server."""
    max_bytes = limits.output_kib << 10
    try:
        prepared = _prepared(item)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return CaseOutput("failed", error=f"the tests cannot be read: {error}"[:_MAX_ERROR_CHARS])
    asked = json.dumps({"call_timeout_s": limits.timeout_s, "max_bytes": max_bytes})
    tests = asked.encode() + b"\n" + prepared
    program = _model_payload(job, max_bytes)
    program_server, tests_server = worker.program_server, worker.tests_server
    verdict_fd, write_fd = os.pipe()
    one, other = socket.socketpair()
    try:
        with one, other, _nowhere() as streams:
            fds = [*streams, one.fileno(), write_fd]
            tests_server.start("tests", tests, _use(limits, left_s), fds)
            use = _use(limits, left_s + 1.0)
            program_server.start("model", program, use, [*streams, other.fileno()])
        os.close(write_fd)
        write_fd = -1
        ending = tests_server.wait()
        program_server.stop()
        program_server.wait()
        return _verdict(ending, verdict_fd)
    finally:
        os.close(verdict_fd)
        if write_fd >= 0:
            os.close(write_fd)


def _verdict(ending: Ending, verdict_fd: int) -> CaseOutput:
    """What the tests' process said. Only its own word counts, never how it ended."""
    if ending.killed == "timeout":
        return CaseOutput("timed_out", error="the time of the whole program was up")
    said = os.read(verdict_fd, _VERDICT_BYTES)
    if not said:
        failure = _failure(ending) or CaseOutput("failed")
        return CaseOutput(
            "failed", error=f"the tests ended without a verdict {failure.error}".strip()
        )
    status, error = json.loads(said)
    return CaseOutput(status, error=str(error)[:_MAX_ERROR_CHARS])
