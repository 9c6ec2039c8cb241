"""Run one untrusted program inside its own, already confined process.

Only the standard library. Nothing here is a secret from the program, and nothing it could do
to this code helps it: the expected outputs are not in this process.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import random
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from typing import Any

from srpo.sandbox.wire import HEADER, NotPlainError, TooLargeError, encode_value, write_all

_MAX_ERROR_CHARS = 200
_LIFTED_FD, _MAX_FD = 200, 1 << 16


def _fresh_module(name: str) -> types.ModuleType:
    """A registered module: dataclasses and pickle look theirs up by name."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    if type(error).__module__ != "builtins":  # its own __str__ may do anything
        return name[:_MAX_ERROR_CHARS]
    return f"{name}: {error}"[:_MAX_ERROR_CHARS]


class _Reporter:
    """Sends frames: l loaded, x not loaded, v value, n not plain, m too much output, e error."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, kind: bytes, text: str = "") -> None:
        body = text.encode("utf-8", "replace")
        write_all(self.fd, HEADER.pack(kind, len(body)) + body)


def run_functions(
    program: str, calls: Sequence[tuple[str, str]], report_fd: int, max_bytes: int
) -> None:
    """Load the program once, then make every call, and report each outcome in order.

    A call is a function's name and its arguments as JSON text, decoded anew for every call.
    """
    random.seed(0)  # a fork shares its parent's state; the same program must draw the same
    reporter = _Reporter(report_fd)
    module = _fresh_module("solution")
    try:
        exec(compile(program, "<program>", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001 - whatever a program raises, SystemExit too
        reporter.send(b"x", _describe(error))
        return
    reporter.send(b"l")
    for name, arguments in calls:
        try:
            function: Any = module.__dict__.get(name)
            if function is None:
                reporter.send(b"e", f"there is no function {name}"[:_MAX_ERROR_CHARS])
                continue
            value = function(*json.loads(arguments))
            reporter.send(b"v", encode_value(value, max_bytes))
        except NotPlainError as error:
            reporter.send(b"n", str(error))
        except TooLargeError:
            reporter.send(b"m")
        except BaseException as error:  # noqa: BLE001 - as above
            reporter.send(b"e", _describe(error))


def run_script(program: str) -> int:
    """Run the program as `__main__` over descriptors 0, 1 and 2; return its exit status."""
    random.seed(0)
    # New ones: those of the server belong to its own pipes.
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8", errors="surrogateescape"
    )
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)),
        encoding="utf-8",
        errors="surrogateescape",
    )
    module = _fresh_module("__main__")
    code = 0
    try:
        exec(compile(program, "<program>", "exec", dont_inherit=True), module.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - whatever a program raises
        code = 1
        sys.stderr.write("".join(traceback.format_exception_only(type(error), error)))
    return _leave(code)


def _leave(code: int) -> int:
    """What the interpreter does at its end: threads, exit functions, buffers."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return code & 0xFF


def redirect(sources: Sequence[int]) -> list[int]:
    """Make the sources descriptors 0, 1, 2, ... and close all others; return those after 2."""
    # First far above all targets, so that no copy overwrites a source.
    lifted = [os.dup2(fd, _LIFTED_FD + i) for i, fd in enumerate(sources)]
    for target, fd in enumerate(lifted):
        os.dup2(fd, target)
    os.closerange(len(sources), _MAX_FD)
    return list(range(3, len(sources)))
