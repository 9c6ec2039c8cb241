"""Written numbers and quantities, read exactly: everything is a rational number or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from srpo.rewards.math.text import CURRENCY, MAX_ANSWER_CHARS, clean
from srpo.rewards.math.units import Unit, read_unit

RELATIVE_TOLERANCE = Fraction(1, 10**6)  # of a decimal that stands for a number without an end
_MAX_EXPONENT = 400


@dataclass(frozen=True, slots=True)
class Number:
    """A rational number as it was written.

    >>> read_number(r"\\frac{1}{2}").value
    Fraction(1, 2)
    """

    value: Fraction
    decimal: bool = False  # written with a decimal point
    percent: bool = False  # written with a percent sign, which is not in the value
    unit: Unit | None = None  # None: none, or not a known one
    label: str = ""  # the text after it, in one form: a unit, known or not
    perhaps_product: bool = False  # what looks like a unit may be a variable: 5 m


_NAMED = re.compile(r"[A-Za-z](?:_\{?\w\}?)?\s*=\s*(?=[^=]+$)")
_D = r"-?\d{1,200}(?:\.\d{1,200})?"
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3}){1,100}(?:\.\d{0,400})?")
_SPACED = re.compile(r"[+-]?[1-9]\d{0,2}(?: \d{3}){1,100}(?:\.\d{0,400})?")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})")
# With one digit after the comma it is rather a list of two.
_COMMA_DECIMAL = re.compile(r"([+-]?\d{1,200}),(\d{2,200})")
_REPEATING = re.compile(r"([+-]?)(\d{0,100})\.(\d{0,100})\\(?:overline|bar|dot)\{(\d{1,100})\}")
_FRACTION = re.compile(rf"([+-]?)\\frac\{{\(?({_D})\)?\}}\{{\(?({_D})\)?\}}")
_SLASH = re.compile(rf"([+-]?)\(?({_D})\)?/\(?({_D})\)?")
_MIXED = re.compile(
    r"([+-]?)\s*(\d{1,100})(?:\s*\\frac\{(\d{1,100})\}\{(\d{1,100})\}|\s+(\d{1,100})/(\d{1,100}))"
)
_SCIENTIFIC = re.compile(
    r"([+-]?)(?:(\d{1,100}(?:\.\d{0,100})?)(?:\\times|\\cdot|\*|x))?"
    r"10\^(?:\{([+-]?\d{1,3})\}|([+-]?\d{1,3}))"
)
_COMPUTER = re.compile(r"([+-]?\d{1,100}(?:\.\d{0,100})?)[eE]([+-]?\d{1,3})")
_CURRENCY_FIRST = re.compile(rf"([+-]?)\s*([{CURRENCY}€£¥])\s*([+-]?[\d.].*)")
_PLAIN_UNIT = re.compile(
    r"(.*[\d}])( ?)([A-Za-zµμΩ°¤€£¥¢][A-Za-zµμΩ°{}/.*·() -]{0,40}"
    r"(?:\^\s?\{?-?\d\}?[A-Za-zµμΩ°/.*·() ]{0,20}){0,3})"
)
_TEXT_TAIL = re.compile(
    r"(?:\s*(?:\\text\s*\{[^{}]*\}|\\cdot|\{[A-Za-z]\}|°|[/.*·()-]|\^\s*\{?\s*-?\d\s*\}?))+\s*"
)
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_MULTIPLIERS = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9,
    "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_NOT_UNITS = re.compile(
    r"\b(?:pi|sqrt|mod|and|or|base|log|ln|exp|sin|cos|tan|infinity|plus|minus|times|over|to|if"
    r"|when|for|where|not|is|e|i)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\b(?:squared|cubed|factorial|hal(?:f|ves)|(?:third|quarter|fourth|fifth|sixth|eighth|tenth"
    r"|hundredth|thousandth)s?|times|less|fewer|more|choose|root|th|wrong|incorrect|false|never"
    r"|cannot|than|negative|ago)\b",
    re.IGNORECASE,
)
_OF_AN_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)[^°]*°")
_TEMPERATURE = re.compile(r"°\s*\{?\s*([CF])\b\s*\}?")
_DIGIT_IN_TEXT = re.compile(r"(?<![\^{A-Za-z-])\d")


def read_number(text: str) -> Number | None:
    r"""The rational number that the text writes, or None if it is anything else.

    Reads integers, decimals (also with a repeating part), fractions, mixed numbers, scientific
    notation, thousands separators; takes currency, degrees, units and words like million along.

    >>> read_number(r"\$1{,}250.50").value
    Fraction(2501, 2)
    """
    if len(text) > MAX_ANSWER_CHARS:
        return None
    cleaned = clean(text)
    named = _NAMED.match(cleaned)
    return number_of(cleaned[named.end() :] if named else cleaned)


def number_of(cleaned: str) -> Number | None:
    """`read_number` for a text that is clean already."""
    if cleaned.isdigit() and cleaned.isascii():
        return Number(Fraction(int(cleaned))) if len(cleaned) <= 400 else None
    try:
        return _quantity(cleaned)
    except (ValueError, ZeroDivisionError):
        return None


def _quantity(text: str) -> Number | None:
    if match := _CURRENCY_FIRST.fullmatch(text):
        number = _quantity(match[1] + match[3])
        return replace(number, unit=number.unit or read_unit(match[2])) if number else None
    if number := _plain(text):
        return number
    body, unit_text, perhaps_product = split_unit(text)
    number = _plain(body) if unit_text else None
    if number is None:
        return None
    words = unit_text.split()
    while words and words[0].lower() in _MULTIPLIERS:
        number = replace(number, value=number.value * _MULTIPLIERS[words.pop(0).lower()])
    rest = " ".join(words)
    unit = read_unit(rest) if rest else None
    return replace(number, unit=unit, label=label_of(rest), perhaps_product=perhaps_product)


_PLURAL = re.compile(r"(?<=[a-z]{2})(?<!s)s\b")
_ANY_UNITS = frozenset({"unit", "square unit", "cubic unit", "sq unit"})


def label_of(unit_text: str) -> str:
    """The text after a quantity without its capitals and plurals; "" if it says nothing."""
    label = _PLURAL.sub("", " ".join(unit_text.casefold().replace(".", "").split()).strip(" {}"))
    return "" if label in _ANY_UNITS else label


def other_labels(one: str, other: str) -> bool:
    """Whether two texts after quantities surely name different things."""
    labels = label_of(one), label_of(other)
    if labels[0] == labels[1] or not all(labels):
        return False
    units = read_unit(one), read_unit(other)
    return units[0] is None or units[1] is None or units[0].bases != units[1].bases


def split_unit(text: str) -> tuple[str, str, bool]:
    r"""Body, unit as plain text, and whether the unit may be variables instead.

    Any text after a quantity is a unit, known or not, unless it joins or compares. The unit is
    "" if there is none.

    >>> split_unit(r"3\pi \text{ cm}^2")
    ('3\\pi', 'cm^2', False)
    """
    if _OF_AN_ANGLE.search(text):
        return text, "", False
    if text.endswith("°"):
        return text[:-1].rstrip(), "deg", False
    start = text.find(r"\text")
    if start < 0 and "°" in text:
        start = text.find("°")
    if "°" in text[:start]:
        start = text.find("°")
    if start > 0 and _TEXT_TAIL.fullmatch(text, start):
        unit = " ".join(_TEXT.sub(r" \1 ", text[start:]).split())
        if _NOT_UNITS.search(unit) or _changes_value(unit) or _DIGIT_IN_TEXT.search(unit):
            return text, "", False
        return text[:start].rstrip(), _TEMPERATURE.sub(r"°\1", unit).replace(" ^", "^"), False
    return _split_plain_unit(text)


def _changes_value(unit: str) -> bool:
    """Whether the text after a number says more than what is counted: 5 squared, 5 tenths."""
    return bool(_COUNTED.search(unit)) and read_unit(unit) is None


def _split_plain_unit(text: str) -> tuple[str, str, bool]:
    match = _PLAIN_UNIT.fullmatch(text.replace(r"\cdot", "·"))
    if match is None or _NOT_UNITS.search(match[3]) or _changes_value(match[3]):
        return text, "", False
    body, gap, unit = match[1], match[2], _TEMPERATURE.sub(r"°\1", match[3].strip())
    words = unit.split()
    if words[0].lower() in _MULTIPLIERS:
        return body, unit, False
    known = read_unit(unit)
    letters = sum(char.isalpha() for char in unit)
    if not gap:  # 12cm is a length, 5m and 5ab are products
        sure = known is not None and (letters >= 2 or not unit[0].isascii() or "," in body)
        return (body, unit, False) if sure else (text, "", False)
    if known is None and not all(len(word) > 1 and word.isalpha() for word in words):
        return text, "", False
    return (body, unit, len(unit) == 1) if len(words) <= 4 else (text, "", False)


def _plain(text: str) -> Number | None:
    percent = text.endswith("%")
    text = text[:-1].rstrip() if percent else text
    if not text or text[-1] not in "0123456789.})":
        return None
    if match := _MIXED.fullmatch(text):
        top, bottom = match[3] or match[5], match[4] or match[6]
        value = int(match[2]) + Fraction(int(top), int(bottom))
        return Number(_signed(match[1], value), False, percent)
    if _GROUPED.fullmatch(text) or _SPACED.fullmatch(text):
        text = text.replace(",", "")
    elif " " in text and re.search(r"\d \d", text):
        return None
    found = _rational(text.replace(" ", ""))
    return Number(found[0], found[1], percent) if found else None


def _rational(text: str) -> tuple[Fraction, bool] | None:
    """The value, and whether it has a decimal point."""
    if _DECIMAL.fullmatch(text):
        bare = text.rstrip(".")
        return Fraction(bare), "." in bare
    if "\\" in text and (match := _FRACTION.fullmatch(text)):
        return _signed(match[1], Fraction(match[2]) / Fraction(match[3])), False
    if match := _SLASH.fullmatch(text):
        return _signed(match[1], Fraction(match[2]) / Fraction(match[3])), False
    if match := _REPEATING.fullmatch(text):
        return _signed(match[1], _repeating(match[2], match[3], match[4])), False
    return _power_of_ten(text)


def _power_of_ten(text: str) -> tuple[Fraction, bool] | None:
    if match := _SCIENTIFIC.fullmatch(text):
        mantissa, exponent = match[2] or "1", int(match[3] or match[4])
        sign = match[1]
    elif match := _COMPUTER.fullmatch(text):
        sign, mantissa, exponent = "", match[1], int(match[2])
    else:
        return None
    if abs(exponent) > _MAX_EXPONENT:
        return None
    return _signed(sign, Fraction(mantissa) * Fraction(10) ** exponent), "." in mantissa


def _repeating(whole: str, start: str, period: str) -> Fraction:
    head = Fraction(int(whole + start or "0"), 10 ** len(start))
    return head + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(start))


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def same_number(one: Number, other: Number) -> bool | None:
    """Whether two written numbers are the same answer; symmetric and reflexive.

    Equal rationals are. A decimal is the same as a fraction without finite decimals if it is
    within one part in a million. If just one has a percent sign, the sign may be meant as a
    unit or as a hundredth: both are accepted. If both have known units, these are converted; if
    only one has, it is not looked at. None: what looks like a unit may be a variable.
    """
    if one.unit and other.unit:
        if one.unit.bases != other.unit.bases:
            return False
        ratio = one.unit.factor / other.unit.factor
        one = replace(one, value=one.value * ratio)
    elif one.label and other.label and one.label != other.label:
        return False
    elif one.perhaps_product != other.perhaps_product:
        return None
    if _close(one, other):
        return True
    if one.percent == other.percent:
        return False
    shrunk = [
        replace(number, value=number.value / 100) if number.percent else number
        for number in (one, other)
    ]
    return _close(shrunk[0], shrunk[1])


def _close(one: Number, other: Number) -> bool:
    if one.value == other.value:
        return True
    for decimal, endless in ((one, other), (other, one)):
        if decimal.decimal and not _terminates(endless.value):
            return abs(decimal.value - endless.value) <= RELATIVE_TOLERANCE * abs(endless.value)
    return False


def _terminates(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


_BASED = re.compile(
    r"\(?\s*([+-]?[0-9A-Z]{1,200})\s*\)?\s*_\s*\{?\s*(?:\\text\s*\{\s*)?(\w{1,8})[\s}]*"
)
_BASE_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16,
}  # fmt: skip


def read_based(cleaned: str) -> tuple[int, int] | None:
    """Value and base of a number written with its base, as in 1011_2; else None."""
    match = _BASED.fullmatch(cleaned)
    if match is None or not match[1].lstrip("+-")[:1].isdigit():
        return None
    base = int(match[2]) if match[2].isdecimal() else _BASE_WORDS.get(match[2], 0)
    try:
        return (int(match[1], base), base) if 2 <= base <= 36 else None
    except ValueError:
        return None


def comma_decimal(cleaned: str) -> Number | None:
    """The number if the text writes it with one decimal comma, as in 2,74; else None."""
    match = _COMMA_DECIMAL.fullmatch(cleaned)
    return Number(Fraction(f"{match[1]}.{match[2]}"), decimal=True) if match else None
