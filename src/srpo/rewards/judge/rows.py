"""One row for the judge -> what is judged, or what is wrong with the row.

docs/rewards.md has the form of the rows, and of the verdicts.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from srpo.problems.case_rows import cases_row, parse_tests
from srpo.problems.row_words import BadRowError, kind_of, parse_json
from srpo.types import CodeCase, Domain, Json, Verdict

REQUIRED: dict[Domain, tuple[str, ...]] = {
    "math": ("domain", "completion", "answer"),
    "code": ("domain", "completion", "tests"),
}
OPTIONAL = ("id", "prompt", "stop_reason", "prefilled")
_KNOWN = frozenset((*REQUIRED["math"], *REQUIRED["code"], *OPTIONAL))
MAX_ROW_BYTES = 64 << 20
_MAX_ID_CHARS = 1000


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One completion to judge, with what it is checked against.

    >>> parse_judge_row(b'{"domain": "math", "completion": "4", "answer": 4}', 3).id
    3
    """

    id: Json  # a text or a number; that of the line if the row has none
    number: int  # of the line, from 1
    domain: Domain
    completion: str
    answer: str | None = None
    tests: tuple[CodeCase, ...] = ()
    prompt: str = ""  # whose scripts the completion may use
    truncated: bool = False
    prefilled: bool | None = None  # the prompt ended with <think>; None: as the completion looks


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of one row.

    >>> Judged(7, Verdict.CORRECT).row()
    {'id': 7, 'verdict': 'correct', 'detail': '', 'seconds': 0.0, 'parts': {}}
    """

    id: Json
    verdict: Verdict
    detail: str = ""  # why, in a few words; may be empty
    seconds: float = 0.0  # wall time of the check alone
    parts: dict[str, float] = field(default_factory=dict)  # measured numbers, without weights

    def row(self) -> dict[str, Json]:
        """The row as it is written."""
        return {
            "id": self.id,
            "verdict": self.verdict.value,
            "detail": self.detail,
            "seconds": round(self.seconds, 6),
            "parts": {name: round(value, 6) for name, value in self.parts.items()},
        }


def parse_judge_row(row: bytes | str | Mapping[str, Any], number: int) -> JudgeRow | Judged:
    """The row of a line, or its verdict if it cannot be judged: `ungradable`, with the reason.

    `number` is the line's, from 1; it stands for a missing id. Nothing is raised.
    """
    id: Json = number
    try:
        if isinstance(row, str):
            row = row.encode("utf-8", "surrogatepass")
        if isinstance(row, bytes) and len(row) > MAX_ROW_BYTES:
            raise BadRowError(f"the row is longer than {MAX_ROW_BYTES >> 20} MiB")
        fields = parse_json(row) if isinstance(row, bytes) else row
        if not isinstance(fields, Mapping):
            raise BadRowError(f"it is {kind_of(fields)}; a row is a JSON object with named fields")
        fields = {name: value for name, value in fields.items() if value is not None}
        id = _id(fields, number)
        return _judge_row(fields, id, number)
    except BadRowError as error:
        return Judged(id, Verdict.UNGRADABLE, f"line {number}: {error}"[:500])
    except RecursionError:
        detail = f"line {number}: its values are nested too deeply"
        return Judged(id, Verdict.UNGRADABLE, detail)


def _judge_row(fields: Mapping[str, Any], id: Json, number: int) -> JudgeRow:
    domain = _domain(fields)
    for name in REQUIRED[domain]:
        if name not in fields:
            raise BadRowError(f"field {name!r} is missing{_hint(name, fields)}")
    _check_optional(fields)
    stop_reason = fields.get("stop_reason", "stop")
    if stop_reason not in ("stop", "length"):
        raise BadRowError('field \'stop_reason\' must be "stop" or "length"')
    prefilled = fields.get("prefilled")
    if prefilled is not None and not isinstance(prefilled, bool):
        raise BadRowError(f"field 'prefilled' is {kind_of(prefilled)}; it must be true or false")
    tests = parse_tests(fields["tests"]) if domain == "code" else ()
    _check_characters(json.dumps(cases_row(tests), ensure_ascii=False), "tests")
    return JudgeRow(
        id=id,
        number=number,
        domain=domain,
        completion=_whole_characters(_text(fields, "completion")),
        answer=_answer(fields["answer"]) if domain == "math" else None,
        tests=tests,
        prompt=_whole_characters(_text(fields, "prompt")) if "prompt" in fields else "",
        truncated=stop_reason == "length",
        prefilled=prefilled,
    )


def _id(fields: Mapping[str, Any], number: int) -> Json:
    id = fields.get("id")
    if id is None:
        return number
    if isinstance(id, bool) or not isinstance(id, str | int | float):
        raise BadRowError(f"field 'id' is {kind_of(id)}; it must be a string or a number")
    if isinstance(id, float) and not math.isfinite(id):
        raise BadRowError(f"field 'id' is {id}; it must be a string or a finite number")
    if isinstance(id, str) and len(id) > _MAX_ID_CHARS:
        raise BadRowError(f"field 'id' has {len(id)} characters; at most {_MAX_ID_CHARS}")
    return id


def _domain(fields: Mapping[str, Any]) -> Domain:
    if "domain" not in fields:
        hint = _hint("domain", fields) or '; it is "math" or "code"'
        raise BadRowError(f"field 'domain' is missing{hint}")
    match fields["domain"]:
        case "math":
            return "math"
        case "code":
            return "code"
        case other:
            given = repr(other)[:60]
            raise BadRowError(f'field \'domain\' is {given}; it must be "math" or "code"')


def _hint(missing: str, fields: Mapping[str, Any]) -> str:
    """The field that was probably meant to be the missing one."""
    others = sorted(str(name)[:60] for name in fields.keys() - _KNOWN)
    near = difflib.get_close_matches(missing, others, n=1, cutoff=0.6)
    return f"; unknown field {near[0]!r}, did you mean {missing!r}?" if near else ""


def _check_optional(fields: Mapping[str, Any]) -> None:
    """Other fields are left alone, but not one that is almost `prompt` or the like."""
    wanted = [name for name in OPTIONAL if name not in fields and name != "id"]
    for name in fields.keys() - _KNOWN:
        near = difflib.get_close_matches(str(name)[:60], wanted, n=1, cutoff=0.85)
        if near:
            raise BadRowError(f"unknown field {str(name)[:60]!r}; did you mean {near[0]!r}?")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise BadRowError(f"field {name!r} is {kind_of(value)}; it must be a string")
    return value


def _answer(value: Any) -> str:
    """A number as answer becomes its text, as in problem files."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRowError(f"field 'answer' is {value}; it must be a finite number or a string")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadRowError(f"field 'answer' is {kind_of(value)}; it must be a string or a number")
    _check_characters(value, "answer")
    return value


def _check_characters(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRowError(
            f"field {name!r} holds half a character (a lone surrogate as \\ud800)"
        ) from None


def _whole_characters(text: str) -> str:
    """Half characters, which no encoding can carry, become question marks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
