"""The shape of an answer: list, tuple, interval, union, matrix, ratio, relation, or one piece.

A shape is read from a cleaned text, so that a parser of mathematics sees only single
expressions. `quick` compares shapes part by part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from srpo.rewards.math.sums import wrong_sums
from srpo.rewards.math.text import is_balanced, split_at_top

_MAX_PARTS = 100
_MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """One answer or a part of it.

    kind: `atom` (text), `list` (in any order), `set`, `tuple` (text: its brackets), `union`,
    `matrix` (of tuples), `ratio`, `relation` (text: the operator), `all` (the real line).

    >>> read_shape("x = (0, 1]")
    Shape(kind='tuple', text='(]', parts=(Shape(kind='atom', text='0', parts=(), name=''), \
Shape(kind='atom', text='1', parts=(), name='')), name='x')
    """

    kind: str
    text: str = ""
    parts: tuple[Shape, ...] = ()
    name: str = ""  # of the variable that it is said to be the value of


_JOINS = re.compile(
    r"\s*,?\s*(?:\\text\s*\{\s*,?\s*(?:and|or|,)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
    r"|(?<=[\d)\]}])(?:and|or)(?=[\dA-Z(\\\[-])|\\(?:wedge|vee)(?![A-Za-z])|&)\s*"
)
_SEMICOLON, _COMMA = re.compile(r"\s*;\s*"), re.compile(r"\s*,\s*")
_RELATIONS = re.compile(
    r"\\(?:le|ge|ne|approx|sim|in|equiv|cong|not\\in|subset|subseteq)(?![A-Za-z])|<|>|="
)
_CUP = re.compile(r"\\cup(?![A-Za-z])")
_COLON = re.compile(r"\s*:\s*")
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])\s*")
_MATRIX = re.compile(
    r"\\begin\s*\{((?:[pbB]|small)?matrix|array)\}(?:\s*\{[^{}]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_ROW, _CELL = re.compile(r"\\\\(?:\s*\[[^\]]*\])?"), re.compile(r"&")
_OUTWARD = re.compile(r"(\]|\(|\[)([^()\[\]]*),([^()\[\]]*)(\[|\)|\])")

_LETTER = r"(?:\\[A-Za-z]+|[A-Za-z])"
_SYMBOL = (
    rf"{_LETTER}(?:'|_(?:\{{[^{{}}]{{1,20}}\}}|\w)|\^\{{?(?:\\prime|'|\*|-1)\}}?)*"
    rf"(?:\s*\([^()=<>]{{0,30}}\))?"
)
_NAME = (
    rf"(?:{_SYMBOL}|[A-Z]{{2,6}}|\|{_LETTER}{{1,6}}\||\\angle\s*[A-Z]{{1,3}}|\\triangle\s*[A-Z]{{3}}"
    rf"|\\(?:overline|overrightarrow|vec|bar|hat)\s*\{{[^{{}}]{{1,10}}\}}"
    rf"|(?:\\text\s*\{{[^{{}}=]{{1,60}}\}}\s*){{1,3}}|\\mathbb\s*\{{P\}}\([^()]{{0,30}}\))"
)
_VALUE_NAME = re.compile(
    rf"\s*(?:{_NAME}(?:\s*:\s*{_NAME}){{0,3}}|\\frac\s*\{{{_NAME}\}}\s*\{{{_NAME}\}}"
    rf"|\(\s*{_SYMBOL}(?:\s*,\s*{_SYMBOL}){{1,9}}\s*\))\s*"
)
_VARIABLE = re.compile(rf"\s*(?!\\(?:pi|infty|sqrt|frac)){_SYMBOL}\s*")
_CONSTANT = re.compile(r"\s*(?:\\pi|\\infty|e|i)\s*")
_HAS_LETTER = re.compile(r"(?<!\\)(?<![A-Za-z])(?![ei](?![A-Za-z]))[A-Za-z]")
_LED_BY_TEXT = re.compile(
    r"\s*\\text\s*\{[^{}]*(?:\b(?:is|are|equals?|of|about|approximately)|[:=])\s*\}\s*(?=\S)",
    re.IGNORECASE,
)


def read_shape(text: str, depth: int = 0) -> Shape:
    """The shape of a cleaned answer; whatever cannot be taken apart is one atom."""
    text = text.strip()
    if match := _LED_BY_TEXT.match(text):
        text = text[match.end() :].strip()
    if depth > _MAX_NESTING or not is_balanced(text):
        return _half_open(text)
    if text.startswith(r"\begin") and (matrix := _matrix(text, depth)):
        return matrix
    for reader in (_list, _relation, _union, _ratio, _bracketed, _plus_minus):
        shape = reader(text, depth)
        if shape is not None:
            return shape
    if text.replace(" ", "") in (r"\mathbb{R}", r"\Reals"):
        return Shape("all")
    return Shape("atom", text)


def _half_open(text: str) -> Shape:
    """An interval written with outward brackets, as ]0, 1[, or an atom."""
    match = _OUTWARD.fullmatch(text)
    if match and (match[1] == "]" or match[4] == "["):
        brackets = ("(" if match[1] != "[" else "[") + (")" if match[4] != "]" else "]")
        return Shape("tuple", brackets, (read_shape(match[2]), read_shape(match[3])))
    return Shape("atom", text)


def _matrix(text: str, depth: int) -> Shape | None:
    match = _MATRIX.fullmatch(text)
    if match is None or r"\begin" in match[2]:
        return None
    rows = [row for row in _ROW.split(match[2].replace(r"\hline", "")) if row.strip()]
    cells = [tuple(read_shape(cell, depth + 1) for cell in _CELL.split(row)) for row in rows]
    return Shape("matrix", "", tuple(Shape("tuple", "()", row) for row in cells))


def _list(text: str, depth: int) -> Shape | None:
    if r"\begin" in text:
        return None
    groups = split_at_top(text, _SEMICOLON)
    if len(groups) > 1:
        return _several(groups, depth)
    pieces = [piece for part in split_at_top(text, _JOINS) for piece in split_at_top(part, _COMMA)]
    return _several(pieces, depth) if len(pieces) > 1 else None


def _several(pieces: Sequence[str], depth: int, kind: str = "list") -> Shape | None:
    pieces = [piece for piece in pieces if piece.strip()]
    if len(pieces) > _MAX_PARTS:
        return None
    if len(pieces) > 1:  # k in Z and the like only say what a letter stands for
        pieces = [piece for piece in pieces if not _is_condition(piece)] or pieces
    shapes = [read_shape(piece, depth + 1) for piece in pieces]
    parts: list[Shape] = []
    for shape in shapes:
        parts.extend(shape.parts if shape.kind == "list" and shape.text == "pm" else [shape])
    if len(parts) == 1 and kind == "list":
        return parts[0]
    return Shape(kind, "", tuple(parts))


_CONDITION = re.compile(
    rf"\s*(?:\\text\s*\{{[^{{}}]*\}}\s*)?{_LETTER}\s*\\in\s*\\mathbb\s*\{{[A-Z]\}}\s*"
)


def _is_condition(piece: str) -> bool:
    return _CONDITION.fullmatch(piece) is not None


_FLIPPED = {"<": ">", r"\le": r"\ge", ">": "<", r"\ge": r"\le"}


def _relation(text: str, depth: int) -> Shape | None:
    operators = [match[0] for match in _RELATIONS.finditer(text)]
    if not operators:
        return None
    sides = [side.strip() for side in split_at_top(text, _RELATIONS)]
    if len(sides) != len(operators) + 1:
        return None
    sides, operators = _without_approximation(sides, operators)
    if not operators:
        return read_shape(sides[0], depth + 1)
    if all(operator == "=" for operator in operators):
        return _equation(sides, depth)
    if operators == [r"\in"] and _VALUE_NAME.fullmatch(sides[0]):
        return replace(read_shape(sides[1], depth + 1), name=_name(sides[0]))
    if any(operator in (">", r"\ge") for operator in operators):
        sides = sides[::-1]
        operators = [_FLIPPED.get(operator, operator) for operator in operators[::-1]]
    if any(operator not in ("<", r"\le") for operator in operators):
        parts = tuple(read_shape(side, depth + 1) for side in sides)
        return Shape("relation", " ".join(operators), parts)
    return _inequality(sides, operators, depth)


def _without_approximation(sides: list[str], operators: list[str]) -> tuple[list[str], list[str]]:
    """What follows an approximation sign is dropped, unless only a name stands before it."""
    for i, operator in enumerate(operators):
        if operator in (r"\approx", r"\sim"):
            if not sides[0]:
                return sides[1:2], []
            if i == 0 and _VALUE_NAME.fullmatch(sides[0]):
                return sides[:2], ["="]
            return sides[: i + 1], operators[:i]
    return sides, operators


def _equation(sides: list[str], depth: int) -> Shape:
    first, last = sides[0], sides[-1]
    if not first or _CONSTANT.fullmatch(first):
        return read_shape(last, depth + 1)
    if _VALUE_NAME.fullmatch(first):
        return replace(read_shape(last, depth + 1), name=_name(first))
    if _VARIABLE.fullmatch(last) and len(sides) == 2 and not _HAS_LETTER.search(first):
        return replace(read_shape(first, depth + 1), name=_name(last))
    if not _HAS_LETTER.search(first) and (len(sides) > 2 or not _HAS_LETTER.search(last)):
        if wrong_sums(sides):
            return Shape("relation", "=", tuple(Shape("atom", side) for side in sides))
        return read_shape(last, depth + 1)  # a calculation: its result comes last
    return Shape("relation", "=", (Shape("atom", first), Shape("atom", last)))


def _inequality(sides: list[str], operators: list[str], depth: int) -> Shape:
    """An interval if it bounds one variable by constants, else a relation."""
    variables = [i for i, side in enumerate(sides) if _VARIABLE.fullmatch(side)]
    others = [side for i, side in enumerate(sides) if i not in variables]
    if len(variables) == 1 and not any(_HAS_LETTER.search(side) for side in others):
        name = _name(sides[variables[0]])
        if len(sides) == 3 and variables == [1]:
            ends = (sides[0], sides[2])
            brackets = ("(" if operators[0] == "<" else "[") + (")" if operators[1] == "<" else "]")
            return _interval(brackets, ends, name, depth)
        if len(sides) == 2 and variables == [0]:
            brackets = "(" + (")" if operators[0] == "<" else "]")
            return _interval(brackets, (r"-\infty", sides[1]), name, depth)
        if len(sides) == 2 and variables == [1]:
            brackets = ("(" if operators[0] == "<" else "[") + ")"
            return _interval(brackets, (sides[0], r"\infty"), name, depth)
    parts = tuple(read_shape(side, depth + 1) for side in sides)
    return Shape("relation", " ".join(operators), parts)


def _interval(brackets: str, ends: tuple[str, str], name: str, depth: int) -> Shape:
    return Shape("tuple", brackets, tuple(read_shape(end, depth + 1) for end in ends), name)


_NOT_OF_NAMES = re.compile(r"[\s{}|]|\\(?:text|overline|overrightarrow|vec|bar)(?![A-Za-z])")


def _name(text: str) -> str:
    return _NOT_OF_NAMES.sub("", text)


def _union(text: str, depth: int) -> Shape | None:
    pieces = split_at_top(text, _CUP)
    if len(pieces) < 2:
        return None
    return Shape("union", "", tuple(read_shape(piece, depth + 1) for piece in pieces))


def _ratio(text: str, depth: int) -> Shape | None:
    pieces = split_at_top(text, _COLON) if ":" in text else []
    if len(pieces) < 2 or not all(piece.strip() for piece in pieces):
        return None
    return Shape("ratio", "", tuple(read_shape(piece, depth + 1) for piece in pieces))


_OPENERS = (
    (r"\{", r"\}", "set"), (r"\langle", r"\rangle", "()"), ("(", ")", "()"), ("(", "]", "(]"),
    ("[", ")", "[)"), ("[", "]", "[]"), ("{", "}", "list"), ("<", ">", "()"),
)  # fmt: skip
_CONDITION_BAR = re.compile(r"\||:|\\mid|\\colon")


def _bracketed(text: str, depth: int) -> Shape | None:
    for opener, closer, kind in _OPENERS:
        if text.startswith(opener) and text.endswith(closer) and len(text) > len(opener + closer):
            inner = text[len(opener) : -len(closer)].strip()
            if not is_balanced(inner):
                return None
            return _inside(inner, kind, depth)
    return None


def _inside(inner: str, kind: str, depth: int) -> Shape | None:
    if kind == "set" and len(sides := split_at_top(inner, _CONDITION_BAR)) == 2:
        return read_shape(sides[1], depth + 1)  # all x with this property
    separator = _SEMICOLON if ";" in inner else _COMMA
    pieces = split_at_top(inner, separator)
    if kind in ("set", "list"):
        if kind == "list" and len(pieces) == 1:
            return read_shape(inner, depth + 1)
        return _several(pieces, depth, kind)
    if len(pieces) == 1:
        alone = kind == "()" or inner.startswith(r"\begin")
        return read_shape(inner, depth + 1) if alone else None
    if len(pieces) > _MAX_PARTS:
        return None
    return Shape("tuple", kind, tuple(read_shape(piece, depth + 1) for piece in pieces))


def _plus_minus(text: str, depth: int) -> Shape | None:
    if not _PLUS_MINUS.search(text):
        return None
    plus = _PLUS_MINUS.sub(lambda match: "+" if match[1] == "pm" else "-", text)
    minus = _PLUS_MINUS.sub(lambda match: "-" if match[1] == "pm" else "+", text)
    both = tuple(read_shape(side.lstrip("+ "), depth + 1) for side in (plus, minus))
    return Shape("list", "pm", both)
