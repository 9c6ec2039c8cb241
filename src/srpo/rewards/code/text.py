"""The program in a completion: fenced blocks as Markdown has them, in linear time.

Nothing here parses or compiles the model's text: only its lines, fences and string quotes are
looked at. docs/rewards.md has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_OPENING = re.compile(r"([ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(`{3,}|~{3,})([^\r\n]*)")
_PYTHON = re.compile(r"\{?[ \t]*\.?(?:python|py)(?:3(?:\.\d+)?)?(?![\w+#-])", re.IGNORECASE)
# A comment, a triple quote, or a string that ends on its line.
_CODE_TOKEN = re.compile(r"#[^\r\n]*|'''|\"\"\"|'(?:\\.|[^'\\\r\n])*'?|\"(?:\\.|[^\"\\\r\n])*\"?")
_IN_STRING = {quote: re.compile(r"\\.|" + quote) for quote in ("'''", '"""')}
_MAX_WORD_CHARS = 200  # of a line's beginning: what could be a fence's mark


@dataclass(frozen=True, slots=True)
class _Fence:
    """A line that opens a block."""

    prefix: str  # white space, or the mark of a list item, before it
    char: str
    size: int  # how many backquotes or tildes
    info: str


@dataclass(frozen=True, slots=True)
class _End:
    """Where a block ends: at a closing line, or at a line that opens another block."""

    i_line: int
    closed: bool


def extract_program(answer: str) -> str | None:
    r"""The last closed fenced block that is marked as Python; if none is, the last unmarked one.

    Blank blocks do not count. None if there is no such block: code outside a block is not an
    answer, and a block that is never closed was cut off.

    >>> extract_program("Here:\n```python\nx = 1\n```\nIt prints:\n```\n1\n```\n")
    'x = 1\n'
    """
    if "```" not in answer and "~~~" not in answer:
        return None
    marked = unmarked = None
    for info, program in _blocks(_LINE.findall(answer)):
        if not program.strip():
            continue
        if not info:
            unmarked = program
        elif _PYTHON.match(info):
            marked = program
    return marked if marked is not None else unmarked


def bare_program(text: str) -> str | None:
    r"""The text itself if it has no fence outside its strings and is not blank, else None.

    Whether it is a program, running it shows. For rows that hold a program, not a completion.

    >>> bare_program("def f(): return 1"), bare_program("```python\nx = 1\n```")
    ('def f(): return 1', None)
    """
    if not text.strip():
        return None
    if "```" in text or "~~~" in text:
        quote = ""
        for line in _LINE.findall(text):
            if not quote and _fence(line) is not None:
                return None
            quote = _quote_after(line, quote)
    return text


def _blocks(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(info, content) of every closed block."""
    i_line = 0
    read_strings = True
    while i_line < len(lines):
        fence = _fence(lines[i_line])
        i_line += 1
        if fence is None:
            continue
        end, in_string = _find_end(lines, i_line, fence, read_strings=read_strings)
        if end is None:
            if in_string is None:
                return
            # A string that is never closed: from here on fences are taken as they come, so that
            # the rest of the text is searched only once more.
            end, read_strings = in_string, False
        if end.closed:
            yield fence.info, _content(lines[i_line : end.i_line], fence.prefix)
        i_line = end.i_line + end.closed


def _find_end(
    lines: Sequence[str], start: int, fence: _Fence, *, read_strings: bool
) -> tuple[_End | None, _End | None]:
    """The end of a block outside Python's long strings, and the first end inside of one."""
    quote = ""
    in_string: _End | None = None
    for i_line in range(start, len(lines)):
        line = lines[i_line]
        end = _end_at(line, i_line, fence)
        if end is not None and not quote:
            return end, in_string
        in_string = in_string or end
        if read_strings:
            quote = _quote_after(line, quote)
    return None, in_string


def _end_at(line: str, i_line: int, fence: _Fence) -> _End | None:
    """A closing fence has no info; one that has opens another block, and this one stays open."""
    found = _fence(line)
    if found is None or found.char != fence.char or found.size < fence.size:
        return None
    return _End(i_line, closed=not found.info)


def _fence(line: str) -> _Fence | None:
    match = _OPENING.match(line)
    if match is None:
        return None
    prefix, marks, info = match.groups()
    if marks[0] == "`" and "`" in info:  # code within a line
        return None
    return _Fence(prefix, marks[0], len(marks), info.strip()[:_MAX_WORD_CHARS])


def _content(lines: Sequence[str], prefix: str) -> str:
    """The lines of a block, without the indentation that all of them share with its fence."""
    indent = re.sub(r"[^ \t]", " ", prefix)
    if indent and all(line.startswith(indent) or not line.strip() for line in lines):
        return "".join(line.removeprefix(indent) for line in lines)
    return "".join(lines)


def _quote_after(line: str, quote: str) -> str:
    """The triple quote of the string that is open at the end of a line of code; "" if none is."""
    position = 0
    while True:
        match = (_IN_STRING[quote] if quote else _CODE_TOKEN).search(line, position)
        if match is None:
            return quote
        position = match.end()
        if quote and match[0] == quote:
            quote = ""
        elif not quote and match[0] in _IN_STRING:
            quote = match[0]
