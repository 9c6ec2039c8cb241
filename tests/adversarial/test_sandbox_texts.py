"""What a program may be made of and how it may end: never an outage, never an exception."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from srpo.errors import SandboxError
from srpo.sandbox import Asserts, FunctionCall, Job, JobResult, Limits, Stdin
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.strengths import Wanted

LIMITS = Limits(timeout_s=1.5)
STRENGTHS: tuple[Wanted, ...] = ("namespaces", "namespaces-per-program", "landlock", "seccomp")


@pytest.fixture(scope="module", params=STRENGTHS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(1, request.param)
    try:
        sandbox.describe()
    except SandboxError as error:
        pytest.skip(f"2026-11-22, this machine does not allow it: {error}")
    yield sandbox
    sandbox.close()


def run(sandbox: LocalSandbox, *jobs: Job) -> list[JobResult]:
    return sorted(sandbox.run(jobs), key=lambda result: int(result.id))


TEXTS = {
    "nothing": "",
    "a NUL byte": "print(3)\0",
    "a lone surrogate": "print('\ud800')",
    "surrogates in a comment": "# \udcff\udc80\nprint(3)",
    "100,000 brackets": "(" * 100_000,
    "a sum of 200,000 terms": "x = " + "+".join(["1"] * 200_000),
    "a name of a megabyte": "x" * 1_000_000,
    "blocks inside blocks": "\n".join(" " * depth + "if 1:" for depth in range(200)),
    "no blanks that Python knows": "x\u00a0=\u20283",
    "only a carriage return": "x = 1\rprint(x)",
    "a form feed and an end of file": "\f\x1aprint(3)",
    "a byte order mark": "\ufeffprint(4)",
    "another coding": "# -*- coding: utf-16 -*-\nprint(4)",
    "an unknown coding": "# -*- coding: atk -*-\nprint(4)",
    "an unclosed text": "'''" + "x" * 100_000,
    "five megabytes": "x = '" + "y" * 5_000_000 + "'",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_no_text_is_an_outage(sandbox: LocalSandbox, text: str) -> None:
    inputs = (Stdin("1 2\n"), FunctionCall("add", (1, 2)), Asserts("assert add(1, 2) == 3"))
    (result,) = run(sandbox, Job("1", text, inputs, LIMITS))
    assert result.infra_error == ""
    assert [output.status for output in result.outputs[1:]] != ["ok", "ok"]
    assert result.outputs[0].stdout.strip() != "3"


def test_a_text_that_fills_its_memory_is_no_outage(sandbox: LocalSandbox) -> None:
    inputs = (Stdin(""), FunctionCall("add", (1, 2)), Asserts("assert add(1, 2) == 3"))
    limits = Limits(memory_mib=64)
    text = "def add(a, b): return a + b\n# " + "é" * (10 << 20)
    (result,) = run(sandbox, Job("1", text, inputs, limits))
    assert result.infra_error == ""
    assert "ok" not in [output.status for output in result.outputs]


def test_no_exit_status_is_an_outage(sandbox: LocalSandbox) -> None:
    ends = [f"import os; os._exit({code})" for code in range(256)]
    ends += [f"raise SystemExit({code!r})" for code in (0, None, 1, -1, 1 << 40, "words", 3.5)]
    results = run(sandbox, *(Job(str(i), end, (Stdin(""),), LIMITS) for i, end in enumerate(ends)))
    assert [result.infra_error for result in results] == [""] * len(ends)
    clean = {ends[i] for i, result in enumerate(results) if result.outputs[0].status == "ok"}
    # Of a status only the last eight bits come out, as in a shell.
    zeros = ("import os; os._exit(0)", *(f"raise SystemExit({x})" for x in (0, None, 1 << 40)))
    assert clean == set(zeros)


def test_no_signal_is_an_outage(sandbox: LocalSandbox) -> None:
    stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    numbers = sorted(set(signal.valid_signals()) - stopping)
    program = "import os, signal, sys\nos.kill(os.getpid(), {})\nprint('alive')"
    results = run(
        sandbox,
        *(Job(str(n), program.format(int(n)), (Stdin(""),), LIMITS) for n in numbers),
    )
    assert [result.infra_error for result in results] == [""] * len(numbers)
    assert all(result.outputs[0].stdout in ("", "alive\n") for result in results)


@pytest.mark.parametrize("way", ["os._exit(0)", "os._exit(70)", "ctypes.string_at(0)"])
def test_the_end_of_the_program_fails_the_tests(sandbox: LocalSandbox, way: str) -> None:
    inputs = (FunctionCall("add", (1, 2)), Asserts("assert add(1, 2) is None"))
    at_load = f"import ctypes, os\ndef add(a, b): pass\n{way}"
    in_call = f"import ctypes, os\ndef add(a, b): {way}"
    for i, program in enumerate((at_load, in_call)):
        (result,) = run(sandbox, Job(str(i), program, inputs, LIMITS))
        assert result.infra_error == ""
        assert "ok" not in [output.status for output in result.outputs]


# An object that is equal to everything, smaller and larger, true, and that holds everything.
ANY = """
class Any:
    def __getattr__(s, n): return lambda *a, **k: s
    def yes(s, *a): return True
    def me(s, *a): return s
    __hash__ = lambda s: hash(3)
    __index__ = __int__ = __len__ = lambda s: 3
    __bool__ = yes
    __float__ = lambda s: 3.0
    __iter__ = lambda s: iter([s] * 3)
    __str__ = __repr__ = lambda s: '3'
for n in 'eq ne lt le gt ge contains'.split(): setattr(Any, f'__{n}__', Any.yes)
for n in 'add radd sub rsub mul rmul truediv mod pow abs neg round getitem'.split():
    setattr(Any, f'__{n}__', Any.me)
def add(a, b): return Any()
def is_even(n): return Any()
"""
CLAIMS = [
    "assert add(1, 2) == 3",
    "assert 3 == add(1, 2)",
    "assert not add(1, 2) != 3",
    "assert add(1, 2) in (3, 4)",
    "assert 3 in add(1, 2)",
    "assert 2 < add(1, 2)",
    "assert 2 < add(1, 2) < 4",
    "assert add(1, 2) >= 3 >= add(1, 2)",
    "assert is_even(4)",
    "assert is_even(4) is True",
    "assert not (not is_even(4))",
    "assert bool(is_even(4))",
    "assert [add(1, 2)] == [3]",
    "assert (add(1, 2), 1) == (3, 1)",
    "assert {'x': add(1, 2)} == {'x': 3}",
    "assert {add(1, 2)} == {3}",
    "assert {3: 'x'}[add(1, 2)] == 'x'",
    "assert [3].index(add(1, 2)) == 0",
    "assert [3].count(add(1, 2)) == 1",
    "assert abs(add(1, 2) - 3) < 1e-9",
    "import math\nassert math.isclose(add(1, 2), 3)",
    "assert round(add(1, 2), 3) == 3",
    "assert max(add(1, 2), 3) == min(add(1, 2), 3) == 3",
    "assert sum([add(1, 2)]) == 3",
    "assert sorted([add(1, 2), 3]) == [3, 3]",
    "assert all(x == y for x, y in zip([add(1, 2)], [3]))",
    "import operator\nassert operator.eq(add(1, 2), 3)",
    "from collections import Counter\nassert Counter([add(1, 2)]) == Counter([3])",
    "import unittest\nunittest.TestCase().assertEqual(add(1, 2), 3)",
    "import unittest\nunittest.TestCase().assertAlmostEqual(add(1, 2), 3)",
    "import unittest\nunittest.TestCase().assertTrue(is_even(4))",
    "assert isinstance(add(1, 2), int)",
    "assert type(add(1, 2)) is int",
    "match add(1, 2):\n    case 3: pass\n    case _: raise AssertionError",
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_object_never_answers_for_a_value(sandbox: LocalSandbox, claim: str) -> None:
    (result,) = run(sandbox, Job("1", ANY, (Asserts(claim),), LIMITS))
    assert result.infra_error == ""
    assert result.outputs[0].status not in ("ok", "timed_out"), result


def test_programs_next_door_do_not_suffer() -> None:
    crowd = (
        "import threading, time\n"
        "try:\n"
        "    for _ in range(400): threading.Thread(target=time.sleep, args=(1,)).start()\n"
        "except RuntimeError: pass\n"
    )
    plain = (
        "import threading\n"
        "threads = [threading.Thread(target=print) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    sandbox = LocalSandbox(3)
    try:
        jobs = [
            Job(str(i), crowd if i % 3 else plain, (Stdin(""),), Limits(timeout_s=3.0))
            for i in range(18)
        ]
        results = run(sandbox, *jobs)
    except SandboxError as error:
        pytest.skip(f"2026-11-22, no sandbox on this machine: {error}")
    finally:
        sandbox.close()
    assert [result.infra_error for result in results] == [""] * 18
    assert {result.outputs[0].status for result in results[::3]} == {"ok"}
