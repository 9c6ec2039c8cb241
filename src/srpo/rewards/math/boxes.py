"""The boxes of a text: the last one, those that stand together, and what touches them."""

from __future__ import annotations

import re

_MAX_SEARCHED_CHARS = 3_000_000
_MAX_JOINED_CHARS = 20_000
_MAX_BETWEEN = 60
_NEAR = 40  # characters looked at before and after a box
_MAX_FORMULA = 2000

_BRACES = re.compile(r"\\\\?(?:begin)?(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BOX_ONLY = re.compile(r"\s*\\(?:boxed|fbox)\s*\{\s*")
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

    They stand together if a comma or a new line is between them and no letter, or "and" or "or".

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
    if _IN_TEXT[1].match(between):
        return False
    if _ENDS_JOINING.search(plain):
        return True
    return not _LETTERS.search(plain) and bool(_SEPARATOR.search(between))


_SEPARATOR = re.compile(r"[,;&\n]|\\q?quad")
_DELIMITERS = re.compile(r"\\\\|\\\$|\$\$?|\\[()\[\]]")
_OPERATION = r"\\(?:cdot|times|pm|mp|div)(?![A-Za-z])\s*"
_IN_FORMULA = (
    re.compile(
        rf"(?:[\d+/^_-]|\d[.,]|(?<!\*)\*|(?<![A-Za-z\\])[A-Za-z]|{_OPERATION}"
        r"|\\(?:sqrt|[dt]?frac)\{)$"
    ),
    re.compile(
        rf"\s*(?:\d|!|/|\*(?!\*)|[+-]\s*[\dA-Za-z\\(]|\^(?!\s*\{{?\s*\\circ)|{_OPERATION}"
        r"|\\(?:pi|sqrt|[dt]?frac)(?![A-Za-z]))|[.,]\d|_|[A-Za-z](?![A-Za-z])"
    ),
)
_IN_TEXT = (
    re.compile(rf"(?:\d|\d[.,/*^]|(?:^|[\s=(])[+-]|{_OPERATION}|\\(?:sqrt|[dt]?frac)\{{)$"),
    re.compile(r"[.,]?\d|[A-Za-z](?=$|[-+*/^=.,$])|[/*+-]\d|_[\d{]|\^(?!\s*\{?\s*\\circ)"),
)  # what may stand neither before nor after a box


def touched(text: str) -> bool:
    r"""Whether a digit, a letter or a sign is stuck to the last box, so that it is cut out.

    >>> touched(r"$-\boxed{5}$"), touched(r"10\boxed{5}"), touched(r"It is $x=\boxed{5}$.")
    (True, True, False)
    """
    cut = _relevant(text)
    offset = len(text) - len(cut)
    if plain := _ONE_PLAIN_BOX.match(cut):
        boxes = [(plain.start(1), plain.end(1))]
    else:
        boxes = _closed_boxes(cut)[-2:]
    if not boxes:
        return False
    opening = cut.rfind("\\", 0, boxes[-1][0])
    if len(boxes) == 2 and boxes[0][1] + 1 == opening:
        return True  # two boxes in one number
    before, after = text[: offset + opening], cut[boxes[-1][1] + 1 :][:_NEAR]
    in_formula = _is_in_formula(before)
    near = before[-_NEAR:].rstrip(" ") if in_formula else before[-_NEAR:]
    rules = _IN_FORMULA if in_formula else _IN_TEXT
    return bool(rules[0].search(near)) or bool(rules[1].match(after))


def _is_in_formula(before: str) -> bool:
    """Whether a formula is open at the end of this text, in its last paragraph."""
    paragraph = before[-_MAX_FORMULA:].rpartition("\n\n")[2]
    if "$" not in paragraph and "\\" not in paragraph:
        return False
    opened = ""
    for match in _DELIMITERS.finditer(paragraph):
        mark = match[0]
        if mark in ("$", "$$"):
            opened = "" if opened else mark
        elif mark in (r"\(", r"\["):
            opened = mark
        elif mark in (r"\)", r"\]"):
            opened = ""
    return bool(opened)
