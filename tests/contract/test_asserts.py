"""Trusted tests against honest programs: what they may do, and which names are theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import srpo
from srpo.sandbox.channel.tests_text import TestText
from tests.processes import asserts

# --- what an honest program may do --------------------------------------------------------------

HONEST = {
    "function": ("def f(x): return x + 1", "assert f(1) == 2"),
    "exact values": (
        "def f(x): return x",
        "for x in (None, True, 2**80, -1, 1.5, 'é', b'', (1, [2]), {1: {2}}, frozenset({3}), 1j):\n"
        "    assert f(x) == x and type(f(x)) is type(x)\n"
        "assert f(True) is True and f(None) is None and f(float('nan')) != f(float('nan'))",
    ),
    "keywords": ("def f(a, *, op): return (a, op)", "assert f(1, op='x') == (1, 'x')"),
    "another name": ("f = sorted\nkind = int", "assert f([2, 1]) == [1, 2] and kind('3') == 3"),
    "prelude": ("def f(x): return math.sqrt(x)", "assert f(4) == 2.0"),
    "prints": ("def f(x):\n    print(x)\n    return x", "assert f(1) == 1"),
    "main guard": (
        "def f(): return 1\nif __name__ == '__main__': raise SystemExit",
        "assert f() == 1",
    ),
    "changed list": (
        "def f(x): x.sort()",
        "x = y = [3, 1, 2]\nf(x)\nassert y == [1, 2, 3] and x is y",
    ),
    "changed row": (
        "def f(g): g[0][0] = 9; g.append(g[0])",
        "g = [[0], [1]]; r = g[0]\nf(g)\nassert g == [[9], [1], [9]] and r == [9] and g[2] is r",
    ),
    "changed others": (
        "def f(d, s, b, q): d['n'] = 1; s.add(2); b.append(3); q.appendleft(4)",
        "from collections import deque\n"
        "d, s, b, q = {}, {1}, bytearray(), deque([5])\nf(d, s, b, q)\n"
        "assert (d, s, b, q) == ({'n': 1}, {1, 2}, bytearray([3]), deque([4, 5]))",
    ),
    "changed and raised": (
        "def f(x): x.clear(); raise KeyError('k')",
        "x = [1]\ntry: f(x)\nexcept KeyError as e: assert e.args == ('k',)\nassert x == []",
    ),
    "same list back": (
        "def f(x): return x\ndef g(x): return list(x)",
        "x = [1]\nassert f(x) is x and g(x) is not x and g(x) == x",
    ),
    "shared rows": (
        "def f(g): g[0][0] = 1; return g",
        "assert f([[0] * 2] * 2) == [[1, 0], [1, 0]]",
    ),
    "callback": (
        "def f(xs, key): return sorted(xs, key=key)",
        "seen = []\ndef key(x): seen.append(x); return -x\n"
        "assert f([1, 3, 2], key) == [3, 2, 1] and seen == [1, 3, 2]\n"
        "assert f(['bb', 'a'], len) == ['a', 'bb']",
    ),
    "callback there and back": (
        "def twice(g): return lambda x: g(g(x))\ndef same(g): return g",
        "def g(x): return x * 3\nassert twice(twice(g))(1) == 81 and same(g) is g",
    ),
    "callback changes": (
        "def f(g):\n    x = [1]\n    g(x)\n    return x",
        "assert f(lambda x: x.append(2)) == [1, 2]",
    ),
    "callback raises": (
        "def f(g):\n    try: g()\n    except ZeroDivisionError: return 'caught'",
        "assert f(lambda: 1 / 0) == 'caught'",
    ),
    "iterator passed": (
        "def f(x): return list(x)",
        "assert f(iter([1, 2])) == f({1: 0, 2: 0}.keys()) == [1, 2]",
    ),
    "node passed": (
        "def f(n): n.left, n.right = n.right, n.left; return n.value",
        "class Node:\n    def __init__(self, v): self.value = v; self.left = self.right = None\n"
        "n = Node(5); n.left = k = Node(6)\nassert f(n) == 5 and n.right is k and n.left is None",
    ),
    "generator": (
        "def f(n):\n    for i in range(n): yield i",
        "assert list(f(3)) == [0, 1, 2] and next(f(1)) == 0 and sum(f(4)) == 6\n"
        "g = f(2)\nassert [x for x in g] == [0, 1] and list(g) == []",
    ),
    "views": ("def f(d): return d.items()", "assert sorted(f({2: 1, 1: 2})) == [(1, 2), (2, 1)]"),
    "object": (
        "class P:\n    def __init__(self, x): self.x = x\n    def __len__(self): return self.x\n"
        "    def __str__(self): return f'P{self.x}'\n"
        "    def __getitem__(self, i): return [7, 8, 9][i]\n"
        "    def more(self): return P(self.x + 1)",
        "p = P(2)\nassert p.x == 2 and len(p) == 2 and str(p) == 'P2'\n"
        "assert p[1] == 8 and p[:2] == [7, 8]\n"
        "assert p.more().x == 3 and isinstance(p.more(), P) and not isinstance(p, list)\n"
        "p.x = 5\nassert len(p) == 5 and p == p and not p != p and not hasattr(p, 'y')\n"
        "assert [p][0] is p and callable(p.more) and not callable(p)",
    ),
    "set of objects": (
        "class P:\n    pass\ndef f(): return {P(), P()}\ndef g(): return {P(): 1}",
        "assert len(f()) == 2 and len(list(f())) == 2 and list(g().values()) == [1]",
    ),
    "with": (
        "class C:\n    log = []\n    def __enter__(self): return 1\n"
        "    def __exit__(self, *a): C.log.append(a[0])",
        "with C() as c: assert c == 1\nassert C.log == [None]",
    ),
    "enum": (
        "import enum\nclass E(enum.Enum):\n    A = 1\n    B = 2\ndef f(): return E.A",
        "assert f() == E.A and f() is E.A and [e.name for e in E] == ['A', 'B']",
    ),
    "named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)\n"
        "def g(p): return p.x",
        "assert f() == (1, 2) and f().y == 2 and g(f()) == 1 and f()._asdict() == {'x': 1, 'y': 2}",
    ),
    "counter": (
        "from collections import Counter, OrderedDict, defaultdict\n"
        "def f(): return Counter('aab')\n"
        "def g(): return OrderedDict(b=1, a=2)\ndef h(): return defaultdict(list)",
        "assert f().most_common(1) == [('a', 2)] and f() == {'a': 2, 'b': 1}\n"
        "assert list(g()) == ['b', 'a'] and h()['x'] == []",
    ),
    "builtin type": ("def f(x): return type(x)", "assert f(1) is int and f('') == str"),
    "own exception": (
        "class Low(Exception): pass\nclass Lower(Low):\n"
        "    def __init__(self, m, n): super().__init__(m); self.n = n\n"
        "def f(): raise Lower('no', 3)",
        "try: f()\nexcept Low as e: assert str(e) == 'no' and e.n == 3\nelse: assert False",
    ),
    "exit expected": (
        "import sys\ndef f(): sys.exit(2)",
        "try: f()\nexcept SystemExit as e: assert e.code == 2\nelse: assert False",
    ),
    "solution class": (
        "class Solution:\n    def f(self, x): return x + 1",
        "assert f(1) == 2 and Solution().f(1) == 2",
    ),
    "import of the program": ("def f(): return 1", "from solution import f\nassert f() == 1"),
    "value of the program": ("LIMIT = 3\ndef f(): return LIMIT", "assert f() == LIMIT == 3"),
    "library without an import": ("def f(): return 0.3", "assert math.isclose(f(), 0.1 + 0.2)"),
    "import that fails": ("def f(): return 1", "import no_such_module\nassert f() == 1"),
    "builtin as a name": (
        "def sum(a, b): return 42",
        "assert sum(1, 2) == 42\nassert sum(3, 4) == 42",
    ),
    "functions test_*": ("def f(): return 1", "def test_f():\n    assert f() == 1"),
    "guarded call": (
        "def f(): return 1",
        "def go(): assert f() == 1\nif __name__ == '__main__': go()",
    ),
    "unit tests": (
        "def f(x):\n    if x < 0: raise ValueError\n    return x",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(f(1), 1)\n        self.assertRaises(ValueError, f, -1)\n"
        "        with self.assertRaises(ValueError): f(-1)\n"
        "if __name__ == '__main__':\n    unittest.main()",
    ),
    "threads of the tests": (
        "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
        "import threading\nts = [threading.Thread(target=f) for _ in range(8)]\n"
        "for t in ts: t.start()\nfor t in ts: t.join()\nassert f() == 9",
    ),
    "awaited": (
        "async def f(x): return x + 1",
        "import asyncio\nasync def go(): assert await f(1) == 2\nasyncio.run(go())",
    ),
    "dataclass": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\n",
        "assert P(1).x == 1 and repr(P(1)) == 'P(x=1)'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_passes(name: str) -> None:
    program, tests = HONEST[name]
    assert asserts(program, tests, prelude="import math\nimport no_such_module\n") == ("ok", "")


def test_the_programs_function_replaces_the_stub_in_the_setup_but_no_other() -> None:
    setup = "def double(x):\n    return 2 * x\ndef f(x):\n    '''stub'''\n"
    tests = "def check(candidate):\n    assert candidate(1) == 5 and f(1) == 5 and double(2) == 4\n"
    program = "def f(x): return 5\ndef double(x): return 'mine'"
    assert asserts(program, tests, setup=setup, entry_point="f") == ("ok", "")
    assert asserts(program, tests, entry_point="f")[0] == "failed"


@pytest.mark.parametrize("entry_point", ["f", "Solution.f", "Solution().f"])
def test_an_entry_point_can_be_a_method(entry_point: str) -> None:
    program = "class Solution:\n    def f(self, x): return x + 1"
    tests = "def check(candidate):\n    assert candidate(1) == 2"
    assert asserts(program, tests, entry_point=entry_point) == ("ok", "")


def test_check_is_called_once_whoever_calls_it() -> None:
    program = "n = 0\ndef f():\n    global n\n    n += 1\n    return n"
    tests = "def check(candidate):\n    assert candidate() == 1\n"
    assert asserts(program, tests, entry_point="f") == ("ok", "")
    assert asserts(program, f"{tests}check(f)", entry_point="f") == ("ok", "")


def test_names_of_the_program_are_those_that_nobody_else_defines() -> None:
    text = TestText("import math as m\ndef helper(x): return other(x)", "", "")
    assert text.wanted() == ["other"]
    tests = (
        "np = 1\ndef check(candidate):\n    y = candidate(1)\n    assert isclose(y, poly(y), len)"
    )
    assert TestText("", tests, "f").wanted() == ["f", "poly"]
    assert TestText("", "assert Solution().g(1)", "Solution().f").wanted() == [
        "Solution",
        "Solution().f",
    ]


# --- what the processes load ------------------------------------------------------------------

SRC = Path(srpo.__file__).parent


def test_only_the_standard_library_is_loaded() -> None:
    modules = "encoding decoding peer model_side opaque tests_side tests_run"
    names = [f"channel.{name}" for name in modules.split()]
    code = (
        "import sys, types\n"
        f"for name, path in (('srpo', {str(SRC)!r}), ('srpo.sandbox', {str(SRC / 'sandbox')!r})):\n"
        "    sys.modules[name] = module = types.ModuleType(name)\n"
        "    module.__path__ = [path]\n"
        f"import {', '.join(f'srpo.sandbox.{name}' for name in names)}\n"
        "print(*sorted(name for name in sys.modules if name.startswith('srpo')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-s", "-P", "-S", "-c", code], check=True, capture_output=True, text=True
    )
    assert set(done.stdout.split()) == {
        "srpo",
        "srpo.sandbox",
        "srpo.sandbox.channel",
        *(f"srpo.sandbox.{n}" for n in names),
    }
