"""Finding the answer in what follows the thinking: the last box, or a short bare answer."""

from __future__ import annotations

import re

from srpo.rewards.math.numbers import read_number
from srpo.rewards.math.text import clean

MAX_BARE_CHARS = 100
_MAX_SEARCHED_CHARS = 3_000_000
_MAX_JOINED_CHARS = 20_000
_MAX_STATED_CHARS = 4_000
_MAX_BETWEEN = 60
_MAX_PLAIN_GOLD_CHARS = 300  # a longer gold answer without a box is a worked solution

_BRACES = re.compile(r"\\\\?(?:begin)?(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BOX_ONLY = re.compile(r"\s*\\(?:boxed|fbox)\s*\{\s*")
_UNCLOSED_BOX = re.compile(r"\\+(?:boxed|fbox)\s*\{")
_BOX_WITHOUT_BRACES = re.compile(r"\\(?:boxed|fbox)\s{0,3}([A-Za-z0-9])(?![A-Za-z0-9])")

_ONE_PLAIN_BOX = re.compile(r"[^b]{0,6}\\boxed\{([^{}\\]*)\}(?!.*(?:boxed|fbox))", re.DOTALL)

Span = tuple[int, int]  # where the content of a box begins and ends


def last_boxed(text: str) -> str | None:
    r"""Content of the last closed \boxed{} or \fbox{}; None if there is none.

    Of nested boxes the innermost content counts. Linear in the text, of which only the last
    three million characters are searched.

    >>> last_boxed(r"\boxed{1} or rather \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    text = _relevant(text)
    if plain := _ONE_PLAIN_BOX.match(text):
        return plain[1].strip()
    boxes = _closed_boxes(text)
    if boxes:
        return text[boxes[-1][0] : boxes[-1][1]].strip()
    bare = _BOX_WITHOUT_BRACES.findall(text)
    return str(bare[-1]) if bare else None


def _relevant(text: str) -> str:
    """The text from its first box on."""
    if len(text) > _MAX_SEARCHED_CHARS:
        text = text[-_MAX_SEARCHED_CHARS:]
    found = [place for place in (text.find("boxed"), text.find("fbox")) if place >= 0]
    return text[max(0, min(found) - 6) :] if found else ""


def _closed_boxes(text: str) -> list[Span]:
    """The boxes that are closed, in the order in which they close, without mere wrappers."""
    open_at: list[int] = []  # where each open brace's content begins; -1: not a box
    closed: list[Span] = []
    for match in _BRACES.finditer(text):
        token = match[0]
        if token == "{":
            open_at.append(-1)
        elif token == "}":
            start = open_at.pop() if open_at else -1
            if start >= 0 and not (closed and _only_wraps(text, start, match.start(), closed[-1])):
                closed.append((start, match.start()))
        elif token[-1] == "{" and len(token) > 2:
            open_at.append(match.end())
    return closed


def _only_wraps(text: str, start: int, end: int, inner: Span) -> bool:
    """True if the box from `start` to `end` holds the inner box and nothing else."""
    before, after = text[start : inner[0]][:40], text[inner[1] + 1 : end][:40]
    return inner[0] > start and not after.strip() and bool(_BOX_ONLY.fullmatch(before))


_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox|textrm)\s*\{([^{}]*)\}")
_LETTERS = re.compile(r"[^\W\d_]")
_ENDS_JOINING = re.compile(r"(?:\band|\bor)\s*(?:[A-Za-z]\w{0,10}\s*=\s*)?$")
_COMMAND = re.compile(r"\\(?:q?quad|[,;: !()\[\]])|[$]")


def joined_boxes(text: str) -> str | None:
    r"""The contents of the last boxes as one list, if several stand together; else None.

    They stand together if what is between them is no letter, or ends in "and" or "or".

    >>> joined_boxes(r"\boxed{1} and \boxed{2}"), joined_boxes(r"\boxed{1}, so it is \boxed{2}")
    ('1, 2', None)
    """
    if text.count("boxed{", -_MAX_JOINED_CHARS) + text.count("fbox{", -_MAX_JOINED_CHARS) < 2:
        return None
    text = _relevant(text[-_MAX_JOINED_CHARS:])
    boxes = _closed_boxes(text)[-30:]
    together = boxes[-1:]
    for box in boxes[-2::-1]:
        between = text[box[1] + 1 : together[0][0]]
        if len(between) > _MAX_BETWEEN or box[1] > together[0][0] or not _joins(between):
            break
        together.insert(0, box)
    if len(together) < 2:
        return None
    return ", ".join(text[start:end].strip() for start, end in together)


def _joins(between: str) -> bool:
    between = between[: between.rfind("\\")]  # without the command that opens the next box
    plain = _COMMAND.sub(" ", _TEXT.sub(r" \1 ", between)).strip()
    return not _LETTERS.search(plain) or bool(_ENDS_JOINING.search(plain))


def find_answer(text: str) -> str | None:
    r"""The answer in what follows the thinking: its last box, or a bare answer; else None.

    Prose is not searched: that would reward guessing.

    >>> find_answer(r"So it is \boxed{4}."), find_answer("4"), find_answer("It is 4.")
    ('4', '4', None)
    """
    boxed = last_boxed(text)
    return (boxed or None) if boxed is not None else bare_answer(text)


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
    for search in (_said, _closing_formula, _last_sentence, _last_formula, _only_number):
        stated = search(text)
        if stated is not None:
            return stated
    return None


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
