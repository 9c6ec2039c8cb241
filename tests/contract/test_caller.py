"""Function cases over the channel, from the process that judges them."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from srpo.sandbox import FunctionCall
from srpo.sandbox.channel.encoding import COUNT, encode
from srpo.sandbox.channel.peer import Frames
from srpo.sandbox.local.caller import Caller
from tests.processes import model


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def outcome(
    program: str | Callable[[int], None], *args: Any, function: str = "f", limit_s: float = 10.0
) -> tuple[str, object]:
    """Status and value of one call of a program that is loaded first."""
    with model(program, max_bytes=10_000) as fd:
        caller = Caller(fd, 10_000)
        assert caller.wait_loaded(soon()) is None
        found = caller.call(FunctionCall(function, args), soon(limit_s))
        return found.status, found.value


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(x): return x", [1, 2.5, "é", None, True, {"a": [1]}]),
        ("def f(x): return (x[0], {1: {2}})", (1, {1: {2}})),
        ("class Solution:\n    def f(self, x): return x[1]", 2.5),
        ("def f(x):\n    x.clear()\n    return 2**100", 2**100),
        ("from fractions import Fraction\ndef f(x): return Fraction(1, 3)", Fraction(1, 3)),
        ("from collections import Counter\ndef f(x): return Counter('a')", {"a": 1}),
    ],
)
def test_a_plain_value_comes_back(program: str, expected: object) -> None:
    status, value = outcome(program, [1, 2.5, "é", None, True, {"a": [1]}])
    assert (status, value, type(value)) == ("ok", expected, type(expected))


@pytest.mark.parametrize("function", ["Solution.f", "Solution().f"])
def test_a_method_can_be_named(function: str) -> None:
    program = "class Solution:\n    def f(self, x): return x + 1"
    assert outcome(program, 1, function=function) == ("ok", 2)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return object()", "not_plain"),
        ("return [lambda: 1]", "not_plain"),
        ("return iter([x])", "not_plain"),
        ("return f", "not_plain"),
        ("return 'x' * 10_001", "too_much_output"),
        ("raise ValueError(x)", "crashed"),
        ("raise SystemExit", "crashed"),
        ("raise KeyboardInterrupt", "crashed"),
        ("import os; os._exit(0)", "crashed"),
        ("return undefined", "crashed"),
        ("return f(x)", "crashed"),
        ("\n    while True: pass", "timed_out"),
    ],
)
def test_other_ends_have_their_names(body: str, status: str) -> None:
    limit_s = 0.2 if status == "timed_out" else 10.0
    assert outcome(f"def f(x): {body}", 1, limit_s=limit_s) == (status, None)


def test_a_missing_function_and_arguments_that_cannot_be_passed_are_told() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    assert outcome("x = 1", 1) == ("crashed", None)
    assert outcome("def f(x): return x", deep) == ("not_plain", None)


def test_arguments_are_new_for_every_call_and_the_program_is_loaded_once() -> None:
    with model("n = []\ndef f(x):\n    n.append(0); x.append(1); return x, len(n)") as fd:
        caller = Caller(fd, 1000)
        assert caller.wait_loaded(soon()) is None
        call = FunctionCall("f", ([],))
        assert [caller.call(call, soon()).value for _ in range(2)] == [([1], 1), ([1], 2)]


@pytest.mark.parametrize(
    ("program", "status", "error"),
    [
        ("1 / 0", "crashed", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "crashed", "SystemExit: 0"),
        ("import os; os._exit(0)", "crashed", "the program's process ended"),
        ("def f(:", "crashed", "SyntaxError: invalid syntax"),
        ("while True: pass", "timed_out", ""),
    ],
)
def test_a_program_that_does_not_load_answers_every_call_alike(
    program: str, status: str, error: str
) -> None:
    with model(program) as fd:
        caller = Caller(fd, 1000)
        told = caller.wait_loaded(soon(0.2 if status == "timed_out" else 10.0))
        assert told is not None and (told.status, told.error) == (status, error)
        assert caller.call(FunctionCall("f", ()), soon()) is told


def test_a_late_answer_is_never_taken_for_that_of_the_next_call() -> None:
    with model("import time\ndef f(x):\n    time.sleep(0.2 * x)\n    return x") as fd:
        caller = Caller(fd, 1000)
        assert caller.wait_loaded(soon()) is None
        assert caller.call(FunctionCall("f", (1,)), soon(0.05)).status == "timed_out"
        time.sleep(0.3)
        assert caller.call(FunctionCall("f", (0,)), soon()).status == "timed_out"


@pytest.mark.parametrize(
    "answer",
    [
        b"?",
        b"l",
        b"r",
        b"r" + encode(1, 100) * 2,
        b"rH" + bytes(8),
        b"rL" + bytes(4),
        b"rr" + bytes(4),
        b"rT" + COUNT.pack(3) + b"int",
        b"rdc*" + bytes(4) + b"*" + bytes(4),
        b"rD" + COUNT.pack(12) + b"1E+999999999",
        b"r" + b"l*\0\0\0\1" * 5000,
    ],
    ids=lambda answer: str(answer[:16]),
)
def test_a_forged_answer_is_found_out(answer: bytes) -> None:
    def forger(fd: int) -> None:
        frames = Frames(fd, 1 << 20, timed=False)
        frames.send(b"l")
        frames.receive()
        frames.send(answer)
        frames.receive()

    with model(forger) as fd:
        caller = Caller(fd, 1 << 16)
        assert caller.wait_loaded(soon()) is None
        found = caller.call(FunctionCall("f", ()), soon())
        assert found.status == "crashed" and found.error.startswith("a forged answer")
        assert caller.call(FunctionCall("f", ()), soon()) is found
