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
_MATH = regex.compile(
    r"\$\$[^$]{1,5000}\$\$|\$[^$\n]{1,1000}\$|\\\((?:(?!\\\)).){1,5000}\\\)"
    r"|\\\[(?:(?!\\\]).){1,5000}\\\]|\\[a-zA-Z]+",
    regex.DOTALL,
)
_LETTER = regex.compile(r"\p{L}")


@lru_cache(maxsize=65536)
def _script(char: str) -> str:
    found = _SCRIPT.match(char)
    name = found.lastgroup if found else "other"
    return _TOGETHER.get(name, name)


def _strip(text: str) -> str:
    return str(_MATH.sub(" ", _CODE.sub(" ", _FENCE.sub(" ", text))))


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
