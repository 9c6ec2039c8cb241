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
    if one.name and other.name and _other_name(one.name, other.name):
        return False
    one, other = (_ALL if shape.kind == "all" else shape for shape in (one, other))
    kinds = {one.kind, other.kind}
    if kinds == {"atom"}:
        return same(one.text, other.text)
    if kinds & {"union", "relation"}:
        return _same_whole(one, other, same) if _may_be_same(kinds, one, other) else False
    if kinds <= {"list", "set"}:
        return _same_unordered(one.parts, other.parts, same)
    if kinds == {"list", "tuple"}:
        listed, ordered = (one, other) if one.kind == "list" else (other, one)
        fits = ordered.text == "()" and listed.text != "pm"
        return _same_ordered(one.parts, other.parts, same) if fits else False
    if "atom" in kinds and kinds & {"list", "set"}:
        return _same_as_single(one, other, same)
    if kinds == {"tuple"}:
        long = len(one.parts) >= 3
        return (long or one.text == other.text) and _same_ordered(one.parts, other.parts, same)
    if len(kinds) == 1:
        return _same_ordered(one.parts, other.parts, same)
    return None if kinds == {"atom", "ratio"} or kinds == {"atom", "matrix"} else False


def _other_name(one: str, other: str) -> bool:
    """Whether two names surely are of different things: of several names, or of symbols."""
    if one == other:
        return False
    heads = [name.split("_")[0].split("(")[0] for name in (one, other)]
    if all(len(head) == 1 for head in heads):
        both_marked = "_" in one and "_" in other
        return heads[0] != heads[1] or both_marked
    return False


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
    if len(many.parts) == 1:
        return same_shape(many.parts[0], single, same)
    return False


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
