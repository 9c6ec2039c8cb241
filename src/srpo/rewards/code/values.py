"""Whether a returned plain value is the expected one. docs/rewards.md says what counts."""

from __future__ import annotations

from collections.abc import Mapping

_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 1e-9, 1e-9
_KEY_BITS = 4096  # Python refuses to write integers of more than 4300 digits


def same_value(expected: object, value: object) -> bool:
    """Whether a returned plain value is the expected one, in time linear in their size.

    True and 1 differ; 1 and 1.0 are the same; an expected integer is exact, an expected float
    may be off by 1e-9, relative or absolute; nan is nan; a list and a tuple with the same items
    are the same; a set is only the same as a set; integer keys of dictionaries are the same as
    their decimal text, as JSON has no others. Any depth is fine.

    >>> same_value([1, 2.0, {"1": None}], (1.0, 2, {1: None})), same_value(1, True)
    (True, False)
    """
    pairs: list[tuple[object, object]] = [(expected, value)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, dict) and isinstance(other, dict):
            shared = _by_key(one, other)
            if shared is None:
                return False
            pairs.extend(shared)
        elif not _same_leaf(one, other):
            return False
    return True


def _same_leaf(expected: object, value: object) -> bool:
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    if isinstance(expected, (int, float)) and isinstance(value, (int, float)):
        return _same_real(expected, value)
    return type(expected) is type(value) and expected == value


def _same_real(expected: int | float, value: int | float) -> bool:
    if expected == value or (expected != expected and value != value):  # the second: both nan
        return True
    if isinstance(expected, int):  # an integer is exact, whatever the type of what came back
        return False
    try:
        gap, size = abs(expected - value), max(abs(expected), abs(value))
    except OverflowError:  # an integer beyond the floats
        return False
    return gap <= max(_RELATIVE_TOLERANCE * size, _ABSOLUTE_TOLERANCE) and size != float("inf")


def _by_key(
    expected: Mapping[object, object], value: Mapping[object, object]
) -> list[tuple[object, object]] | None:
    """The items of both under each key; None if the keys differ."""
    if len(expected) != len(value):
        return None
    one = {_as_key(key): item for key, item in expected.items()}
    if len(one) != len(expected):
        return None
    pairs: dict[object, tuple[object, object]] = {}
    for key, item in value.items():
        key = _as_key(key)
        if key not in one:  # before it is kept: keys made to collide never meet each other
            return None
        pairs[key] = (one[key], item)
    return list(pairs.values()) if len(pairs) == len(one) else None


def _as_key(key: object) -> object:
    if isinstance(key, int) and not isinstance(key, bool) and key.bit_length() < _KEY_BITS:
        return str(key)
    return ("truth", key) if isinstance(key, bool) else key
