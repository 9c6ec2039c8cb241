"""What is fuzzed: each target takes any bytes, and raises if a promise is broken.

A target names the errors that its code may raise; everything else is a finding, as is a hang.
It returns whether the bytes got through to the deepest code it tries: False means refused.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from srpo.problems.rows import BadRowError, parse_row, problem_row
from srpo.rewards.code.output import same_stdout
from srpo.rewards.code.text import bare_program, extract_program
from srpo.rewards.format import split_completion
from srpo.rewards.language import mixing_share
from srpo.rewards.math.answers import gold_problem, quick_comparison
from srpo.rewards.math.boxes import last_boxed
from srpo.rewards.math.found import find_answer, find_stated_answer
from srpo.sandbox import FunctionCall
from srpo.sandbox.channel.decoding import MalformedError, decode
from srpo.sandbox.channel.encoding import encode
from srpo.sandbox.channel.peer import Frames
from srpo.sandbox.channel.tests_side import LostError, Tests
from srpo.sandbox.local.caller import Caller
from srpo.sandbox.remote.answers import call_outputs, ran_of
from srpo.sandbox.remote.http import RequestError

_MAX_BYTES = 1 << 20


def extractor(data: bytes) -> bool:
    """A completion: its parts, its program, its answer. Nothing may be raised at all."""
    text = data.decode("utf-8", "surrogateescape")
    for prefilled in (False, True):
        parts = split_completion(text, prefilled_thinking=prefilled)
        assert parts.answer in text and parts.thinking in text.replace("<think>", "", 1)
    program = extract_program(text)
    assert program is None or program.strip()
    assert bare_program(text) in (None, text)
    boxed = last_boxed(text)
    assert boxed is None or boxed in text
    found = find_answer(text)
    find_stated_answer(text)
    assert 0.0 <= mixing_share(text, "") <= 1.0
    return None not in (program, boxed, found)


def answers(data: bytes) -> bool:
    """Two answers, parted by a zero byte: the quick comparison is symmetric and raises nothing."""
    one, _, other = data.decode("utf-8", "surrogateescape").partition("\0")
    assert quick_comparison(one, other) == quick_comparison(other, one)
    assert same_stdout(one, one)
    if gold_problem(one) is not None:
        return False
    assert quick_comparison(one, one) in (True, None)
    return True


def decoder(data: bytes) -> bool:
    """An encoded value: it is refused, or what it decodes to survives another round."""
    try:
        value = decode(data)
    except MalformedError:
        return False
    again = decode(encode(value, 64 * len(data) + 64))
    assert _shape(again) == _shape(value)
    return True


def _shape(value: Any) -> object:
    """The value as tuples and texts, which are equal for two NaNs and differ for 0.0 and -0.0."""
    parts: object
    match value:
        case dict():
            parts = tuple((_shape(key), _shape(item)) for key, item in value.items())
        case set() | frozenset():
            parts = tuple(sorted(map(_shape, value), key=repr))
        case list() | tuple() | deque():
            parts = (*map(_shape, value), getattr(value, "maxlen", None))
        case int():
            parts = hex(value)  # decimal digits of a large number are refused by Python
        case range():
            parts = tuple(map(hex, (value.start, value.stop, value.step)))
        case Fraction():
            parts = (hex(value.numerator), hex(value.denominator))
        case _:
            parts = repr(value)
    return type(value).__name__, parts


def caller(data: bytes) -> bool:
    """A forged channel: each call of a function has an outcome, in time, and never raises."""
    with _sent(data) as fd:
        deadline_s = time.monotonic() + 1.0
        peer = Caller(fd, _MAX_BYTES)
        first = peer.wait_loaded(deadline_s)
        outputs = [peer.call(FunctionCall("f", (1, [2])), deadline_s) for _ in range(3)]
        assert first is None or {output.status for output in outputs} == {first.status}
        return outputs[0].status == "ok"


def tests_channel(data: bytes) -> bool:
    """A forged channel against trusted tests: a value, an exception of theirs, or LostError."""
    argument = [1, 2]
    with _sent(data) as fd:
        peer = Tests(Frames(fd, _MAX_BYTES, timed=True), call_timeout_s=1.0)
        num_answers = 0
        try:
            for _ in range(3):
                peer.ask("call", None, (argument, {"a": {1}}, print))
                num_answers += 1
        except LostError:
            assert peer.broken is not None
        except Exception as error:  # noqa: BLE001 - whatever the program claims to have raised
            assert not isinstance(error, StopIteration)  # it would end a loop of the tests
        return num_answers > 0


@contextlib.contextmanager
def _sent(data: bytes) -> Iterator[int]:
    """A descriptor from which this is read, and then the end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        with contextlib.suppress(OSError):
            theirs.sendall(data[:_MAX_BYTES])
        theirs.shutdown(socket.SHUT_WR)
        yield ours.fileno()


def rows(data: bytes) -> bool:
    """A line of a problem file: refused by name, or read back from its own row as it was."""
    try:
        problem = parse_row(data, "fuzz")
    except BadRowError as error:
        assert str(error).isprintable()
        return False
    again = parse_row(json.dumps(problem_row(problem)).encode(), "fuzz")
    assert again == problem
    return True


def service(data: bytes) -> bool:
    """An answer of a remote sandbox: read, or refused by name."""
    try:
        answer = json.loads(data)
        if not isinstance(answer, dict):
            return False
        outputs = call_outputs(ran_of(answer), "mark:", 2)
    except (ValueError, RecursionError, RequestError):
        return False
    assert len(outputs) == 2
    return outputs[0].status == "ok"


TARGETS: dict[str, Callable[[bytes], bool]] = {
    "extractor": extractor,
    "answers": answers,
    "decoder": decoder,
    "caller": caller,
    "tests_channel": tests_channel,
    "rows": rows,
    "service": service,
}

# Where a fuzzer starts: seeds that get through, for each target.
SEEDS: dict[str, tuple[bytes, ...]] = {
    "extractor": (
        b"<think>2 and 2</think>So it is \\boxed{\\frac{1}{2}}.\n```python\nx = '''1'''\n```\n",
    ),
    "answers": (b"\\frac{1}{2}\x000.5", b"1,000\\text{ cm}\x0010 m", b"[1,2)\x00(B)"),
    "decoder": tuple(
        encode(value, 1000)
        for value in (None, (1, [2.5, {3: {4}}]), "text", b"y", 2**70, range(3), {"a": (1, "b")})
    ),
    "caller": (b"\0\0\0\1l\0\0\0\3rb\7",),
    "tests_channel": (b"\0\0\0\7r\0\0\0\0b\7",),
    "rows": (
        b'{"domain": "math", "statement": "2 + 2?", "answer": "4", "level": 1}',
        b'{"domain": "code", "statement": "?", "tests": [{"stdin": "1", "stdout": "2"}]}',
        b'{"domain": "code", "statement": "?", "tests": {"kind": "assert", "setup": "", '
        b'"program": "assert f(1) == 2", "entry_point": "f"}}',
    ),
    "service": (
        b'{"status": "Success", "run_result": {"status": "Finished", "return_code": 0, '
        b'"execution_time": 0.1, "stdout": "mark:[\\"v\\", 0, \\"Ygc=\\"]"}}',
    ),
}


def seeds_into(folder: Path, target: str) -> None:
    """Write a target's seeds as files, as a fuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[target]):
        (folder / f"seed{number}").write_bytes(seed)
