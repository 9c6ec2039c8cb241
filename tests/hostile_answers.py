"""Answers made to stall, fill or confuse whatever reads them, by the thousand, from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

GOLDS = (
    "4", r"\sqrt{7}", "x^2+1", "(1,2)", r"\frac{\pi}{2}", r"[0,1)\cup(2,\infty)", "y=2x+1",
    r"1,2,\sqrt{3}", r"\begin{pmatrix}1\\2\end{pmatrix}", "x>2", "2^{99}", r"\text{even}", "1+i",
    r"\sin x", "a_n=2^n",
)  # fmt: skip
_PIECES = (
    "x", "y", "1", "23", r"\frac{1}{2}", r"\sqrt{x}", "^{2}", "+", "-", r"\cdot", "(", ")", "=",
    "<", r"\le", ",", r"\cup", r"\infty", r"\{", r"\}", "[", "]", r"\pm", r"\text{a}", r"\pi",
    "!", "|", r"\log", "_2", ":", r"\in", r"\mathbb{R}", r"\ne", "&", r"\\", "e", "i", "/", "°",
    "%", " ",
)  # fmt: skip
_REPEATED = (
    "1", "9", "x", "^", "{", "}", "\\", "$", r"\boxed{1}", " ", "\n", "a ", "1,", "=", r"\frac",
    "√", "½", "\u202e", "|", r"\text{a}", "&", "1 ", "e1", "!", "1/", ".", "(1,2),", r"\cup",
    r"\pm", "-", ";", "_1", "%", "is ", "answer is ", "\\(", "$x$",
)  # fmt: skip
_SIGNS = "٣４²³½⅓∞√−–\u200b\u202e\ufdfa㎏Ωπ𝟏𝟐i\u0301ﬁ①\x00\ud800x1"


def _tower(chance: random.Random) -> str:
    joint = chance.choice(("^{", "^", "**(", "^("))
    powers = joint.join(str(chance.randint(2, 99999)) for _ in range(chance.randint(2, 400)))
    return powers + chance.choice(("", "}" * chance.randint(0, 400), ")" * 50))


def _roots(chance: random.Random) -> str:
    number = chance.choice((3, 8, 12, 25, 200, 20_000))
    root = chance.choice((r"\sqrt{", r"\sqrt[3]{", "sqrt("))
    return root * number + str(chance.randint(2, 999)) + chance.choice("})") * number


def _unclosed(chance: random.Random) -> str:
    openers = (r"\boxed{", r"\fbox{", r"\boxed", "{", r"\frac{", "(", "[", r"\left(", r"\text{")
    return chance.choice(openers) * chance.choice((20, 1000, 20_000))


def _repeated(chance: random.Random) -> str:
    return chance.choice(_REPEATED) * chance.choice((300, 990, 5000, 1_000_000))


def _signs(chance: random.Random) -> str:
    return "".join(chance.choice(_SIGNS) for _ in range(chance.choice((5, 40, 300, 900))))


def _matrix(chance: random.Random) -> str:
    rows, columns = chance.choice(((3, 3), (9, 9), (10, 10), (40, 20), (300, 300)))
    kind = chance.choice(("pmatrix", "bmatrix", "vmatrix", "array", "cases"))
    cells = ("1", "x", r"\frac{1}{2}")
    lines = ("&".join(chance.choice(cells) for _ in range(columns)) for _ in range(rows))
    body = r"\\".join(lines)
    return rf"\begin{{{kind}}}{body}\end{{{kind}}}" + chance.choice(("", "^{99}", "^{-1}"))


def _filled(chance: random.Random, forms: tuple[str, ...], sizes: tuple[int, ...]) -> str:
    form = chance.choice(forms)
    while "N" in form:
        form = form.replace("N", str(chance.choice(sizes)), 1)
    return form


def _factorial(chance: random.Random) -> str:
    forms = ("N!", "N!!", "((N!)!)!", r"\binom{N}{N}", r"\Gamma(N)", "N!/2", r"\frac{1}{N!}")
    return _filled(chance, forms, (9, 99, 999, 9999, 99999, 10**9))


def _operation(chance: random.Random) -> str:
    forms = (
        r"\sum_{k=1}^{N} k^{N}", r"\prod_{k=1}^{N} (x+k)", r"\int_0^1 x^x dx",
        r"\int_0^{N} \sin(x^2) e^{-x^3} dx", r"\lim_{x\to 0} (1+x)^{N/x}",
        r"\sum_{k=1}^{\infty} \frac{1}{k^{N}}", r"\sum_{i=1}^{N}\sum_{j=1}^{N} i^j",
        r"\int \frac{1}{x^{N}+1} dx", r"\iint x^{N} dx dy", r"\sum_{k=1}^{N} \frac{1}{k}",
    )  # fmt: skip
    return _filled(chance, forms, (2, 7, 99, 999, 9999))


def _power(chance: random.Random) -> str:
    forms = (
        "(x+y+z)^{N}", r"(1+\sqrt{2})^{N}", "N^{N}", r"\sin(N^{99})", "x^{N}-1",
        "(x+1)^{N}(x-1)^{99}", r"\frac{(x^2+1)^{N}}{(x-1)^{33}}", r"\sqrt[N]{2}", "e^{N}",
        "2^{-N}", r"\log(N^{999})", "i^{N}", "(a+b)^{N}=c", "x^{N}>2", "|x|^{N}<y",
    )  # fmt: skip
    return _filled(chance, forms, (9, 99, 999, 9999, 12345))


def _nested(chance: random.Random) -> str:
    name = chance.choice((r"\sin", r"\tan", r"\log", r"\cos", r"\arcsin"))
    number = chance.choice((3, 9, 20, 60))
    return f"{name}(" * number + chance.choice(("1", "x", "x+y")) + ")" * number


def _soup(chance: random.Random) -> str:
    return "".join(chance.choice(_PIECES) for _ in range(chance.choice((5, 12, 25, 60, 200))))


def _list(chance: random.Random) -> str:
    forms = ("x+N", r"\sqrt{N}", "N", "(N,x)", "x=N", r"\frac{x}{N}")
    length = chance.choice((3, 10, 24, 60, 99, 2000))
    return ",".join(_filled(chance, forms, tuple(range(1, 99))) for _ in range(length))


def _union(chance: random.Random) -> str:
    ends = (r"\infty", "x", r"\sqrt{2}", "99")
    parts = (
        f"({chance.randint(0, 9)},{chance.choice(ends)})" for _ in range(chance.choice((2, 20)))
    )
    return r"\cup".join(parts)


_KINDS: tuple[Callable[[random.Random], str], ...] = (
    _tower, _roots, _unclosed, _repeated, _signs, _matrix, _factorial, _operation, _power,
    _nested, _soup, _soup, _soup, _list, _union,
)  # fmt: skip


def hostile_pairs(seed: int, number: int) -> Iterator[tuple[str, str]]:
    """Gold answers and completions; the hostile part is mostly in the completion's box."""
    chance = random.Random(seed)
    for _ in range(number):
        text, gold = chance.choice(_KINDS)(chance), chance.choice(GOLDS)
        yield chance.choice(
            [(gold, rf"So \boxed{{{text}}}.")] * 6
            + [(gold, text), (text, rf"\boxed{{{gold}}}"), (text, rf"\boxed{{{text}}}")]
            + [(gold, rf"\boxed{{{gold}}} {text}"), (gold, rf"{text} \boxed{{{gold}}}")]
        )
