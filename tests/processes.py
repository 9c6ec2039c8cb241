"""Programs and tests in processes of their own, without any isolation: only for programs of ours.

The sandbox does the same behind its fences. Here a test can also put any code of its own in the
place of the program's process.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from srpo.sandbox.channel.model_side import serve
from srpo.sandbox.channel.tests_side import run_asserts
from srpo.sandbox.channel.tests_text import TestText

MEMORY_BYTES = 1 << 30


def address_space_bytes() -> int:
    """What this process has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def fork(body: Callable[[], None]) -> int:
    """Run `body` in a process of its own that has no other way out."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            most = address_space_bytes() + MEMORY_BYTES  # a fork of a test run may be large
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            body()
        finally:
            os._exit(0)
    return pid


@contextmanager
def model(
    program: str | Callable[[int], None], prelude: str = "", max_bytes: int = 1 << 20
) -> Iterator[int]:
    """Our end of a channel whose other end serves a program (or runs a function of a test)."""
    ours, theirs = socket.socketpair()

    def body() -> None:
        ours.close()
        if isinstance(program, str):
            serve(theirs.fileno(), program, prelude, max_bytes)
        else:
            program(theirs.fileno())

    pid = fork(body)
    theirs.close()
    try:
        yield ours.fileno()
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def asserts(
    program: str | Callable[[int], None],
    tests: str,
    *,
    setup: str = "",
    entry_point: str = "",
    call_timeout_s: float = 5.0,
    prelude: str = "",
) -> tuple[str, str]:
    """Status and error of `run_asserts` in a process of its own."""
    try:
        prepared = TestText(setup, tests, entry_point).prepared()
    except SyntaxError as unreadable:
        return "failed", f"SyntaxError: {unreadable}"
    with model(program, prelude) as fd:
        reader, writer = os.pipe()  # after the program's process, which must not hold it

        def body() -> None:
            verdict = run_asserts(fd, prepared, call_timeout_s=call_timeout_s, max_bytes=1 << 20)
            os.write(writer, json.dumps(verdict).encode())

        pid = fork(body)
        os.close(writer)
        with open(reader, "rb") as file:  # noqa: PTH123 - a descriptor
            told = file.read()
        os.waitpid(pid, 0)
    status, error = json.loads(told)
    return status, error
