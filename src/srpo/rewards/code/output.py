r"""Whether a program's standard output is the expected one, under a checker named by the test.

| checker | two outputs are the same if |
|---|---|
| `lines` (default) | they have the same tokens on each line; blank lines at both ends aside |
| `tokens` | they have the same tokens, wherever the lines end |
| `exact` | they are equal, a line end at the very end aside |
| `unordered_lines` | they have the same lines in any order, blank lines aside |
| `unordered_tokens` | they have the same tokens in any order |
| `case_insensitive` | as `tokens`, with small and capital letters alike |
| `float:T` | as `tokens`, and every number may be off by T, relative or absolute |

Tokens are what white space separates. Under `lines`, `tokens` and `case_insensitive` a token of
the expected output that is a decimal number with a point or an exponent is compared as a number,
and may be off by 1e-6, relative or absolute. An integer is exact; `3.0` is 3, as C++ and Python
print whole floats differently. All other tokens are texts.
"""

from __future__ import annotations

import difflib
import math
import re

DEFAULT_CHECKER = "lines"
CHECKERS = (
    "lines", "tokens", "exact", "unordered_lines", "unordered_tokens", "case_insensitive",
)  # fmt: skip
_FLOAT = "float:"
_TOLERANCE = 1e-6
_MAX_NUMBER_CHARS = 400
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def checker_problem(name: str) -> str:
    """What is wrong with a checker's name, as the end of a sentence; "" if it is a checker.

    >>> checker_problem("float:1e-4"), checker_problem("token")
    ('', "unknown checker 'token'; did you mean 'tokens'?")
    """
    if name in CHECKERS:
        return ""
    if name.startswith(_FLOAT):
        if _tolerance(name) is not None:
            return ""
        return f"checker {name[:60]!r} needs a tolerance between 0 and 1, as in 'float:1e-4'"
    near = difflib.get_close_matches(name[:60], (*CHECKERS, "float:1e-6"), n=1, cutoff=0.5)
    known = f"known: {', '.join(CHECKERS)}, float:1e-6"
    hint = f"did you mean {near[0]!r}?" if near else known
    return f"unknown checker {name[:60]!r}; {hint}"


def same_stdout(expected: str, stdout: str, checker: str = DEFAULT_CHECKER) -> bool:
    r"""Whether two outputs are the same; see the table above. In linear time.

    An empty expected output is the same as no output and nothing else. Raises ValueError for
    an unknown checker.

    >>> same_stdout("0.5 3\n", "0.500000  3"), same_stdout("3\n", "3.1\n")
    (True, False)
    """
    if problem := checker_problem(checker):
        raise ValueError(problem)
    match checker:
        case "exact":
            return expected.removesuffix("\n") == stdout.removesuffix("\n")
        case "lines":
            return expected == stdout or _same_lines(_lines(expected), _lines(stdout))
        case "unordered_lines":
            return _sorted_lines(expected) == _sorted_lines(stdout)
        case "unordered_tokens":
            return sorted(expected.split()) == sorted(stdout.split())
        case "case_insensitive":
            return _same_tokens(expected.casefold().split(), stdout.casefold().split())
        case "tokens":
            return _same_tokens(expected.split(), stdout.split())
    tolerance = _tolerance(checker) or 0.0
    return _same_tokens(expected.split(), stdout.split(), tolerance, integers_too=True)


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().split("\n")]


def _sorted_lines(text: str) -> list[list[str]]:
    return sorted(line for line in _lines(text) if line)


def _same_lines(expected: list[list[str]], given: list[list[str]]) -> bool:
    return len(expected) == len(given) and all(map(_same_tokens, expected, given))


def _same_tokens(
    expected: list[str],
    given: list[str],
    tolerance: float = _TOLERANCE,
    *,
    integers_too: bool = False,
) -> bool:
    if len(expected) != len(given):
        return False
    return all(
        one == other or _same_number(one, other, tolerance, integers_too=integers_too)
        for one, other in zip(expected, given, strict=True)
    )


def _same_number(expected: str, given: str, tolerance: float, *, integers_too: bool) -> bool:
    """Whether two tokens that differ are numbers that are close enough."""
    if not integers_too and _INTEGER.fullmatch(expected):
        whole, point, rest = given.partition(".")
        return bool(point) and whole == expected and not rest.strip("0")
    one, other = _number(expected), _number(given)
    if one is None or other is None:
        return False
    return abs(one - other) <= tolerance * max(1.0, abs(one))


def _number(token: str) -> float | None:
    """The finite value of a plain decimal number: no nan, no underscore, no digit but 0 to 9."""
    if len(token) > _MAX_NUMBER_CHARS or _NUMBER.fullmatch(token) is None:
        return None
    value = float(token)
    return value if math.isfinite(value) else None


def _tolerance(checker: str) -> float | None:
    value = _number(checker.removeprefix(_FLOAT))
    return value if value is not None and 0.0 < value < 1.0 else None
