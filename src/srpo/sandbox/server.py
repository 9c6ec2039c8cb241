"""The warm fork server: one process that forks a confined child for every program.

Only the standard library. Started by `forkserver.py` through `boot.py`; reads one job after
another from descriptor 0 and answers on descriptor 1. A job holds a program and its inputs,
never an expected output. The messages are described in `forkserver.py`.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from srpo.sandbox.children import Child, start_child
from srpo.sandbox.confine import Confinement, raise_stack_limit
from srpo.sandbox.program import redirect, run_functions, run_script
from srpo.sandbox.wire import HEADER, receive_message, send_message, write_all

_PRELOADED = (
    "abc array ast bisect calendar cmath collections contextlib copy dataclasses datetime "
    "decimal enum fractions functools heapq itertools math numbers operator queue random re "
    "statistics string struct textwrap time traceback types typing unicodedata"
)
_MAX_ERROR_CHARS = 300
_STATUS_OF_FRAME = {b"v": "ok", b"n": "not_plain", b"m": "too_much_output", b"e": "crashed"}
_KINDS = {b"l", b"x", *_STATUS_OF_FRAME}  # l: loaded; x: could not be loaded
_FRAME_SLACK_BYTES = 1024
_REHEARSAL = {"timeout_s": 2.0, "memory_mib": 512}
_REHEARSED, _REHEARSAL_S = b"ok", 10.0

Outcome = dict[str, str]  # status, value (JSON text) or stdout, error


def _outcome(status: str, *, value: str = "", stdout: str = "", error: str = "") -> Outcome:
    return {"status": status, "value": value, "stdout": stdout, "error": error}


class _Frames:
    """Cuts what a child writes into frames; the child may write anything."""

    def __init__(self, max_body_bytes: int) -> None:
        self._buffer = bytearray()
        self._max_body_bytes = max_body_bytes
        self._loaded = False  # a second such frame would only buy time

    def add(self, data: bytes) -> list[tuple[bytes, str]]:
        """The frames completed by these bytes. Raises ValueError if they are damaged."""
        self._buffer += data
        frames: list[tuple[bytes, str]] = []
        while len(self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer)
            again = kind in b"lx" and self._loaded
            if kind not in _KINDS or length > self._max_body_bytes or again:
                raise ValueError("wrote to the channel of results")
            if len(self._buffer) < HEADER.size + length:
                break
            body = bytes(self._buffer[HEADER.size : HEADER.size + length])
            del self._buffer[: HEADER.size + length]
            self._loaded = self._loaded or kind in b"lx"
            frames.append((kind, body.decode("utf-8", "replace")))
        return frames


class Server:
    """Runs jobs one at a time, each in new processes, in one scratch folder that is wiped."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.confinement = Confinement(scratch)
        self.null_fd = os.open(os.devnull, os.O_RDWR)

    def run(self, job: dict[str, Any]) -> list[Outcome]:
        """Outcomes of the job's inputs, in order. After a time-out the rest is not run."""
        outcomes: list[Outcome] = []
        if job["calls"]:
            outcomes += self._run_functions(job)
            self._wipe()
        for text in job["stdin"]:
            if outcomes and outcomes[-1]["status"] in ("timed_out", "not_run"):
                outcomes.append(_outcome("not_run"))
                continue
            outcomes.append(self._run_script(job, text))
            self._wipe()
        return outcomes

    def rehearse(self) -> str:
        """Confine a child that runs nothing; "" if that works, else why not.

        Found here, once, it is the machine's fault; later it would look like the program's.
        """

        def body(write_fd: int) -> None:
            try:
                self._enter(_REHEARSAL)
            except (OSError, ValueError) as error:
                write_all(write_fd, f"{type(error).__name__}: {error}".encode())
            else:
                write_all(write_fd, _REHEARSED)

        child = start_child(body)
        said = child.read(time.monotonic() + _REHEARSAL_S)
        child.end(0.0)
        if said == _REHEARSED:
            return ""
        return (said or b"").decode("utf-8", "replace") or "it ended without a word"

    def _enter(self, job: dict[str, Any]) -> None:
        os.chdir(self.scratch)
        self.confinement.apply(job["timeout_s"], job["memory_mib"])

    def _run_functions(self, job: dict[str, Any]) -> list[Outcome]:
        max_bytes, calls = job["output_bytes"], job["calls"]

        def body(write_fd: int) -> None:
            rules = self.confinement.rules_fd
            kept = [write_fd] + ([rules] if rules >= 0 else [])
            fds = redirect([self.null_fd, self.null_fd, self.null_fd, *kept])
            self.confinement.rules_fd = fds[1] if rules >= 0 else -1
            self._enter(job)
            run_functions(job["program"], calls, fds[0], max_bytes)

        child = start_child(body)
        outcomes, error = self._collect(child, job)
        if len(outcomes) < len(calls):
            status = "timed_out" if error == "" else "crashed"
            outcomes.append(_outcome(status, error=error))
        outcomes += [_outcome("not_run")] * (len(calls) - len(outcomes))
        return outcomes

    def _collect(self, child: Child, job: dict[str, Any]) -> tuple[list[Outcome], str]:
        """At most one outcome a call, and why there are no more; "" is a time-out."""
        outcomes: list[Outcome] = []
        frames = _Frames(2 * job["output_bytes"] + _FRAME_SLACK_BYTES)
        num_calls, error = len(job["calls"]), ""
        deadline_s = time.monotonic() + job["timeout_s"]
        while len(outcomes) < num_calls and not error:
            data = child.read(deadline_s)
            if not data:
                return outcomes, _ending(child.end(deadline_s if data == b"" else 0.0))
            try:
                new = frames.add(data)
            except ValueError as damage:
                new, error = [], str(damage)
            for kind, text in new:  # each frame starts the clock of the next call
                deadline_s = time.monotonic() + job["timeout_s"]
                if kind == b"x":
                    error = text[:_MAX_ERROR_CHARS] or "the program cannot be loaded"
                elif kind != b"l":
                    outcomes.append(_of_frame(kind, text))
        child.end(0.0)
        return outcomes[:num_calls], error

    def _run_script(self, job: dict[str, Any], stdin: str) -> Outcome:
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as errors:
            write_all(source.fileno(), stdin.encode("utf-8", "surrogatepass"))
            os.lseek(source.fileno(), 0, os.SEEK_SET)

            def body(write_fd: int) -> None:
                rules = self.confinement.rules_fd
                kept = [rules] if rules >= 0 else []
                fds = redirect([source.fileno(), write_fd, errors.fileno(), *kept])
                self.confinement.rules_fd = fds[0] if kept else -1
                self._enter(job)
                os._exit(run_script(job["program"]))

            outcome = _read_stdout(start_child(body), job)
            if outcome["status"] == "crashed":
                text = _tail(errors.fileno()) or outcome["error"]
                outcome["error"] = text[-_MAX_ERROR_CHARS:]
            return outcome

    def _wipe(self) -> None:
        """Remove what the program left behind. The folder itself stays."""
        with os.scandir(self.scratch) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _of_frame(kind: bytes, text: str) -> Outcome:
    if kind == b"v":
        return _outcome("ok", value=text)
    return _outcome(_STATUS_OF_FRAME[kind], error=text[:_MAX_ERROR_CHARS])


def _read_stdout(child: Child, job: dict[str, Any]) -> Outcome:
    deadline_s = time.monotonic() + job["timeout_s"]
    output = bytearray()
    while data := child.read(deadline_s):
        output += data
        if len(output) > job["output_bytes"]:
            child.end(0.0)
            return _outcome("too_much_output")
    code = child.end(deadline_s if data == b"" else 0.0)
    if code != 0:
        error = _ending(code)
        return _outcome("crashed", error=error) if error else _outcome("timed_out")
    return _outcome("ok", stdout=output.decode("utf-8", "replace"))


def _ending(code: int | None) -> str:
    """How a process ended, in a few words; "" if it was out of time."""
    if code is None or -code == signal.SIGXCPU:
        return ""
    return f"ended with exit status {code}" if code >= 0 else f"ended by signal {-code}"


def _tail(fd: int) -> str:
    size = os.fstat(fd).st_size
    text = os.pread(fd, _MAX_ERROR_CHARS, max(0, size - _MAX_ERROR_CHARS))
    return text.decode("utf-8", "replace").strip()


def serve() -> None:
    """Answer jobs until the parent closes its end."""
    scratch = Path(tempfile.mkdtemp(prefix="srpo-sandbox-"))
    tempfile.tempdir = str(scratch)  # the programs' temporary files land there too
    raise_stack_limit()
    try:
        server = Server(scratch)
        for name in _PRELOADED.split():
            importlib.import_module(name)
        for name in [name for name in sys.modules if name.split(".")[0] == "srpo"]:
            del sys.modules[name]  # a program cannot import the grader
        gc.collect()
        gc.freeze()  # children do not touch, and so do not copy, these pages
        failure = server.rehearse()
        hello = {"missing": server.confinement.missing, "failed": failure, "scratch": str(scratch)}
        send_message(1, hello)
        while True:
            try:
                job = receive_message(0)
            except EOFError:
                return
            send_message(1, server.run(cast(dict[str, Any], job)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
