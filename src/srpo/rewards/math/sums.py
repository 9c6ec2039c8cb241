"""Whether a short calculation, such as 2+2=5, is plainly wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

_TIMES = re.compile(r"\\cdot|\\times|\*")
_FRACTION = re.compile(r"\\frac\{(\d{1,50})\}\{(\d{1,50})\}")
_TERMS = re.compile(r"[+-]?[^+-]+")
_SUM = re.compile(r"[0-9+\-*/. ]{1,200}")


def wrong_sums(sides: Sequence[str]) -> bool:
    """True if two sides of a calculation have values, and these differ.

    >>> wrong_sums(["2+2", "5"]), wrong_sums(["5+6", "11"]), wrong_sums(["x", "5"])
    (True, False, False)
    """
    values = {value for side in sides if (value := _value(side)) is not None}
    return len(values) > 1


def _value(side: str) -> Fraction | None:
    """Value of a sum of products of plain numbers; None for anything else."""
    text = _FRACTION.sub(r"\1/\2", _TIMES.sub("*", side)).strip()
    if not _SUM.fullmatch(text) or re.search(r"[\d.]\s+[\d.]", text):
        return None
    try:
        return sum((_product(term) for term in _TERMS.findall(text)), Fraction(0))
    except (ValueError, ZeroDivisionError):
        return None


def _product(term: str) -> Fraction:
    value = Fraction(1)
    for i, factor in enumerate(re.split(r"([*/])", term.replace(" ", ""))):
        if i % 2:
            divides = factor == "/"
            continue
        value = value / Fraction(factor) if i and divides else value * Fraction(factor)
    return value
