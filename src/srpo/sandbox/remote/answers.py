"""Reading what a service answers to /run_code: the protocol's words become case outputs.

Nothing an answer holds is taken on trust. What does not fit the protocol says nothing about the
program: it raises `RequestError`, and the job ends as an infrastructure error.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srpo.sandbox import CaseOutput
from srpo.sandbox.channel.decoding import decode
from srpo.sandbox.remote.http import AnswerTooLargeError, RequestError, printable

# How an answer about a program begins, in the order in which the service writes its fields.
_ABOUT_A_PROGRAM = re.compile(rb'\s*\{\s*"status"\s*:\s*"(Success|Failed)"')
_WATCHDOG = "Timeout ("  # what Python's faulthandler writes before it ends a process


@dataclass(frozen=True, slots=True)
class Ran:
    """What the service tells of one process.

    >>> Ran("ended", return_code=0, stdout="3", stderr="", seconds=0.1).stdout
    '3'
    """

    end: str  # "ended", "timed_out" or "too_much_output"
    return_code: int
    stdout: str
    stderr: str
    seconds: float  # wall time as the service measured it


def ran_of(answer: Mapping[str, Any]) -> Ran:
    """The process of an answer. Raises RequestError if the answer is none, or contradicts itself.

    >>> ran_of({"status": "Success", "run_result": {"status": "Finished", "return_code": 0,
    ...         "execution_time": 0.1, "stdout": "3"}}).return_code
    0
    """
    status, message = answer.get("status"), answer.get("message")
    if status == "SandboxError":
        words = printable(message) if isinstance(message, str) else ""
        raise RequestError(f"the service failed (SandboxError) {words}".strip())
    if status not in ("Success", "Failed"):
        raise _unfit("its status is none of Success, Failed, SandboxError")
    compiled = answer.get("compile_result")
    result = answer.get("run_result")
    if result is None and isinstance(compiled, dict):  # it was not run: it does not compile
        result = compiled
    if not isinstance(result, dict):
        raise _unfit("it has no run_result")
    ran = _ran(result)
    if (status == "Success") != (ran.end == "ended" and ran.return_code == 0):
        raise _unfit("its status contradicts its run_result")
    return ran


def _ran(result: Mapping[str, Any]) -> Ran:
    end = {"Finished": "ended", "TimeLimitExceeded": "timed_out"}.get(str(result.get("status")))
    if end is None:
        raise _unfit("the status of its run_result is neither Finished nor TimeLimitExceeded")
    code = result.get("return_code")
    if end == "ended" and (not isinstance(code, int) or isinstance(code, bool)):
        raise _unfit("its return_code is not a whole number")
    seconds = result.get("execution_time") or 0.0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _unfit("its execution_time is not a number")
    if not math.isfinite(seconds) or seconds < 0:
        raise _unfit("its execution_time is not a time")
    return Ran(
        end=end,
        return_code=code if isinstance(code, int) else -1,
        stdout=_text(result.get("stdout"), "stdout"),
        stderr=_text(result.get("stderr"), "stderr"),
        seconds=float(seconds),
    )


def _text(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unfit(f"its {name} is not text")
    return value


def _unfit(reason: str) -> RequestError:
    return RequestError(f"the answer does not fit the protocol: {reason}")


def ran_too_long(error: AnswerTooLargeError) -> Ran:
    """An answer over its cap, if it begins as one about a program: that wrote too much.

    Raises the error again if it begins otherwise, for then the service is to blame.
    """
    if _ABOUT_A_PROGRAM.match(error.beginning) is None:
        raise error
    return Ran("too_much_output", return_code=-1, stdout="", stderr="", seconds=0.0)


def script_output(ran: Ran, max_bytes: int) -> CaseOutput:
    """What a script came to. The output counts only if the process ended with status 0."""
    if ran.end == "timed_out":
        return CaseOutput("timed_out")
    if ran.end == "too_much_output" or num_bytes(ran.stdout) > max_bytes:
        return CaseOutput("too_much_output")
    if ran.return_code != 0:
        return CaseOutput("crashed", error=_last_words(ran))
    return CaseOutput("ok", stdout=ran.stdout)


def num_bytes(text: str) -> int:
    """Length of a text in UTF-8.

    >>> num_bytes("é")
    2
    """
    return len(text.encode("utf-8", "surrogatepass"))


def _last_words(ran: Ran) -> str:
    lines = ran.stderr.strip().splitlines()
    return printable(lines[-1]) if lines else f"exit status {ran.return_code}"


def is_complete(ran: Ran, mark: str) -> bool:
    """Whether the driver's last line is there: nothing was cut off."""
    return any(line[0] == "z" for line in _lines(ran.stdout, mark))


def call_outputs(ran: Ran, mark: str, num_calls: int) -> list[CaseOutput]:
    """What the calls came to. Of several lines on one call the last one counts.

    A program may write such lines itself. That is as good as returning the value: what is
    expected is not known there, and the caller compares.
    """
    if ran.end == "too_much_output":
        return _ended(num_calls, CaseOutput("too_much_output"))
    outputs: dict[int, CaseOutput] = {}
    for kind, place, text in _lines(ran.stdout, mark):
        if kind == "x":
            return [CaseOutput("crashed", error=printable(text))] * num_calls
        if kind in _CALL_KINDS and 0 <= place < num_calls:
            outputs[place] = _call_output(kind, text)
    num_done = next((i for i in range(num_calls) if i not in outputs), num_calls)
    done = [outputs[i] for i in range(num_done)]
    if num_done == num_calls:
        return done
    hung = ran.end == "timed_out" or _WATCHDOG in ran.stderr
    last = CaseOutput("timed_out") if hung else CaseOutput("crashed", error="the process ended")
    return done + _ended(num_calls - num_done, last)


def _ended(num_calls: int, first: CaseOutput) -> list[CaseOutput]:
    """The first of these calls ended the process."""
    return [first, *[CaseOutput("not_run")] * (num_calls - 1)]


_CALL_KINDS = frozenset("vnme")


def _call_output(kind: str, text: str) -> CaseOutput:
    if kind == "m":
        return CaseOutput("too_much_output")
    if kind == "e":
        return CaseOutput("crashed", error=printable(text))
    if kind == "n":
        return CaseOutput("not_plain", error=printable(text))
    try:
        return CaseOutput("ok", value=decode(base64.b64decode(text, validate=True)))
    except ValueError as error:  # the program wrote it: the encoder does not write such bytes
        return CaseOutput("not_plain", error=printable(str(error)))


def _lines(stdout: str, mark: str) -> Sequence[tuple[str, int, str]]:
    """The driver's lines that are whole and of the right types."""
    found = []
    for line in stdout.split("\n"):
        if not line.startswith(mark):
            continue
        try:
            parts = json.loads(line[len(mark) :])
        except (ValueError, RecursionError):
            continue
        match parts:
            case [str(kind), int(place), str(text)] if not isinstance(place, bool):
                found.append((kind, place, text))
    return found
