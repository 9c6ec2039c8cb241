"""Math answers as text: finding the boxed one, reading numbers and words, refusing the absurd.

Everything here is exact, takes time linear in the text, and decides most comparisons. What is
left goes to `math_worker`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

RELATIVE_TOLERANCE = Fraction(1, 10**6)  # of a decimal that stands for a number without an end
MAX_ANSWER_CHARS = 1000
MAX_BARE_CHARS = 40
_MAX_SEARCHED_CHARS = 100_000
_MAX_DEPTH = 25
_MAX_POWERS = 40
_MAX_CELLS = 100
_MAX_EXPONENT = 400

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
    r"""Content of the last closed \boxed{} or \fbox{}; None if there is none.

    Of nested boxes the innermost content counts. Only the last 100,000 characters are searched.

    >>> last_boxed(r"\boxed{1} or rather \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    text = text[-_MAX_SEARCHED_CHARS:]
    open_at: list[int] = []  # where each open brace's content begins; -1: not a box
    found: tuple[int, int] | None = None
    for match in _BRACES.finditer(text):
        token = match[0]
        if token == "{":
            open_at.append(-1)
        elif token == "}":
            start = open_at.pop() if open_at else -1
            if start >= 0 and not (found and _only_wraps(text, start, match.start(), found)):
                found = (start, match.start())
        elif token[-1] == "{" and len(token) > 2:
            open_at.append(match.end())
    return text[found[0] : found[1]].strip() if found else None


def _only_wraps(text: str, start: int, end: int, inner: tuple[int, int]) -> bool:
    """True if the box from `start` to `end` holds the inner box and nothing else."""
    before, after = text[start : inner[0]][:40], text[inner[1] + 1 : end][:40]
    return inner[0] > start and not after.strip() and bool(_BOX_ONLY.fullmatch(before))


_BOX_ONLY = re.compile(r"\s*\\(?:boxed|fbox)\s*\{\s*")

_SIGNS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "⁄": "/",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "，": ",", "（": "(", "）": ")",
    "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "°": r"^\circ ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "％": "%",
})  # fmt: skip
_SPACES = re.compile(r"\\(?:left|right|displaystyle|textstyle|quad|qquad)(?![A-Za-z])|\\[;: ]|~")
_THOUSANDS_TEX = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,|\\!)(?=\d{3}(?!\d))")
_THIN = re.compile(r"\\[,!]")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_NAMED = re.compile(r"[A-Za-z](?:_\{?\w\}?)?\s*=\s*(?=[^=]+$)")


def clean(text: str) -> str:
    """The answer without what never changes its meaning: signs, spacing, delimiters, `x =`."""
    text = text.translate(_SIGNS).strip()
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = _THOUSANDS_TEX.sub("", text)
    text = _THIN.sub(" ", _SPACES.sub(" ", text)).strip().rstrip(".;,").rstrip()
    for start, end in _DELIMITERS:
        inner = text[len(start) : len(text) - len(end)]
        if len(text) > len(start + end) and text.startswith(start) and text.endswith(end):
            text = text if start in inner else inner.strip()
    return _NAMED.sub("", text, count=1) if _NAMED.match(text) else text


@dataclass(frozen=True, slots=True)
class Number:
    """A rational number as it was written.

    >>> read_number(r"\\frac{1}{2}").value
    Fraction(1, 2)
    """

    value: Fraction
    decimal: bool = False  # written with a decimal point
    percent: bool = False  # written with a percent sign, which is not in the value


_UNIT_TEX = re.compile(
    r"(?<=[\d}%])\s*(?:\\(?:text|mathrm|mbox|textrm|rm)\s*\{[^{}\d]*\}\s*(?:\^\s*\{?\s*-?\d\s*\}?)?)+$"
)
_UNIT_WORDS = re.compile(r"(?<=[\d}])\s+(?:[A-Za-z]{2,15}\s*){1,3}$")
_NOT_UNITS = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozen|pi|sqrt|mod|and|or|base|log|ln|exp"
    r"|sin|cos|tan|infinity)s?\b",
    re.IGNORECASE,
)
_DEGREES = re.compile(r"\s*(?:\^\s*\{?\s*\\circ\s*\}?|\\degrees?)\s*$")
_CURRENCY = re.compile(r"^([+-]?)\s*(?:\\?\$|€|£|¥)\s*")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})")
_PLAIN_DECIMAL = r"-?\d{1,200}(?:\.\d{1,200})?"
_FRACTION = re.compile(
    rf"([+-]?)\\frac(?:\{{({_PLAIN_DECIMAL})\}}|(\d))(?:\{{({_PLAIN_DECIMAL})\}}|(\d))"
)
_SLASH = re.compile(rf"([+-]?)\(?({_PLAIN_DECIMAL})/({_PLAIN_DECIMAL})\)?")
_MIXED = re.compile(
    r"([+-]?)(\d{1,100})(?:\s*\\frac\{(\d{1,100})\}\{(\d{1,100})\}|\s+(\d{1,100})/(\d{1,100}))"
)
_SCIENTIFIC = re.compile(
    r"([+-]?\d{1,100}(?:\.\d{0,100})?)"
    r"(?:(?:\\times|\\cdot|\*)10\^(?:\{([+-]?\d{1,3})\}|([+-]?\d{1,3}))|[eE]([+-]?\d{1,3}))"
)


def read_number(text: str) -> Number | None:
    r"""The rational number that the text writes, or None if it is anything else.

    Reads integers, decimals, fractions, mixed numbers, scientific notation, thousands
    separators; ignores currency, degrees, and units; notes a percent sign.

    >>> read_number(r"\$1{,}250.50").value
    Fraction(2501, 2)
    """
    text = _bare_quantity(clean(text[: MAX_ANSWER_CHARS + 1]))
    percent = text.endswith("%")
    text = text.rstrip("%").rstrip("\\").strip() if percent else text
    try:
        return _rational(text, percent)
    except (ValueError, ZeroDivisionError):
        return None


def _bare_quantity(text: str) -> str:
    text = _CURRENCY.sub(r"\1", text)
    text = _DEGREES.sub("", text)
    for pattern in (_UNIT_TEX, _UNIT_WORDS):
        match = pattern.search(text)
        if match and not _NOT_UNITS.search(match[0]):
            text = text[: match.start()]
    return text.strip()


def _rational(text: str, percent: bool) -> Number | None:
    if match := _MIXED.fullmatch(text):
        top, bottom = match[3] or match[5], match[4] or match[6]
        return Number(
            _signed(match[1], int(match[2]) + Fraction(int(top), int(bottom))), False, percent
        )
    text = text.replace(" ", "")
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if _DECIMAL.fullmatch(text):
        return Number(Fraction(text.rstrip(".")), "." in text.rstrip("."), percent)
    if match := _FRACTION.fullmatch(text):
        ratio = Fraction(match[2] or match[3]) / Fraction(match[4] or match[5])
        return Number(_signed(match[1], ratio), False, percent)
    if match := _SLASH.fullmatch(text):
        return Number(_signed(match[1], Fraction(match[2]) / Fraction(match[3])), False, percent)
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(match[2] or match[3] or match[4])
        if abs(exponent) <= _MAX_EXPONENT:
            return Number(Fraction(match[1]) * Fraction(10) ** exponent, "." in match[1], percent)
    return None


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def same_number(one: Number, other: Number) -> bool:
    """Whether two written numbers are the same answer; symmetric and reflexive.

    Equal rationals are. A decimal is the same as a fraction without finite decimals if it is
    within one part in a million. If just one has a percent sign, the sign may be meant as a
    unit or as a hundredth: both are accepted.
    """
    if _close(one, other):
        return True
    if one.percent == other.percent:
        return False
    shrunk = [
        Number(number.value / 100, number.decimal) if number.percent else number
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


_WRAPPED_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf|textit|textrm|rm)\s*\{([^{}\\]*)\}")
_LETTERS = re.compile(r"[^\W\d_]+(?:[\s'-]+[^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Words:
    """An answer made of letters only, in lower case unless it is a single letter.

    >>> read_words(r"\\text{East}")
    Words(text='east', certain=True)
    """

    text: str
    certain: bool  # surely not a product of variables


def read_words(text: str) -> Words | None:
    """The words that the text consists of, or None if there is anything else in it."""
    cleaned = clean(text[: MAX_ANSWER_CHARS + 1])
    bare = _WRAPPED_TEXT.sub(r" \1 ", cleaned).strip().rstrip(".").strip()
    if bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1].strip()
    if not _LETTERS.fullmatch(bare):
        return None
    joined = " ".join(bare.split())
    certain = bare != cleaned or len(joined) >= 4
    return Words(joined if len(joined) == 1 else joined.casefold(), certain)


def quick_comparison(gold: str, answer: str) -> bool | None:
    """Whether the answer is the gold one, or None if that takes a parser."""
    numbers = read_number(gold), read_number(answer)
    if numbers[0] and numbers[1]:
        return same_number(numbers[0], numbers[1])
    words = read_words(gold), read_words(answer)
    if words[0] and words[1]:
        if words[0].text == words[1].text:
            return True
        letters = len(words[0].text) == len(words[1].text) == 1
        if letters or words[0].certain or words[1].certain:
            return False
    return None


_LONG_DIGITS = re.compile(r"\d{400,}")
_BIG_EXPONENT = re.compile(r"(?:\^\s*\{?|\*\*)\s*\(?\s*[+-]?\s*\d{5,}")
_FACTORIAL = re.compile(r"\d{4,}\s*[})]*\s*!|!\s*[})]*\s*!|\\binom\s*\{\s*\d{5,}")
_POWER = re.compile(r"\^|\*\*")
_TOWER_GAP = re.compile(r"[\s{}()\\A-Za-z0-9.+-]*")


def too_heavy(text: str) -> str | None:
    """Why no parser should see this text, in a few words; None if it may."""
    if len(text) > MAX_ANSWER_CHARS:
        return f"longer than {MAX_ANSWER_CHARS} characters"
    if _depth(text) > _MAX_DEPTH:
        return "nested too deeply"
    if _LONG_DIGITS.search(text):
        return "a number with too many digits"
    if _BIG_EXPONENT.search(text) or _is_tower(text) or len(_POWER.findall(text)) > _MAX_POWERS:
        return "powers too large to work out"
    if _FACTORIAL.search(text):
        return "a factorial too large to work out"
    return "too many cells" if text.count("&") > _MAX_CELLS else None


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        if char in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "})]":
            depth -= 1
    return deepest


def _is_tower(text: str) -> bool:
    r"""Three powers on top of each other over digits, or a power of a large power: 2^{2^{40}}."""
    height, last_end, has_digits = 1, -1, bool(re.search(r"\d", text))
    for match in _POWER.finditer(text):
        gap = text[last_end : match.start()] if last_end >= 0 else None
        stacked = gap is not None and "}" not in gap and _TOWER_GAP.fullmatch(gap)
        height = height + 1 if stacked else 1
        last_end = match.end()
        if has_digits and (
            height >= 3 or (height == 2 and re.match(r"\{?\d{2,}", text[last_end:]))
        ):
            return True
    return False


def gold_problem(answer: str | None) -> str | None:
    r"""Why a gold answer cannot be graded, in a few words; None if nothing speaks against it.

    Cheap, so it does not parse: an answer that passes can still turn out to be unreadable.

    >>> gold_problem("") is not None and gold_problem(r"\frac{1}{2}") is None
    True
    """
    if answer is None or not answer.strip():
        return "there is no gold answer"
    bare = bare_gold(answer)
    if reason := too_heavy(bare):
        return f"the gold answer cannot be checked: {reason}"
    if not re.search(r"[^\W_]|\\", bare):
        return "the gold answer holds neither a number nor a letter"
    if bare.replace(r"\{", "").count("{") != bare.replace(r"\}", "").count("}"):
        return "the gold answer has unbalanced braces"
    return None


def bare_gold(answer: str) -> str:
    """The gold answer itself, out of its box if it has one."""
    boxed = last_boxed(answer)
    return answer.strip() if boxed is None else boxed


def bare_number(text: str) -> str | None:
    """The text if it is one short line with one number and nothing else, else None."""
    text = text.strip()
    if len(text) > MAX_BARE_CHARS or "\n" in text or read_number(text) is None:
        return None
    return text
