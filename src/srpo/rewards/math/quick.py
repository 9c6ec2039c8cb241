"""Comparing the shapes of two answers part by part; whoever compares the pieces decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from srpo.rewards.math.shape import Shape

_MAX_UNORDERED = 24

Same = Callable[[str, str], bool | None]  # whether two atoms are the same; None: not decided
_ALL = Shape("tuple", "()", (Shape("atom", r"-\infty"), Shape("atom", r"\infty")))


def same_shape(one: Shape, other: Shape, same: Same) -> bool | None:
    """Whether two answers are the same, as far as their shapes and `same` tell.

    None: that takes a look at the whole answers, or an atom was not decided.
    """
    if one.name and other.name and other_name(one.name, other.name):
        return None if _may_be_one_equation(one, other) else False
    one, other = (_ALL if shape.kind == "all" else shape for shape in (one, other))
    kinds = {one.kind, other.kind}
    if kinds == {"atom"}:
        return same(one.text, other.text)
    if kinds & {"union", "relation"}:
        return _same_whole(one, other, same) if _may_be_same(kinds, one, other) else False
    if kinds <= {"list", "set"}:
        if _num_sets(one) != _num_sets(other):
            return False
        return _same_unordered(one.parts, other.parts, same)
    if kinds == {"list", "tuple"}:
        listed, ordered = (one, other) if one.kind == "list" else (other, one)
        fits = ordered.text == "()" and listed.text != "pm"
        return _same_ordered(one.parts, other.parts, same) if fits else False
    if "atom" in kinds and kinds & {"list", "set"}:
        return _same_as_single(one, other, same)
    if kinds == {"tuple"}:
        return one.text == other.text and _same_ordered(one.parts, other.parts, same)
    if len(kinds) == 1:
        return _same_ordered(one.parts, other.parts, same)
    return None if kinds == {"atom", "ratio"} or kinds == {"atom", "matrix"} else False


_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"[A-Za-z]{3,}")
_ARGUMENT = re.compile(r"(?<=.)\([^()]*\)$")


def other_name(one: str, other: str) -> bool:
    """Whether two names are of different things; f is also called f(x), an area also A."""
    if one == other:
        return False
    shorter, longer = sorted((one, other), key=len)
    if _ARGUMENT.search(longer) and _ARGUMENT.sub("", longer) == shorter:
        return False
    words = [bool(_WORD.search(name)) and not name.isupper() for name in (one, other)]
    return words[0] == words[1]


def _may_be_one_equation(one: Shape, other: Shape) -> bool:
    """Whether each of two named values speaks of the other's name: y = 2x and x = y/2."""
    return (
        one.kind == other.kind == "atom" and len(one.name) == len(other.name) == 1
        and one.name in other.text and other.name in one.text
    )  # fmt: skip


_SET = re.compile(r"\\(?:setminus|backslash|mathbb|cap|emptyset)(?![A-Za-z])")


def _may_be_same(kinds: set[str], one: Shape, other: Shape) -> bool:
    """An equation is never the same as a value; an inequality may be the same as a set."""
    if kinds == {"relation"}:
        return True
    relations = [shape for shape in (one, other) if shape.kind == "relation"]
    if any("=" in shape.text.split() for shape in relations):
        return any(shape.name for shape in (one, other))  # y = 2x is an equation as well
    if "atom" in kinds:
        return not relations and any(_SET.search(shape.text) for shape in (one, other))
    return not relations or bool(kinds & {"union", "tuple", "set"})


def _same_whole(one: Shape, other: Shape, same: Same) -> bool | None:
    """Unions and relations written alike are the same; written otherwise they still may be."""
    if one.kind != other.kind or one.text != other.text or len(one.parts) != len(other.parts):
        return None
    unordered = one.kind == "union" or one.text in ("=", r"\ne")
    compared = (_same_unordered if unordered else _same_ordered)(one.parts, other.parts, same)
    return True if compared else None


def _same_as_single(one: Shape, other: Shape, same: Same) -> bool | None:
    many, single = (one, other) if one.kind != "atom" else (other, one)
    if len(many.parts) != 1 or (many.kind == "set" and not _is_value(many.parts[0])):
        return False
    return same_shape(many.parts[0], single, same)


def _num_sets(shape: Shape) -> int:
    return sum(part.kind == "set" for part in shape.parts)


def _is_value(shape: Shape) -> bool:
    """Whether a set of this one part is as good as the part: of a number, not of a letter."""
    if r"\emptyset" in shape.text or shape.kind != "atom":
        return False
    return not _LETTER.search(_COMMAND.sub(" ", shape.text))


def _same_ordered(ones: Sequence[Shape], others: Sequence[Shape], same: Same) -> bool | None:
    if len(ones) != len(others):
        return False
    found: bool | None = True
    for one, other in zip(ones, others, strict=True):
        compared = same_shape(one, other, same)
        if compared is False:
            return False
        found = found and compared
    return found


def _same_unordered(ones: Sequence[Shape], others: Sequence[Shape], same: Same) -> bool | None:
    ones, others = _without_repeated_tuples(ones), _without_repeated_tuples(others)
    if len(ones) != len(others):
        return False
    if _fixes_order(ones, others) or len(ones) > _MAX_UNORDERED:
        return _same_ordered(ones, others, same)
    left = list(others)
    undecided = False
    for one in ones:
        found = [same_shape(one, other, same) for other in left]
        if True in found:
            left.pop(found.index(True))
        elif None in found:
            undecided = True
        else:
            return False
    return None if undecided else True


def _without_repeated_tuples(shapes: Sequence[Shape]) -> list[Shape]:
    """A solution that is named twice counts once; a number may be repeated on purpose."""
    if not all(shape.kind == "tuple" for shape in shapes):
        return list(shapes)
    return list(dict.fromkeys(shapes))


def _fixes_order(ones: Sequence[Shape], others: Sequence[Shape]) -> bool:
    """True if one side names its values and the other leaves the names to their order."""
    names = [[shape.name for shape in shapes] for shapes in (ones, others)]
    for mine, theirs in (names, names[::-1]):
        heads = {name for name in mine if name}
        if len(heads) == len(mine) > 1 and not any(theirs):
            return True
    return False
