"""One row of a problem file <-> one Problem, or what is wrong with the row. No torch.

`problems` has the files around the rows; the format is in docs/problems.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from srpo.problems.case_rows import cases_row, parse_tests
from srpo.problems.foreign_rows import native_row
from srpo.problems.row_words import BadRowError, check_name, kind_of, parse_json
from srpo.problems.scorer_rows import parse_scorer, scorer_row
from srpo.types import Domain, Json, Problem

__all__ = ["FIELDS", "BadRowError", "parse_row", "problem_row"]

FIELDS = ("domain", "statement", "answer", "tests", "id", "source", "level", "scorer")


def parse_row(row: bytes | Mapping[str, Any], source: str) -> Problem:
    """The problem of a JSON line or of a Parquet row, with an empty id.

    `source` is what the problem came from when the row does not say. Raises BadRowError.

    >>> parse_row(b'{"domain": "math", "statement": "2 + 2?", "answer": 4}', "a.jsonl").answer
    '4'
    """
    fields = parse_json(row) if isinstance(row, bytes) else row
    if not isinstance(fields, Mapping):
        raise BadRowError(f"it is {kind_of(fields)}; a row is a JSON object with named fields")
    fields = native_row(fields)
    for name in fields:
        check_name(name, FIELDS, "field")
    fields = {name: value for name, value in fields.items() if value is not None}
    domain = _domain(fields)
    statement = _text(fields, "statement", needs="a problem needs a statement to solve")
    scorer = parse_scorer(fields["scorer"]) if "scorer" in fields else None
    # a puzzle with many solutions has a scorer, and no one answer
    needs_answer = domain == "math" and ("answer" in fields or scorer is None)
    answer = _answer(fields) if needs_answer else None
    tests = parse_tests(fields.get("tests")) if domain == "code" else ()
    for foreign in {"math": ("tests",), "code": ("answer", "scorer")}[domain]:
        if foreign in fields:
            raise BadRowError(f"a {domain} problem has no field {foreign!r}; take it out")
    problem = Problem(
        id="",  # `problems` gives it, from the content
        domain=domain,
        statement=statement,
        answer=answer,
        tests=tests,
        source=_optional_text(fields, "source") or source,
        level=_level(fields),
        name=_optional_text(fields, "id"),
        scorer=scorer,
    )
    _check_plain(problem)
    return problem


def problem_row(problem: Problem) -> dict[str, Json]:
    """The row that `parse_row` reads back as the same problem; absent fields are left out."""
    row: dict[str, Json] = {"domain": problem.domain, "statement": problem.statement}
    if problem.answer is not None:
        row["answer"] = problem.answer
    if problem.tests:
        row["tests"] = cases_row(problem.tests)
    if problem.name:
        row["id"] = problem.name
    if problem.source:
        row["source"] = problem.source
    if problem.level is not None:
        row["level"] = problem.level
    if problem.scorer is not None:
        row["scorer"] = scorer_row(problem.scorer)
    return row


def _check_plain(problem: Problem) -> None:
    """Nested Parquet columns and escapes in JSON can hold what neither JSON nor UTF-8 can."""
    try:
        json.dumps(problem_row(problem), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRowError("it holds half a character (a lone surrogate as \\ud800)") from error
    except (TypeError, RecursionError) as error:
        raise BadRowError(f"a value in 'tests' is not JSON: {error}") from error


def _domain(fields: Mapping[str, Any]) -> Domain:
    if "domain" not in fields:
        raise BadRowError('field \'domain\' is missing; it is "math" or "code"')
    match fields["domain"]:
        case "math":
            return "math"
        case "code":
            return "code"
        case other:
            raise BadRowError(f'field \'domain\' is {other!r}; it must be "math" or "code"')


def _answer(fields: Mapping[str, Any]) -> str:
    value = fields.get("answer")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRowError(f"field 'answer' is {value}; it must be a finite number or a string")
    if isinstance(value, int | float) and not isinstance(value, bool):
        fields = {"answer": str(value)}
    return _text(fields, "answer", needs='a math problem needs a gold answer, as "answer": "4"')


def _text(fields: Mapping[str, Any], name: str, needs: str) -> str:
    if name not in fields:
        raise BadRowError(f"field {name!r} is missing; {needs}")
    value = fields[name]
    if not isinstance(value, str):
        raise BadRowError(f"field {name!r} is {kind_of(value)}; it must be a string")
    if not value.strip():
        raise BadRowError(f"field {name!r} is blank; {needs}")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRowError(f"field {name!r} is {kind_of(value)}; it must be a string")
    return str(value)


def _level(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("level")
    if isinstance(value, float) and value.is_integer():  # pandas makes 3 and null 3.0 and null
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise BadRowError(f"field 'level' is {value!r}; it must be a whole number")
