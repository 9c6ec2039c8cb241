"""What a confined child does: run a script, serve a program's functions, or run trusted tests.

Nothing here is a secret from the program, and nothing it could do to this code helps it: the
expected outputs are not in its process.
"""

from __future__ import annotations

import _sitebuiltins
import atexit
import builtins
import gc
import json
import os
import sys
import threading
import traceback
import types
from collections.abc import Callable
from typing import NoReturn, TextIO

from srpo.sandbox.channel import model_side, tests_side

_CHANNEL_FD, _VERDICT_FD = 3, 4


def run_script(payload: bytes) -> None:
    """Run a program as `__main__` over descriptors 0, 1 and 2, and leave with its status.

    The payload is the length of a prelude, a new line, the prelude and the program: JSON would
    take as long to read as a short program to run.
    """
    size, _, text = payload.decode("utf-8", "surrogatepass").partition("\n")
    prelude, program = text[: int(size)], text[int(size) :]
    module = types.ModuleType("__main__")
    module.__dict__["__file__"] = "solution.py"
    sys.modules["__main__"] = module
    code = 0
    try:
        compiled = compile(program, "solution.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        sys.stderr.write(f"not loaded: {type(error).__name__}: {error}\n")
        _leave(1, module)
    try:
        if prelude:
            model_side.run_prelude(prelude, module.__dict__)
        exec(compiled, module.__dict__)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
    except BaseException as error:  # noqa: BLE001 - whatever a program raises
        code = 1
        sys.stderr.write("".join(traceback.format_exception_only(type(error), error)))
    _leave(code, module)


def _leave(code: int, module: types.ModuleType) -> NoReturn:
    """What the interpreter does at its end: threads, exit functions, buffers, what is still held.

    Files that the program left open are written out when nothing holds them any more.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _flush(sys.stdout, sys.stderr)
    for name in [name for name in module.__dict__ if name != "__builtins__"]:
        module.__dict__[name] = None
    gc.collect()  # of what the program made: what the server made is frozen
    _flush(sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    os._exit(code & 0xFF)


def _flush(*streams: TextIO | None) -> None:
    for stream in streams:
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()


def prepare() -> None:
    """What all programs find, done once in the server: `exit` and `quit`, as it has no site."""
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D"))


def serve_model(payload: bytes) -> None:
    """Load `program` and answer calls on the channel until it closes."""
    asked = json.loads(payload)
    model_side.serve(_CHANNEL_FD, asked["program"], asked["prelude"], asked["max_bytes"])


def run_tests(payload: bytes) -> None:
    """Run trusted tests against the program at the other end of the channel; tell the verdict.

    The payload is a line of JSON and the prepared tests.
    """
    asked, _, prepared = payload.partition(b"\n")
    status, error = tests_side.run_asserts(_CHANNEL_FD, prepared, **json.loads(asked))
    os.write(_VERDICT_FD, json.dumps([status, error]).encode())
    os._exit(0)  # no exit function of theirs may take long or change the verdict


ROLES: dict[str, Callable[[bytes], None]] = {
    "script": run_script,
    "model": serve_model,
    "tests": run_tests,
}
