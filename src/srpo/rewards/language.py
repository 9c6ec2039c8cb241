"""How much of a completion is written in scripts that its prompt does not use."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import regex

# Counted as one: texts in these languages mix them by nature.
_TOGETHER = {"Hiragana": "Han", "Katakana": "Han", "Hangul": "Han", "Bopomofo": "Han"}
_SCRIPTS = (
    "Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo", "Arabic",
    "Hebrew", "Devanagari", "Bengali", "Thai", "Tamil", "Telugu", "Georgian", "Armenian",
    "Ethiopic", "Khmer", "Lao", "Myanmar", "Sinhala", "Gujarati", "Gurmukhi", "Kannada",
    "Malayalam", "Oriya", "Tibetan", "Mongolian",
)  # fmt: skip
_SCRIPT = regex.compile("|".join(rf"(?P<{name}>\p{{Script={name}}})" for name in _SCRIPTS))
_FENCE = regex.compile(r"```.*?(?:```|\Z)", regex.DOTALL)
_CODE = regex.compile(r"`[^`\n]{1,500}`")
_OPENING = regex.compile(r"\$\$|\$|\\\(|\\\[|\\[a-zA-Z]+")
_CLOSING = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
_MAX_INLINE_CHARS = 1000  # two dollar signs further apart are prices
_LETTER = regex.compile(r"\p{L}")


@lru_cache(maxsize=65536)
def _script(char: str) -> str:
    found = _SCRIPT.match(char)
    name = found.lastgroup if found else "other"
    return _TOGETHER.get(name, name)


def _strip(text: str) -> str:
    return _without_math(_CODE.sub(" ", _FENCE.sub(" ", text)))


def _without_math(text: str) -> str:
    """The text without formulas and LaTeX commands, in one pass from left to right."""
    kept: list[str] = []
    unclosed: set[str] = set()  # not closed anywhere further on, so not searched for again
    position = 0
    while match := _OPENING.search(text, position):
        kept.append(text[position : match.start()])
        opening, position = match[0], match.end()
        if opening not in _CLOSING or opening in unclosed:
            continue
        closing = _CLOSING[opening]
        limit = position + _MAX_INLINE_CHARS if opening == "$" else len(text)
        end = text.find(closing, position, limit)
        if end < 0 and opening != "$":
            unclosed.add(opening)
        elif end >= 0 and not (opening == "$" and "\n" in text[position:end]):
            position = end + len(closing)
    return " ".join([*kept, text[position:]])


def mixing_share(text: str, prompt: str) -> float:
    """Share of the text's letters, 0 to 1, in scripts other than Latin and those of the prompt.

    Code and mathematics are left out first, so Greek letters in formulas do not count. Chinese,
    Japanese and Korean scripts count as one. A text without letters has share 0.

    >>> mixing_share("we 得到 4", "What is 2 + 2?")
    0.5
    """
    letters = Counter(char for char in _strip(text) if char.isalpha())
    total = sum(letters.values())
    if not total:
        return 0.0
    allowed = {_script(char) for char in set(_LETTER.findall(prompt))} | {"Latin"}
    foreign = sum(count for char, count in letters.items() if _script(char) not in allowed)
    return foreign / total
