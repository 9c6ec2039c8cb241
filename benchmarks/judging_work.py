"""What the benchmarks of the reward layer judge: programs, tests, answers, known verdicts."""

from __future__ import annotations

import random
from dataclasses import dataclass

from srpo.sandbox import Asserts, CaseInput, FunctionCall, Stdin

SCRIPTS: tuple[tuple[str, str, str], ...] = (
    ("print(sum(map(int, input().split())))", "3 4 5\n", "12\n"),
    ("n = int(input())\nprint(*sorted(map(int, input().split())))", "4\n9 1 7 3\n", "1 3 7 9\n"),
    (
        "from collections import Counter\nprint(Counter(input()).most_common(1)[0][0])",
        "abracadabra\n",
        "a\n",
    ),
    (
        "import sys\nn = int(sys.stdin.readline())\nsieve = [True] * (n + 1)\n"
        "for i in range(2, int(n ** 0.5) + 1):\n    if sieve[i]:\n"
        "        sieve[i * i :: i] = [False] * len(sieve[i * i :: i])\n"
        "print(sum(sieve[2:]))",
        "1000\n",
        "168\n",
    ),
    (
        "import heapq\nn, m = map(int, input().split())\nedges = {}\nfor _ in range(m):\n"
        "    a, b, w = map(int, input().split())\n    edges.setdefault(a, []).append((b, w))\n"
        "best, heap = {}, [(0, 1)]\nwhile heap:\n    d, v = heapq.heappop(heap)\n"
        "    if v in best:\n        continue\n    best[v] = d\n"
        "    for u, w in edges.get(v, ()):\n        heapq.heappush(heap, (d + w, u))\n"
        "print(best.get(n, -1))",
        "4 4\n1 2 5\n2 4 1\n1 3 2\n3 4 9\n",
        "6\n",
    ),
    (
        "from functools import lru_cache\n@lru_cache(None)\ndef ways(n):\n"
        "    return 1 if n < 2 else ways(n - 1) + ways(n - 2)\nprint(ways(int(input())))",
        "50\n",
        "20365011074\n",
    ),
    ("import math\na, b = map(int, input().split())\nprint(math.gcd(a, b))", "84 36\n", "12\n"),
    ("for i in range(int(input())):\n    print(i, i * i)", "3\n", "0 0\n1 1\n2 4\n"),
)

FUNCTIONS: tuple[tuple[str, tuple[FunctionCall, ...], tuple[object, ...]], ...] = (
    (
        "def is_even(n):\n    return n % 2 == 0\n",
        tuple(FunctionCall("is_even", (n,)) for n in (0, 7, 12)),
        (True, False, True),
    ),
    (
        "def two_sum(numbers, target):\n    seen = {}\n    for i, n in enumerate(numbers):\n"
        "        if target - n in seen:\n            return [seen[target - n], i]\n"
        "        seen[n] = i\n",
        (
            FunctionCall("two_sum", ([2, 7, 11, 15], 9)),
            FunctionCall("two_sum", ([3, 2, 4], 6)),
            FunctionCall("two_sum", ([3, 3], 6)),
        ),
        ([0, 1], [1, 2], [0, 1]),
    ),
    (
        "def group(words):\n    found = {}\n    for word in words:\n"
        "        found.setdefault(''.join(sorted(word)), []).append(word)\n    return found\n",
        (FunctionCall("group", (["eat", "tea", "tan"],)),) * 3,
        ({"aet": ["eat", "tea"], "ant": ["tan"]},) * 3,
    ),
)

ASSERTS: tuple[tuple[str, Asserts], ...] = (
    (
        "def first_repeated(text):\n    seen = set()\n    for char in text:\n"
        "        if char in seen:\n            return char\n        seen.add(char)\n",
        Asserts(
            'assert first_repeated("abcabc") == "a"\nassert first_repeated("abc") == None\n'
            'assert first_repeated("123123") == "1"'
        ),
    ),
    (
        "def reverse_words(text):\n    return ' '.join(reversed(text.split()))\n",
        Asserts(
            'assert reverse_words("python program") == "program python"\n'
            'assert reverse_words("java language") == "language java"\n'
            'assert reverse_words("indian man") == "man indian"'
        ),
    ),
    (
        "def add(a, b):\n    return a + b\n",
        Asserts(
            "def check(candidate):\n    assert candidate(1, 2) == 3\n"
            "    assert candidate('a', 'b') == 'ab'\n    assert candidate([1], [2]) == [1, 2]\n",
            entry_point="add",
        ),
    ),
)

# math-verify or sympy are needed for these: gold, answer, whether they are the same.
SLOW_ANSWERS: tuple[tuple[str, str, bool], ...] = (
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
    (r"2\sqrt{2}", r"\sqrt{8}", True),
    (r"x^2+2x+1", r"(x+1)^2", True),
    (r"\frac{\pi}{4}", r"\arctan(1)", True),
    (r"\left[0,\infty\right)", r"[0,\infty)", True),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", False),
    (r"3+2i", r"2i+3", True),
    (r"\log_2 8 + \sqrt{5}", r"3+\sqrt{5}", True),
)

HOSTILE_ANSWERS: tuple[str, ...] = (
    "9^{9^{9^{9}}}",
    "10^{10^{10}}",
    "(123456789)!",
    "2^{2^{40}}",
    r"\sqrt{" * 2_000 + "2" + "}" * 2_000,
    r"\frac{1}{" * 300 + "2" + "}" * 300,
    "(" * 5_000 + "1" + ")" * 5_000,
    "1" * 1_000_000,
    "x+" * 100_000 + "x",
    r"\begin{pmatrix}" + r"\\".join("&".join("1" * 300) for _ in range(300)) + r"\end{pmatrix}",
    r"\binom{10^{9}}{5\cdot 10^{8}}",
    r"\sum_{n=1}^{10^{12}} \frac{1}{n^2}",
    r"\int_0^{\infty} \sin(x^{x^{x}}) dx",
    r"\prod_{k=1}^{10^9} (1 + \frac{1}{k!})",
    "\u0661" * 50_000,
    r"(a+b+c+d+e+f+g+h)^{200}",
    r"\sin(\sin(\sin(\sin(\sin(x))))) = \cos(\cos(\cos(10^{10^{5}})))",
    "0." + "0" * 500_000 + "1",
    r"7^{7^{7}} \bmod 10",
    "{" * 20_000,
)
UNCLOSED_BOXES = r"\boxed{" * 20_000


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of program, with what it must lead to.

    >>> work_of("scripts")[0].inputs[0]
    Stdin(text='3 4 5\\n')
    """

    program: str
    inputs: tuple[CaseInput, ...]
    expected: tuple[object, ...]  # standard outputs, values, or statuses


def work_of(kind: str) -> list[Work]:
    """All programs of a kind: "scripts", "functions" or "asserts"."""
    if kind == "scripts":
        return [Work(program, (Stdin(text),), (out,)) for program, text, out in SCRIPTS]
    if kind == "functions":
        return [Work(*item) for item in FUNCTIONS]
    return [Work(program, (tests,), ("ok",)) for program, tests in ASSERTS]


def quick_answers(count: int, seed: int = 0) -> list[tuple[str, str, bool]]:
    """Gold, answer, and whether they are the same: numbers in the forms that models write."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        number, same = draw.randrange(-10_000, 1_000_000), draw.random() < 0.5
        other = number if same else number + draw.randrange(1, 50)
        form = draw.randrange(6)
        if form == 0:
            pair = (str(number), str(other))
        elif form == 1:
            pair = (str(number), f"{other:,}")
        elif form == 2:
            pair = (f"{number / 8}", rf"\frac{{{other}}}{{8}}")
        elif form == 3:
            pair = (rf"\frac{{{number}}}{{40}}", f"{other / 40}")
        elif form == 4:
            pair = (f"{number}", rf"${other}.0$")
        else:
            pair = (rf"{number}\%", rf"{other} \%")
        found.append((*pair, same))
    return found
