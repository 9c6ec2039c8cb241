"""What is wrong with a file of settings, in plain words: one line for each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from srpo.config.base import Section

Loc = tuple[int | str, ...]  # where a value is: names, and positions from 0
SHOWN = 80  # characters of a wrong value

# pydantic's name of a mistake -> what a value must be; its limits are in the mistake's context
PLAIN_WORDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a section of settings, not a single value",
    "model_type": "must be a section of settings, not a single value",
    "literal_error": "must be {expected}",
    "too_short": "must have {min_length:g} or more entries",
    "string_too_short": "must have {min_length:g} or more characters",
    "string_too_long": "must have {max_length:g} characters at most",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be above {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be below {lt:g}",
}


class Place(NamedTuple):
    """Where a wrong value came from.

    >>> Place("--set seed=x", "seed", named=True).origin
    '--set seed=x'
    """

    origin: str  # a file or a flag
    name: str  # of the setting, as it is called there
    named: bool = False  # True if the origin says the name already


def explain(
    error: ValidationError,
    root: type[Section],
    place: Callable[[Loc], Place],
    also: Sequence[str] = (),
) -> str:
    """One line for each mistake: where it is, which setting, what is wrong, what to write.

    `also` are names that the file may have beside those of `root`.
    """
    mistakes = error.errors()
    wrong = [mistake["loc"] for mistake in mistakes]
    # a list that is too short for want of right entries
    told = [m for m in mistakes if m["type"] != "too_short" or not _has_inside(m["loc"], wrong)]
    lines = (_line(mistake, root, place(mistake["loc"]), also) for mistake in told)
    return "\n".join(dict.fromkeys(lines))  # one value for every stage is one mistake


def dotted(loc: Loc) -> str:
    """The name of a setting, counted from 1.

    >>> dotted(("stage", 0, "steps"))
    'stage.1.steps'
    """
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)


def shown(text: str) -> str:
    """At most `SHOWN` characters of a text, in one line.

    >>> shown("a\\nb")
    'a b'
    """
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def _has_inside(loc: Loc, others: Sequence[Loc]) -> bool:
    return any(len(other) > len(loc) and other[: len(loc)] == loc for other in others)


def _line(mistake: ErrorDetails, root: type[Section], place: Place, also: Sequence[str]) -> str:
    origin, name = place.origin, place.name
    if mistake["type"] == "extra_forbidden":
        return f"{origin}: unknown setting {name}{_suggestion(mistake['loc'], root, also)}"
    if mistake["type"] == "missing":
        return f"{origin}: {name} is missing; give it a value"
    return f"{origin}: {f'{name}: ' if name and not place.named else ''}{_complaint(mistake)}"


def _complaint(mistake: ErrorDetails) -> str:
    """What is wrong with a value, and the value if the message does not name it."""
    if mistake["type"] == "value_error":
        return mistake["msg"].removeprefix("Value error, ")
    words = PLAIN_WORDS.get(mistake["type"])
    text = words.format(**mistake.get("ctx", {})) if words else mistake["msg"]
    given = repr(mistake["input"])
    return f"{text} (given: {given.lower() if given in ('True', 'False') else shown(given)})"


def _suggestion(loc: Loc, root: type[Section], also: Sequence[str]) -> str:
    """`; did you mean X?` with the nearest name of the section that `loc` points into."""
    section: type[BaseModel] | None = root
    named = False  # True if the next part is a name that the user gave, such as that of a set
    for part in loc[:-1]:
        if named or section is None or part not in section.model_fields:
            named = False
            continue
        annotation = section.model_fields[str(part)].annotation
        section, named = _section_in(annotation), get_origin(annotation) is dict
    names = list(section.model_fields) if section else []
    if section is root:
        names.extend(also)
    near = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(names)}"


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The Section class inside a type such as `dict[str, SetConfig]`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for argument in get_args(annotation):
        found = _section_in(argument)
        if found:
            return found
    return None
