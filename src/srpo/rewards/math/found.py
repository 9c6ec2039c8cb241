"""Finding the answer in what follows the thinking: the last box, or a short bare answer."""

from __future__ import annotations

import re

from srpo.rewards.math.boxes import joined_boxes, last_boxed, touched
from srpo.rewards.math.numbers import read_number
from srpo.rewards.math.text import clean

MAX_BARE_CHARS = 100
_MAX_STATED_CHARS = 4_000
_UNCLOSED_BOX = re.compile(r"\\+(?:boxed|fbox)\s*\{")
_MAX_PLAIN_GOLD_CHARS = 300  # a longer gold answer without a box is a worked solution


def find_answer(text: str) -> str | None:
    r"""The answer in what follows the thinking: its last box, or a bare answer; else None.

    Prose is not searched: that would reward guessing.

    >>> find_answer(r"So it is \boxed{4}."), find_answer("4"), find_answer("It is 4.")
    ('4', '4', None)
    """
    boxed = last_boxed(text)
    if boxed is None:
        return bare_answer(text)
    return None if touched(text) else boxed or None


_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox|textrm)\s*\{([^{}]*)\}")
_LETTERS = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")
_MATH_WORDS = frozenset({
    "sqrt", "pi", "exp", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan",
    "log", "ln", "and", "or", "infty", "inf", "oo", "frac", "dfrac", "binom", "mod", "theta",
    "alpha", "beta", "gcd", "lcm", "max", "min", "abs", "degrees", "degree", "percent", "cis",
    "million", "billion", "thousand", "hundred", "pct", "percentage",
})  # fmt: skip
_STUCK_JOIN = re.compile(r"(?<=[\d)\]}])(?:and|or)(?=[\dA-Z(\\\[-])")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z]{1,12}\*?\}(?:\{[lcr|]{1,20}\})?")
_CHOICE = re.compile(r"\(?[A-Z][).:]\s.{1,80}|\([A-Z]\).{0,80}")
_BREAKS = re.compile(r"[\n\r]")


def bare_answer(text: str) -> str | None:
    r"""The text if it is nothing but one short answer, else None.

    That is an expression, a quantity with its unit, or a choice such as `B) 4`. Words are not:
    they count only if the gold answer says the same.

    >>> bare_answer(r"$\frac12$"), bare_answer("x + 1"), bare_answer("The answer is 4")
    ('$\\frac12$', 'x + 1', None)
    """
    text = text.strip()
    matrix = text.startswith((r"\begin", "$\\begin")) and len(text) <= 4 * MAX_BARE_CHARS
    if not text or "boxed" in text or (len(text) > MAX_BARE_CHARS and not matrix):
        return None
    if _BREAKS.search(text) and not matrix:
        return None
    if _CHOICE.fullmatch(text):
        return text
    return text if _reads_as_answer(_ENVIRONMENT.sub(" ", text)) else None


def _reads_as_answer(text: str) -> bool:
    if not re.search(r"[^\W_]|\\[A-Za-z]", text):
        return False
    plain = _STUCK_JOIN.sub(" ", _TEXT.sub(" ", text))
    words = [word.casefold() for word in _WORD.findall(plain)]
    foreign = [word for word in words if word not in _MATH_WORDS]
    if not foreign:
        return True
    number = read_number(text)
    return number is not None and (number.unit is not None or len(words) <= 2)


_STATED = re.compile(
    r"(?:final\s+answer|answer|result|solution)\s*(?:is|are|=|:|\*\*:?)+\s*", re.IGNORECASE
)
_FORMULA = re.compile(
    r"\$\$(.{1,2000}?)\$\$|\\\[(.{1,2000}?)\\\]|(?<!\\)\$((?:[^$\n\\]|\\.){1,1000})\$"
    r"|\\\(([^\n]{1,1000}?)\\\)",
    re.DOTALL,
)
_IS = re.compile(r"\b(?:is|are|equals)\b|'s\b|[=:]")
_NUMBER = re.compile(
    r"(?<![\w.,\\^_-])[+-]?\$?\d[\d,.]{0,40}%?(?![\w])|(?<![\w.\\])[+-]?\.\d{1,40}"
)
_SENTENCE_END = re.compile(r"[.?!]\$*(?:\s|$)|\n")
_MARKS = str.maketrans("", "", '*`"')
_TAIL = re.compile(r"<\|[a-z_]{1,30}\|>|I hope it is correct")


def find_stated_answer(text: str) -> str | None:
    r"""The answer of a text that need not have a box: for judging texts that others wrote.

    The last box or a bare answer if there is one. Else one place is looked at, the first of
    these that there is: what is called the answer, the last sentence, the last formula, the only
    number. So listing guesses gains nothing.

    >>> find_stated_answer("The answer is 42."), find_stated_answer("It is 4 or 5")
    ('42', '4 or 5')
    """
    found = find_answer(text)
    if found is not None or "boxed{" in text:
        return found
    text = text[-_MAX_STATED_CHARS:]
    tail = _TAIL.search(text)
    text = (text[: tail.start()] if tail else text).strip()
    if _denies(text):
        return None
    for search in (_said, _closing_formula, _last_sentence, _last_formula, _only_number):
        stated = search(text)
        if stated is not None:
            return stated
    return None


_NEGATION = re.compile(r"\b(?:not|never|cannot|wrong|incorrect)\b|n['’]t\b", re.IGNORECASE)


def _denies(text: str) -> bool:
    """Whether what is stated last is that something is not the answer."""
    places = [match.end() for match in _STATED.finditer(text)]
    if places:
        end = _SENTENCE_END.search(text, places[-1])
        return bool(_NEGATION.search(text[places[-1] : end.start() if end else len(text)]))
    ends = [match.end() for match in _SENTENCE_END.finditer(text[:-1])]
    return bool(_NEGATION.search(text[ends[-1] if ends else 0 :]))


def _said(text: str) -> str | None:
    places = [match.end() for match in _STATED.finditer(text)]
    if not places:
        return None
    rest = text[places[-1] :].translate(_MARKS).strip()
    if formula := _FORMULA.match(rest):
        return _content(formula)
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end else rest
    return bare_answer(sentence) or _ending(sentence) or _only_number(sentence)


def _content(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).strip()


def _closing_formula(text: str) -> str | None:
    """The formula that the text ends with."""
    formulas = list(_FORMULA.finditer(text))
    if not formulas or _LETTERS.search(text[formulas[-1].end() :]):
        return None
    return _content(formulas[-1]) or None


def _last_formula(text: str) -> str | None:
    formulas = list(_FORMULA.finditer(text))
    if not formulas:
        return None
    return _content(formulas[-1]) or None


def _last_sentence(text: str) -> str | None:
    """The bare answer, the formula, the ending or the only number of the last sentence."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text[:-1])]
    sentence = text[ends[-1] if ends else 0 :].translate(_MARKS).strip()
    if len(sentence) > _MAX_STATED_CHARS // 4:
        return None
    for search in (bare_answer, _last_formula, _ending, _only_number):
        stated = search(sentence)
        if stated is not None:
            return stated
    return None


def _ending(sentence: str) -> str | None:
    places = [match.end() for match in _IS.finditer(sentence)]
    if not places:
        return None
    ending = sentence[places[-1] :].strip(" .")
    return None if "$" in ending[1:] else bare_answer(ending)


def _only_number(text: str) -> str | None:
    if text.count("$") > 1 or r"\(" in text:
        return None  # its formulas are what counts
    numbers = _NUMBER.findall(text)
    return clean(numbers[0]) if len(numbers) == 1 else None


def bare_gold(answer: str) -> str:
    """The gold answer itself: out of its boxes if it has some, else the whole text."""
    if "boxed" not in answer and "fbox" not in answer:
        long = len(answer) > _MAX_PLAIN_GOLD_CHARS
        return (find_stated_answer(answer) if long else None) or answer.strip()
    joined = joined_boxes(answer)
    boxed = joined if joined is not None else last_boxed(answer)
    return _UNCLOSED_BOX.sub("", answer).strip() if boxed is None else boxed
