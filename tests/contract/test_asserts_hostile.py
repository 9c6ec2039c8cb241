"""Trusted tests against programs that want to pass without doing what is asked."""

from __future__ import annotations

import os
import socket
import struct
import time

import pytest

from srpo.sandbox.channel.encoding import COUNT, encode
from srpo.sandbox.channel.peer import Frames, Peer
from tests.processes import asserts

# --- what never passes --------------------------------------------------------------------------

ANY = (
    "class Any:\n    def __getattr__(self, n): return lambda *a, **k: self\n"
    "for n in 'eq ne lt le gt ge contains bool instancecheck'.split():\n"
    "    setattr(Any, f'__{n}__', lambda *a: True)\n"
    "for n in 'add radd sub rsub mul mod abs neg round and or'.split():\n"
    "    setattr(Any, f'__{n}__', lambda self, *a: self)\n"
    "for n in 'hash int index len'.split(): setattr(Any, f'__{n}__', lambda self: 3)\n"
    "def f(*a): return Any()"
)


@pytest.mark.parametrize(
    "tests",
    [
        "assert f() == 3",
        "assert 3 == f()",
        "assert f() != 4",
        "assert not f() == 4",
        "assert f()",
        "assert not f() or True",
        "assert f() in (3, 4)",
        "assert f() in {3, 4}",
        "assert f() not in {4}",
        "assert 3 in f()",
        "assert [f()] == [3]",
        "assert {'a': f()} == {'a': 3}",
        "assert 2 < f() < 4",
        "assert abs(f() - 3) < 1",
        "assert max(3, f()) == 3",
        "assert int(f()) == 3",
        "assert [0, 1, 2, 3][f()] == 3",
        "assert '%d' % f() == '3'",
        "assert round(f()) == 3",
        "assert hash(f()) == 3",
        "assert sorted([f(), 3]) == [3, 3]",
        "assert f(1) == f(2)",
        "assert isinstance(f(), int)",
        "assert f() is True",
        "try:\n    assert f() == 3\nexcept Exception: pass",
        "try:\n    assert f() == 3\nexcept BaseException: pass",
        "import math\nassert math.isclose(f(), 3)",
        "def test_f():\n    assert f() == 3",
        "from unittest import *\nclass T(TestCase):\n    def test(self): self.assertEqual(f(), 3)",
    ],
)
def test_an_object_never_answers_for_itself(tests: str) -> None:
    assert asserts(ANY, tests)[0] == "failed"


@pytest.mark.parametrize(
    ("program", "tests", "status"),
    [
        ("def f(): return 4", "assert f() == 3", "failed"),
        ("x = 1", "assert f() == 3", "failed"),
        ("x = 1", "def check(candidate): pass", "failed"),
        ("def f(): return 4", "", "failed"),
        ("def f(): return 4", "assert 1 == 1", "failed"),
        ("def f(): return 4", "assert (", "failed"),
        ("def f(): return 4", "import sys\nf()\nsys.exit(0)", "failed"),
        ("def f(): raise AssertionError", "f()", "failed"),
        ("def f(): raise SystemExit(0)", "f()", "failed"),
        ("def f(): raise KeyboardInterrupt", "f()", "failed"),
        ("def f(): raise GeneratorExit", "f()", "failed"),
        ("def f(): raise BaseExceptionGroup('g', [SystemExit(0)])", "f()", "failed"),
        ("def f(x): raise StopIteration", "assert all(map(f, [1, 2]))", "failed"),
        ("def f(x): raise StopIteration", "assert all(map(lambda x: f(x) == 1, [1]))", "failed"),
        (
            "class E(StopIteration): pass\ndef f(x): raise E",
            "assert list(map(f, [1])) == []",
            "failed",
        ),
        (
            "class E(Exception): pass\ndef f(): raise E",
            "try: f()\nexcept ValueError: pass",
            "failed",
        ),
        (
            "from unittest import SkipTest\ndef f(): raise SkipTest",
            "import unittest\nclass T(unittest.TestCase):\n    def test(self): assert f() == 1",
            "failed",
        ),
        (
            "class C:\n    def __enter__(self): return 1\n    def __exit__(self, *a): return True",
            "with C() as c: assert c == 2",
            "failed",
        ),
        ("class isclose:\n    pass\ndef f(): return 1", "assert isclose(f(), 2)", "failed"),
        (
            "class math:\n    isclose = max\ndef f(): return 1",
            "assert math.isclose(f(), 2)",
            "failed",
        ),
        (
            "class np:\n    allclose = max\ndef f(): return 1",
            "import np\nassert np.allclose(f(), 2)",
            "failed",
        ),
        ("def len(x): return 3\ndef f(): return [1]", "assert len(f()) == 3", "failed"),
        ("def f(x): x.clear()", "x = [1]; y = x\nf(x)\nassert y == [1]", "failed"),
        ("def f(): return [10**6]", "assert f() == [10**6 + 1]", "failed"),
        ("import sys; sys.exit(0)", "assert True", "crashed"),
        ("import os; os._exit(0)", "assert True", "crashed"),
        ("1 / 0", "assert True", "crashed"),
        ("def f(:", "assert True", "crashed"),
        ("import os\ndef f(): os._exit(0)", "f()", "crashed"),
        ("import os\ndef f(): os._exit(0)", "try: f()\nexcept BaseException: pass", "crashed"),
        ("import os\ndef f(): os.closerange(3, 99)", "f()", "crashed"),
        ("def f(): return 'x' * (1 << 21)", "f()", "too_much_output"),
        (
            "def f():\n    x = [0] * 10\n    for _ in range(9): x = [x] * 10\n    return x",
            "f()",
            "too_much_output",
        ),
        (
            "def f():\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
            "f()",
            "not_plain",
        ),
        ("def f():\n    x = []\n    x.append(x)\n    return x", "f()", "not_plain"),
        (
            "def f():\n    return {n * (2**61 - 1): 0 for n in range(500)}",
            "f()",
            "crashed",
        ),
        ("def f(g): return g(f, g)", "def g(f, g): return f(g)\nf(g)", "failed"),
        (
            "class L:\n    def __len__(self): return 2**62\ndef f(): return L()",
            "list(f())",
            "failed",
        ),
        ("def f(x): return 1", "f(open('/dev/null'))\nf(object())", "failed"),
        (
            "class R:\n    def __getattr__(s, n): return lambda *a: True\ndef f(x): return R()",
            "assert f('a').startswith('Hello')",
            "failed",
        ),
        (
            "class R:\n    def issubset(s, other): return True\ndef f(x): return R()",
            "try:\n    assert f('a').issubset({1, 2})\nexcept Exception:\n    pass",
            "failed",
        ),
    ],
)  # fmt: skip
def test_nothing_else_passes(program: str, tests: str, status: str) -> None:
    entry_point = "f" if "check" in tests else ""
    assert asserts(program, tests, entry_point=entry_point)[0] == status


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("while True: pass", "assert True"),
        ("def f():\n    while True: pass", "f()"),
        ("def f():\n    while True: pass", "try: f()\nexcept BaseException: pass"),
        ("def f(g):\n    while True: g()", "f(lambda: 1)"),
        ("import itertools\ndef f(): return itertools.count()", "list(f())"),
        (
            "class E(Exception):\n    @property\n    def args(self):\n        while True: pass\n"
            "def f(): raise E",
            "f()",
        ),
    ],
)  # fmt: skip
def test_no_call_takes_longer_than_its_limit(program: str, tests: str) -> None:
    started = time.monotonic()
    assert asserts(program, tests, call_timeout_s=0.1)[0] == "timed_out"
    assert time.monotonic() - started < 20


# --- a process that does not keep to the channel's rules ----------------------------------------

NO_CHANGES = COUNT.pack(0)
THREE, LIST = encode(3, 100), encode([9], 100)
CALL = b"c" + encode("call", 100)


def forged(answer: bytes, loaded: bytes = b"l") -> tuple[str, str]:
    """The verdict on a process that says that it is loaded, offers `f`, and then lies."""

    def body(fd: int) -> None:
        frames = Frames(fd, 1 << 20, timed=False)
        frames.send(loaded)
        frames.receive()
        handle = b"H" + COUNT.pack(7) + COUNT.pack(1)
        frames.send(b"r" + NO_CHANGES + b"t*" + COUNT.pack(1) + b"t*" + COUNT.pack(2)
                    + encode("f", 100) + handle)  # fmt: skip
        frames.receive()
        frames.send(answer)
        if frames.receive()[:1] == b"x":  # told no
            frames.send(b"r" + NO_CHANGES + THREE)
            frames.receive()

    tests = "xs = [3]\nassert f(xs, lambda x: x) == 3 and xs == [3]"
    return asserts(body, tests, call_timeout_s=0.5)


def test_a_forger_that_answers_properly_is_believed_like_any_program() -> None:
    assert forged(b"r" + NO_CHANGES + THREE) == ("ok", "")


@pytest.mark.parametrize(
    "answer",
    [
        b"?",
        b"r",
        b"r" + NO_CHANGES,
        b"r" + NO_CHANGES + THREE + THREE,
        b"r" + NO_CHANGES + b"r" + COUNT.pack(1),
        b"r" + NO_CHANGES + b"L" + COUNT.pack(1),
        b"r" + NO_CHANGES + b"L" + COUNT.pack((1 << 32) - 1),
        b"r" + COUNT.pack(1 << 31) + THREE,
        b"r" + COUNT.pack(1) + COUNT.pack(1) + LIST + THREE,
        b"r" + COUNT.pack(1) + COUNT.pack((1 << 32) - 1) + LIST + THREE,
        b"r" + COUNT.pack(1) + COUNT.pack(0) + encode((9,), 100) + THREE,
        b"r" + COUNT.pack(1) + COUNT.pack(0) + encode({}, 100) + THREE,
        b"r" + COUNT.pack(2) + (COUNT.pack(0) + LIST) * 2 + THREE,
        b"r" + COUNT.pack(1) + COUNT.pack(0) + b"r" + COUNT.pack(0) + THREE,
        b"x" + NO_CHANGES + THREE,
        b"x" + NO_CHANGES + b"T" + COUNT.pack(3) + b"int" + encode(((), ()), 100),
        b"x" + NO_CHANGES + b"E" + COUNT.pack(1 << 31),
        b"x" + NO_CHANGES + b"E" + COUNT.pack(0) + encode("int", 100) + encode(((), ()), 100),
        CALL,
        CALL + THREE + encode(((), ()), 100),
        CALL + b"T" + COUNT.pack(3) + b"int" + encode((), 100) * 2,
        CALL + b"H" + COUNT.pack(7) + COUNT.pack(1) + encode((), 100) * 2,
        CALL + b"L" + COUNT.pack(1) + encode((), 100) * 2,
        CALL + b"L" + COUNT.pack(0) + encode((), 100) + encode(((1,),), 100),
        b"c" + THREE * 4,
    ],
    ids=lambda answer: str(answer[:16]),
)
def test_a_forged_answer_is_found_out(answer: bytes) -> None:
    status, error = forged(answer)
    assert status == "crashed" and error.startswith("a forged answer")


@pytest.mark.parametrize("op", ["attr", "setattr", "next", "len", "item", "str", "exit", "?"])
def test_a_function_of_the_tests_can_only_be_called(op: str) -> None:
    asked = b"c" + encode(op, 100) + b"L" + COUNT.pack(0)
    for args in (), ("__globals__",), ("__globals__", 1), ("f",):
        assert forged(asked + encode(args, 100) + encode((), 100)) == ("ok", "")


def test_a_node_of_the_tests_hides_what_is_not_public() -> None:
    program = (
        "def f(n):\n    for name in ('__class__', '__dict__', '_x', '__init__'):\n"
        "        try: found = n._ask('attr', n, (name,))\n"
        "        except TypeError: continue\n        return name\n    return n.x"
    )
    tests = "class N:\n    x, _x = 1, 2\nassert f(N()) == 1"
    assert asserts(program, tests) == ("ok", "")


def test_a_failed_assertion_stays_a_failure_if_the_program_catches_it() -> None:
    program = "def f(g):\n    try: g(4)\n    except AssertionError: pass\n    return 1"
    tests = "def g(x): assert x == 3\nassert f(g) == 1"
    assert asserts(program, tests)[0] == "failed"


def test_the_text_of_a_failed_assertion_stays_with_the_tests() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = Peer(Frames(ours.fileno(), 100, timed=False), 100, None)
        assert peer.details_of(AssertionError("expected 7")) == (AssertionError, (), {})
        assert peer.details_of(KeyError(7)) == (KeyError, (7,), {})


@pytest.mark.parametrize("loaded", [b"?", b"r", b"x\xff\xff"])
def test_a_report_of_loading_is_one_of_two(loaded: bytes) -> None:
    assert forged(b"r", loaded=loaded)[0] == "crashed"


def test_frames_that_never_end_end_at_the_deadline() -> None:
    def drip(fd: int) -> None:
        os.write(fd, struct.pack("!I", 3000))
        for _ in range(3000):  # a minute
            os.write(fd, b"l")
            time.sleep(0.02)

    started = time.monotonic()
    assert asserts(drip, "assert f()", call_timeout_s=0.2)[0] == "timed_out"
    assert time.monotonic() - started < 20
    assert asserts(lambda fd: None, "assert f()")[0] == "crashed"
