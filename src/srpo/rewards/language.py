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
    "Malayalam", "Oriya", "Tibetan", "Mongolian", "Adlam", "Balinese", "Buginese",
    "Canadian_Aboriginal", "Cham", "Cherokee", "Coptic", "Glagolitic", "Gothic", "Javanese",
    "Lepcha", "Limbu", "Lisu", "Meetei_Mayek", "New_Tai_Lue", "Nko", "Ol_Chiki", "Osage", "Runic",
    "Saurashtra", "Sundanese", "Syriac", "Tagalog", "Tai_Tham", "Thaana", "Tifinagh", "Vai", "Yi",
    "Common", "Inherited",
)  # fmt: skip
_SCRIPT = regex.compile("|".join(rf"(?P<{name}>\p{{Script={name}}})" for name in _SCRIPTS))
_FENCE = regex.compile(r"(`{3,}|~{3,}).*?(?:\1|\Z)", regex.DOTALL)
_NO_SCRIPT = ("Common", "Inherited")  # the scripts of letters such as ℝ: mathematics
# A Greek letter on its own is mathematics, too.
_SYMBOL = regex.compile(r"(?<!\p{Script=Greek})\p{Script=Greek}(?!\p{Script=Greek})")
_TAG = regex.compile(r"</?(?:think|answer)>")
_CODE = regex.compile(r"`[^`\n]{1,500}`")
_OPENING = regex.compile(r"\$\$|\$|\\\(|\\\[|\\[a-zA-Z]+")
_CLOSING = {"$$": "$$", "$": "$", r"\(": r"\)", r"\[": r"\]"}
_MAX_CHARS = 1_000_000
_MAX_INLINE_CHARS = 1000  # two dollar signs further apart are prices
_LETTER = regex.compile(r"\p{L}")


@lru_cache(maxsize=65536)
def _script(char: str) -> str:
    found = _SCRIPT.match(char)
    name = str(found.lastgroup) if found else "other"
    return _TOGETHER.get(name, name)


def _strip(text: str) -> str:
    return str(
        _SYMBOL.sub(" ", _without_math(_CODE.sub(" ", _FENCE.sub(" ", _TAG.sub(" ", text)))))
    )


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

    Latin is the script of code. Code and mathematics are left out first: formulas, a Greek letter
    on its own, letters such as ℝ that belong to no script. Chinese, Japanese and Korean scripts
    count as one. A text without letters has share 0. Of a text of more than a million characters
    the first million counts.

    >>> mixing_share("we 得到 4", "What is 2 + 2?")
    0.5
    """
    if text.isascii():
        return 0.0
    counts = Counter(_strip(text[:_MAX_CHARS]))
    letters = {
        char: count
        for char, count in counts.items()
        if char.isalpha() and _script(char) not in _NO_SCRIPT
    }
    total = sum(letters.values())
    if not total:
        return 0.0
    allowed = {_script(char) for char in set(_LETTER.findall(prompt))} | {"Latin"}
    foreign = sum(count for char, count in letters.items() if _script(char) not in allowed)
    return foreign / total
