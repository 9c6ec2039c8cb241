"""What makes function calls on a remote machine: its text is sent along with the program.

Only the standard library, and nothing that Python 3.8 does not know. It holds no expected value,
so the program that shares its process gains nothing by changing it or by writing its lines.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import random
import sys
import types
from typing import Any

from srpo.sandbox.channel.encoding import NotPlainError, TooLargeError, encode

_MAX_ERROR_CHARS = 200


def run_calls(request: str) -> None:
    """Load the program once and make every call; a line on standard output says what came of it.

    The request is JSON: `mark` (begins every line), `prelude`, `program`, `calls` (pairs of a
    name and the arguments as JSON text), `timeout_s` (of loading, and of each call) and
    `max_bytes` (of an encoded value). A line is the mark and a JSON list: kind, place of the call,
    text. Kinds: x not loaded, v value (base64), n not plain, m too much output, e error, z the end.
    """
    asked = json.loads(request)
    speaker = _Speaker(asked["mark"], asked["timeout_s"])
    try:
        module = _loaded(asked["prelude"], asked["program"], speaker)
    except BaseException as error:  # noqa: BLE001 - whatever a program raises, SystemExit too
        speaker.say("x", 0, _describe(error))
    else:
        for place, (name, arguments) in enumerate(asked["calls"]):
            speaker.watch()
            kind, text = _call(module, name, arguments, asked["max_bytes"])
            speaker.say(kind, place, text)
    speaker.say("z", 0, "")
    os._exit(0)  # not to wait for threads that the program left


class _Speaker:
    """Keeps the real standard output and error for itself, and ends a process that hangs."""

    def __init__(self, mark: str, timeout_s: float) -> None:
        self._mark, self._timeout_s = mark, timeout_s
        self._out, self._err = os.dup(1), os.dup(2)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # what the program prints is of no use, and could fill the pipes
            os.dup2(null, fd)

    def watch(self) -> None:
        """From now on, one time limit: a thread of C ends the process, whatever Python does."""
        faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=self._err)

    def say(self, kind: str, place: int, text: str) -> None:
        faulthandler.cancel_dump_traceback_later()
        line = memoryview(f"\n{self._mark}{json.dumps([kind, place, text])}\n".encode("ascii"))
        while line:
            line = line[os.write(self._out, line) :]


def _loaded(prelude: str, program: str, speaker: _Speaker) -> types.ModuleType:
    random.seed(0)
    module = types.ModuleType("solution")
    sys.modules["solution"] = module  # dataclasses and pickle look it up by name
    for text, name in ((prelude, "<prelude>"), (program, "<program>")):
        speaker.watch()
        exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    return module


def _call(module: types.ModuleType, name: str, arguments: str, max_bytes: int) -> tuple[str, str]:
    try:
        value = _function(module, name)(*json.loads(arguments))
        return "v", base64.b64encode(encode(value, max_bytes)).decode("ascii")
    except NotPlainError as error:
        return "n", str(error)[:_MAX_ERROR_CHARS]
    except TooLargeError:
        return "m", ""
    except BaseException as error:  # noqa: BLE001 - as above
        return "e", _describe(error)


def _function(module: types.ModuleType, name: str) -> Any:
    if name in module.__dict__:
        return module.__dict__[name]
    solution = module.__dict__.get("Solution")
    if isinstance(solution, type) and hasattr(solution, name):
        return getattr(solution(), name)
    raise NameError(f"there is no function {name}")


def _describe(error: BaseException) -> str:
    name = type(error).__name__
    if type(error).__module__ != "builtins":  # its own __str__ may do anything
        return name[:_MAX_ERROR_CHARS]
    return f"{name}: {error}"[:_MAX_ERROR_CHARS]
