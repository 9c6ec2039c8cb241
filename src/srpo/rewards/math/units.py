"""Units of measurement: which are known, what they are made of, and exact conversion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

# base quantities: m g s A K mol cd, and some that are only equal to themselves
_DEFINED: dict[str, tuple[Fraction | int, str]] = {
    "m": (1, "m"), "g": (1, "g"), "s": (1, "s"), "A": (1, "A"), "K": (1, "K"),
    "mol": (1, "mol"), "cd": (1, "cd"), "deg": (1, "deg"), "rad": (1, "rad"),
    "°C": (1, "°C"), "°F": (1, "°F"), "dollar": (1, "dollar"), "euro": (1, "euro"),
    "pound": (1, "pound"), "yen": (1, "yen"), "cent": (Fraction(1, 100), "dollar"),
    "N": (1000, "g m s-2"), "J": (1000, "g m2 s-2"), "W": (1000, "g m2 s-3"),
    "Pa": (1000, "g m-1 s-2"), "Hz": (1, "s-1"), "C": (1, "A s"), "V": (1000, "g m2 s-3 A-1"),
    "Ω": (1000, "g m2 s-3 A-2"), "F": (Fraction(1, 1000), "g-1 m-2 s4 A2"),
    "T": (1000, "g s-2 A-1"), "Wb": (1000, "g m2 s-2 A-1"), "H": (1000, "g m2 s-2 A-2"),
    "L": (Fraction(1, 1000), "m3"), "eV": (1, "eV"), "cal": (1, "cal"), "bit": (1, "bit"),
    "byte": (8, "bit"), "u": (1, "u"), "atm": (101325000, "g m-1 s-2"),
    "bar": (10**8, "g m-1 s-2"),
    "min": (60, "s"), "h": (3600, "s"), "day": (86400, "s"), "week": (604800, "s"),
    "month": (1, "month"), "year": (12, "month"),
    "in": (Fraction(254, 10000), "m"), "ft": (Fraction(3048, 10000), "m"),
    "yd": (Fraction(9144, 10000), "m"), "mi": (Fraction(1609344, 1000), "m"),
    "t": (10**6, "g"), "lb": (Fraction(45359237, 100000), "g"),
    "oz": (Fraction(45359237, 1600000), "g"), "ha": (10000, "m2"), "gal": (1, "gal"),
    "mph": (Fraction(44704, 100000), "m s-1"), "knot": (Fraction(1852, 3600), "m s-1"),
    "acre": (Fraction(40468564224, 10**7), "m2"), "rpm": (Fraction(1, 60), "turn s-1"),
    "turn": (1, "turn"), "dB": (1, "dB"),
}  # fmt: skip
_NAMES = {
    "meter": "m", "metre": "m", "gram": "g", "second": "s", "sec": "s", "ampere": "A",
    "amp": "A", "kelvin": "K", "mole": "mol", "newton": "N", "joule": "J", "watt": "W",
    "pascal": "Pa", "hertz": "Hz", "coulomb": "C", "volt": "V", "ohm": "Ω", "Ohm": "Ω",
    "farad": "F", "tesla": "T", "weber": "Wb", "henry": "H", "liter": "L", "litre": "L",
    "l": "L", "minute": "min", "mins": "min", "hour": "h", "hr": "h", "inch": "in",
    "inche": "in", "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi", "ton": "t",
    "tonne": "t", "lbs": "lb", "ounce": "oz", "hectare": "ha", "gallon": "gal", "radian": "rad",
    "degree": "deg", "°": "deg", "celsius": "°C", "°c": "°C", "fahrenheit": "°F",
    "¤": "dollar", "usd": "dollar", "€": "euro", "£": "pound", "¥": "yen", "¢": "cent",
    "electronvolt": "eV", "calorie": "cal", "yr": "year", "days": "day", "micron": "µm",
    "revolution": "turn",
}  # fmt: skip
_PREFIXES = {
    "p": -12, "n": -9, "µ": -6, "μ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "k": 3, "M": 6,
    "G": 9, "T": 12,
    "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "kilo": 3,
    "mega": 6, "giga": 9, "tera": 12,
}  # fmt: skip
_PREFIXED = frozenset({
    "m", "g", "s", "A", "K", "mol", "N", "J", "W", "Pa", "Hz", "C", "V", "Ω", "F", "T", "L",
    "eV", "cal", "bit", "byte", "Wb", "H", "bar", "rad", "t",
})  # fmt: skip
_POWER_WORDS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3}
_BRACKETS = re.compile(r"[()]|(?<!\^)\{(?=[A-Za-z])|(?<=[A-Za-z])\}")
_TOKENS = re.compile(
    r"\s*(?:(?P<name>[A-Za-zµμΩ°¤€£¥¢]+)|(?P<power>\^\s*\{?\s*(?P<exponent>-?\d)\s*\}?)"
    r"|(?P<over>/|\bper\b)|(?P<times>\\cdot|\\times|[*.·]))"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A known unit: how many of its base units it is, and which those are.

    >>> read_unit("km") == Unit(Fraction(1000), (("m", 1),))
    True
    """

    factor: Fraction
    bases: tuple[tuple[str, int], ...]


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    r"""The unit that the text names, or None if it is not one of those known.

    >>> read_unit("kg m/s^2") == read_unit("N")
    True
    """
    text = text.replace(r"\Omega", "Ω").replace(r"\mu", "µ")
    total: dict[str, int] = {}
    factor, sign, position, pending = Fraction(1), 1, 0, 1
    last: tuple[Fraction, dict[str, int], int] | None = None
    stripped = _BRACKETS.sub(" ", text).strip()
    while position < len(stripped):
        match = _TOKENS.match(stripped, position)
        if match is None:
            return None
        position = match.end()
        name = match["name"]
        if match["over"] or name == "per":
            sign, last = -1, None
        elif name in _POWER_WORDS:
            factor, pending = _word_power(name, last, total, factor, pending)
        elif name:
            known = _one_unit(name)
            if known is None:
                return None
            last = (known[0], known[1], sign * pending)
            factor *= _multiply(total, last)
            pending = 1
        elif match["power"]:
            if last is None:
                return None
            factor *= _multiply(total, (last[0], last[1], last[2] * (int(match["exponent"]) - 1)))
            last = None
    bases = tuple(sorted((base, power) for base, power in total.items() if power))
    return Unit(factor, bases) if bases and pending == 1 else None


def _word_power(
    name: str,
    last: tuple[Fraction, dict[str, int], int] | None,
    total: dict[str, int],
    factor: Fraction,
    pending: int,
) -> tuple[Fraction, int]:
    """Square and cubic stand before their unit, squared and cubed after it."""
    power = _POWER_WORDS[name]
    if name.endswith("ed") and last is not None:
        return factor * _multiply(total, (last[0], last[1], last[2] * (power - 1))), pending
    return factor, power


def _multiply(total: dict[str, int], unit: tuple[Fraction, dict[str, int], int]) -> Fraction:
    factor, bases, power = unit
    for base, exponent in bases.items():
        total[base] = total.get(base, 0) + exponent * power
    return factor**power


@lru_cache(maxsize=1024)
def _one_unit(name: str) -> tuple[Fraction, dict[str, int]] | None:
    for candidate in (name, name.lower() if len(name) > 3 else name):
        for form in (candidate, candidate.removesuffix("s"), candidate.removesuffix("es")):
            if form and (known := _symbol(form)):
                return known
    return None


def _symbol(name: str) -> tuple[Fraction, dict[str, int]] | None:
    symbol = _NAMES.get(name, name)
    if symbol in _DEFINED:
        return _definition(symbol)
    for size in (5, 4, 1):  # micro, kilo, k
        prefix, rest = symbol[:size], symbol[size:]
        rest = _NAMES.get(rest, rest) if size > 1 or rest in ("l", "ohm") else rest
        if prefix in _PREFIXES and rest in _PREFIXED:
            factor, bases = _definition(rest)
            return factor * Fraction(10) ** _PREFIXES[prefix], bases
    return None


def _definition(symbol: str) -> tuple[Fraction, dict[str, int]]:
    factor, text = _DEFINED[symbol]
    bases = {}
    for part in text.split():
        base = part.rstrip("-0123456789")
        bases[base] = int(part[len(base) :] or 1)
    return Fraction(factor), bases
