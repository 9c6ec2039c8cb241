"""What the readers of rows share: strict JSON, and the words for what is wrong with a row."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any


class BadRowError(Exception):
    """What is wrong with one row, as a part of a sentence. Never reaches a user as it is."""


def parse_json(line: bytes) -> Any:
    """The value of one line of JSON. Raises BadRowError, also for a name that comes twice."""
    try:
        return json.loads(line.decode(), object_pairs_hook=unique_names)
    except UnicodeDecodeError as error:
        raise BadRowError(f"not UTF-8 text (byte {error.start + 1} of the line)") from error
    except json.JSONDecodeError as error:
        raise BadRowError(f"broken JSON ({error.msg} at character {error.pos + 1})") from error
    except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
        raise BadRowError(f"JSON that cannot be read ({str(error).split(';')[0]})") from error


def unique_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; BadRowError if a name comes twice, as Python would keep the last in silence.

    >>> unique_names([("a", 1)])
    {'a': 1}
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)
        raise BadRowError(f"field {twice!r} appears twice")
    return made


def check_name(name: str, known: Sequence[str], what: str) -> None:
    """Raise BadRowError for a name that is not known, with the nearest that is."""
    if name not in known:
        near = difflib.get_close_matches(str(name)[:60], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise BadRowError(f"unknown {what} {str(name)[:60]!r}; {hint}")


def kind_of(value: object) -> str:
    """What a JSON value is, in words.

    >>> kind_of([]), kind_of(None)
    ('a list', 'null')
    """
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"of type {type(value).__name__}")
