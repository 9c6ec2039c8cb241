"""Math answers as text: exact comparison of what takes no parser, and unfit gold answers.

Everything here is exact, takes time linear in the text, and decides most comparisons. What is
left goes to `worker`. docs/rewards.md says what counts as right, and why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from srpo.rewards.math.boxes import joined_boxes, last_boxed
from srpo.rewards.math.found import (
    bare_answer,
    bare_gold,
    find_answer,
    find_stated_answer,
)
from srpo.rewards.math.guards import too_heavy
from srpo.rewards.math.numbers import (
    Number,
    comma_decimal,
    number_of,
    other_labels,
    read_based,
    read_number,
    same_number,
    split_unit,
)
from srpo.rewards.math.quick import same_shape
from srpo.rewards.math.shape import Shape, read_shape
from srpo.rewards.math.text import MAX_ANSWER_CHARS, clean, is_balanced, key, without_text

__all__ = [
    "MAX_ANSWER_CHARS",
    "Number",
    "Words",
    "bare_answer",
    "bare_gold",
    "find_answer",
    "find_stated_answer",
    "gold_problem",
    "joined_boxes",
    "last_boxed",
    "quick_comparison",
    "read_number",
    "read_words",
    "reads_quickly",
    "same_number",
    "same_text",
    "too_heavy",
]

_SHORT_WORDS = frozenset({
    "yes", "no", "odd", "one", "two", "six", "ten", "all", "any", "red", "up", "sum", "mon", "tue",
    "wed", "thu", "fri", "sat", "sun", "sam", "tom", "tim", "ann", "amy", "bob", "ben", "joe",
    "dan",
})  # fmt: skip
_LETTERS = re.compile(r"[^\W\d_]+(?:[\s'-]+[^\W\d_]+)*")
_CHOICE = re.compile(r"\(?\s*([A-Za-z])\s*\)?")
_CHOICE_WITH_TEXT = re.compile(r"(?:\(\s*([A-Z])\s*\)|([A-Z])\s*(?:[.)]|:(?=\s)))\s*\S.*")
_CALLED_CHOICE = re.compile(r"(?:option|choice|answer)\s*:?\s+(?=\(?[A-Z]\b)", re.IGNORECASE)
_ANOTHER_CHOICE = re.compile(
    r"\(\s*[A-Z]\s*\)|(?<![A-Za-z])[A-Z][.)](?!\w)|(?:\band|\bor|[,;&/+])\s*\(?[A-Z](?![A-Za-z])"
)
_DOTS = re.compile(r"\\[cl]?dots|\.\.\.|…")
_INFINITE = re.compile(r"[+-]?\s*\\infty")
_DIVIDED_BY_ZERO = re.compile(r"\\frac\{[^{}]*\}\{0+\}|/\s*0+(?![\d.])")
_OUTWARD = re.compile(r"\][^\[\](){}]*,[^\[\](){}]*[\[)]|[(\[][^\[\](){}]*,[^\[\](){}]*\[")
_CODE_TEXT = re.compile(r"__\w+__|(?<!\\)\b(?:import|lambda)\b")


@dataclass(frozen=True, slots=True)
class Words:
    """An answer made of letters only, in lower case if they are surely no product.

    >>> read_words(r"\\text{East}")
    Words(text='east', certain=True)
    """

    text: str
    certain: bool  # surely not a product of variables


@dataclass(frozen=True, slots=True)
class _Reading:
    """An answer with all that is read from it without a parser."""

    cleaned: str
    key: str
    number: Number | None
    words: Words | None


@lru_cache(maxsize=16_384)
def _read(text: str) -> _Reading:
    cleaned = clean(text)
    number = number_of(cleaned)
    words = None if number else _words_of(cleaned)
    return _Reading(cleaned, key(cleaned), number, words)


@lru_cache(maxsize=4096)
def _shape_of(cleaned: str) -> Shape:
    return read_shape(cleaned)


def read_words(text: str) -> Words | None:
    """The words that the text consists of, or None if there is anything else in it."""
    return _words_of(clean(text)) if len(text) <= MAX_ANSWER_CHARS else None


def _words_of(cleaned: str) -> Words | None:
    bare = _CALLED_CHOICE.sub("", without_text(cleaned).strip(" .{}")).strip()
    if bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1].strip()
    if not _LETTERS.fullmatch(bare):
        return None
    joined = " ".join(bare.split())
    certain = bare != cleaned or len(joined) >= 4
    word = len(joined) >= 4 or joined.casefold() in _SHORT_WORDS
    return Words(joined.casefold() if word else joined, certain)


def same_text(one: str, other: str) -> bool:
    """Whether two short texts say the same in the same words, spacing and style aside."""
    if max(len(one), len(other)) > MAX_ANSWER_CHARS:
        return False
    this, that = _read(one), _read(other)
    if this.words and that.words:
        return this.words.text == that.words.text
    return one == other or (this.key == that.key != "")


def reads_quickly(text: str) -> bool:
    """Whether the text is a number or words, so that no parser need look at it."""
    if len(text) > MAX_ANSWER_CHARS:
        return False
    reading = _read(text)
    return reading.number is not None or reading.words is not None


def quick_comparison(gold: str, answer: str) -> bool | None:
    """Whether the answer is the gold one, or None if that takes a parser; symmetric."""
    if max(len(gold), len(answer)) > MAX_ANSWER_CHARS:
        return None
    one, other = sorted((_read(gold), _read(answer)), key=lambda reading: reading.cleaned)
    if one.number and other.number:
        return same_number(one.number, other.number)
    if one.key == other.key:
        return True if one.key else None
    if one.words and other.words:
        return _same_words(one.words, other.words)
    same = _special_forms(one, other)
    if same is not None:
        return same
    return same_shape(_shape_of(one.cleaned), _shape_of(other.cleaned), quick_piece)


def quick_piece(one_text: str, other_text: str) -> bool | None:
    """`quick_comparison` of two pieces that have no shape of their own."""
    one, other = _read(one_text), _read(other_text)
    if one.number and other.number:
        return same_number(one.number, other.number)
    if one.key == other.key:
        return True if one.key else None
    if one.words and other.words:
        return _same_words(one.words, other.words)
    for this, that in ((one, other), (other, one)):
        if _INFINITE.fullmatch(this.cleaned) and (that.number or _INFINITE.fullmatch(that.cleaned)):
            return this.key.lstrip("+") == that.key.lstrip("+")
        if this.number and that.words and that.words.certain:
            return False
    return False if _other_units(one, other) else None


def _other_units(one: _Reading, other: _Reading) -> bool:
    return other_labels(split_unit(one.cleaned)[1], split_unit(other.cleaned)[1])


def _same_words(one: Words, other: Words) -> bool | None:
    if one.text == other.text:
        return True
    letters = len(one.text) == len(other.text) == 1
    return False if letters or one.certain or other.certain else None


def _special_forms(one: _Reading, other: _Reading) -> bool | None:
    """Numbers with a base, choices, and what goes on for ever."""
    based = read_based(one.cleaned), read_based(other.cleaned)
    if any(based) and all(based[i] or (one, other)[i].number for i in (0, 1)):
        return _same_based(one, other)
    choices = _choice(one.cleaned), _choice(other.cleaned)
    if choices[0] and choices[1]:
        return choices[0] == choices[1]
    for this, that in ((one, other), (other, one)):
        if this.number and this.number.decimal and (comma := comma_decimal(that.cleaned)):
            return same_number(this.number, comma)
    if _DOTS.search(one.cleaned) or _DOTS.search(other.cleaned):
        return False  # only the same text says the same
    return None


def _same_based(one: _Reading, other: _Reading) -> bool:
    forms = []
    for reading in (one, other):
        based = read_based(reading.cleaned)
        if based is None and reading.number is not None:
            whole = reading.number.value.denominator == 1
            based = (int(reading.number.value), 10) if whole else (0, 0)
        forms.append(based)
    return forms[0] == forms[1]


def _choice(cleaned: str) -> str | None:
    """The letter of an answer to a multiple-choice question, alone or before its text."""
    bare = _CALLED_CHOICE.sub("", without_text(cleaned)).strip()
    if match := _CHOICE.fullmatch(bare):
        return match[1] if bare == match[1] else match[1].upper()
    match = _CHOICE_WITH_TEXT.fullmatch(bare)
    if match is None or _ANOTHER_CHOICE.search(bare, match.end(1 if match[1] else 2)):
        return None
    return match[1] or match[2]


def gold_problem(answer: str | None) -> str | None:
    r"""Why a gold answer cannot be graded, in a few words; None if nothing speaks against it.

    Cheap, so it does not parse: an answer that passes can still turn out to be unreadable.
    `MathVerifier.check_gold` parses too.

    >>> gold_problem("") is not None and gold_problem(r"\frac{1}{2}") is None
    True
    """
    if answer is None or not answer.strip():
        return "there is no gold answer"
    if len(answer) > 200 * MAX_ANSWER_CHARS:
        return f"the gold answer is longer than {200 * MAX_ANSWER_CHARS} characters"
    return _bare_gold_problem(bare_gold(answer))


@lru_cache(maxsize=16_384)
def _bare_gold_problem(bare: str) -> str | None:
    if reason := too_heavy(bare):
        return f"the gold answer cannot be checked: {reason}"
    if not re.search(r"[^\W_]|\\[A-Za-z]|[∞∅πℝ]|\\\{\s*\\\}", bare):
        return "the gold answer holds neither a number nor a letter"
    cleaned = clean(bare)
    if not is_balanced(cleaned) and not _unbalanced_on_purpose(cleaned):
        return "the gold answer has unbalanced brackets"
    if _DIVIDED_BY_ZERO.search(cleaned):
        return "the gold answer divides by zero"
    return "the gold answer is program text" if _CODE_TEXT.search(cleaned) else None


def _unbalanced_on_purpose(cleaned: str) -> bool:
    curly = cleaned.replace(r"\{", "").count("{") == cleaned.replace(r"\}", "").count("}")
    return curly and (
        bool(_OUTWARD.fullmatch(cleaned)) or bool(_CHOICE_WITH_TEXT.fullmatch(cleaned))
        or bool(re.fullmatch(r"[A-Za-z]\)", cleaned))
    )  # fmt: skip
