"""What no parser of mathematics should see, and which gold answers cannot be graded."""

from __future__ import annotations

import math
import re

from srpo.rewards.math.text import MAX_ANSWER_CHARS

_MAX_DEPTH = 25
_MAX_POWERS = 40
_MAX_CELLS = 100
_MAX_ROOTS = 10
_MAX_LONG_OPERATIONS = 3
_LONG_DIGITS = re.compile(r"\d{400}")
_BIG_EXPONENT = re.compile(r"(?:\^\s*\{?|\*\*)\s*\(?\s*[+-]?\s*\d{5}")
_FACTORIAL = re.compile(r"\d{5}\s*[})]*\s*!|!\s*[})]*\s*!")
_BINOMIAL = re.compile(r"\\[dt]?binom\s*\{\s*\d{5}")
_POWER = re.compile(r"\^|\*\*")
_PARTS = re.compile(r"\*\*|\^|[{(\[]|[})\]]|\\[A-Za-z]+|\d+|[A-Za-z]")
_EXPONENT = re.compile(r"[{(+-]*(\d{1,400})")
_MAX_EXPONENT_DIGITS = 5
_LONG_OPERATION = re.compile(r"\\(?:sum|prod|coprod|i{1,3}nt|oint|lim|limsup|liminf)(?![A-Za-z])")
_MANY_STEPS = re.compile(r"\d{4}")


def too_heavy(text: str) -> str | None:
    """Why no parser should see this text, in a few words; None if it may.

    Takes time linear in the text; a text over the length limit is not looked at at all.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return f"longer than {MAX_ANSWER_CHARS} characters"
    if text.isascii() and text.isalnum() and len(text) < 40:
        return None
    if _depth(text) > _MAX_DEPTH:
        return "nested too deeply"
    if _LONG_DIGITS.search(text):
        return "a number with too many digits"
    if _too_powerful(text):
        return "powers too large to work out"
    if "!" in text and _FACTORIAL.search(text):
        return "a factorial too large to work out"
    return _too_many(text) if "\\" in text or "&" in text else None


def _too_many(text: str) -> str | None:
    if text.count("&") > _MAX_CELLS:
        return "too many cells"
    if text.count(r"\sqrt") + text.count("√") > _MAX_ROOTS:
        return "too many roots"
    if _BINOMIAL.search(text):
        return "a binomial too large to work out"
    operations = len(_LONG_OPERATION.findall(text))
    if operations > _MAX_LONG_OPERATIONS or (operations and _MANY_STEPS.search(text)):
        return "sums, products or integrals too long to work out"
    return None


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "})]":
            depth -= 1
    return deepest


def _too_powerful(text: str) -> bool:
    if "^" not in text and "**" not in text:
        return False
    many = len(_POWER.findall(text)) > _MAX_POWERS
    return many or bool(_BIG_EXPONENT.search(text)) or _is_tower(text)


def _is_tower(text: str) -> bool:
    r"""Three powers on top of each other over digits, or a power of a large power: 2^{2^{40}}."""
    text = "".join(text.split())
    if not any(char.isdigit() for char in text):
        return False
    levels = [0]  # how many powers high each open bracket stands
    height, chain_end, opens_exponent, before = 0, -1, False, ""
    for match in _PARTS.finditer(text):
        token = match[0]
        if token in ("^", "**"):
            height = (height if match.start() == chain_end else levels[-1]) + 1
            if height >= 3 or (height == 2 and _is_large(before, text, match.end())):
                return True
            opens_exponent = True
        elif token in "{([":
            levels.append(height if opens_exponent else levels[-1])
            opens_exponent = False
        elif token in "})]":
            height = levels.pop() if len(levels) > 1 else 0
            chain_end, opens_exponent = match.end(), False
        else:
            chain_end = match.end() if opens_exponent else -1
            opens_exponent = False
        before = token
    return False


def _is_large(base: str, text: str, position: int) -> bool:
    """True if `base` to the power that stands at this position has many digits."""
    exponent = _EXPONENT.match(text, position)
    if exponent is None:
        return False
    size = math.log10(max(2, int(base))) if base.isdecimal() else 0.25
    return int(exponent[1]) * size > _MAX_EXPONENT_DIGITS
