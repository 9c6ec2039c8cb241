"""One row of a problem file <-> one Problem, or what is wrong with the row. No torch.

`problems` has the files around the rows; the format is in docs/problems.md.
"""

from __future__ import annotations

import difflib
import json
import keyword
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from srpo.types import CodeCase, Domain, FunctionCase, Json, Problem, StdioCase

FIELDS = ("domain", "statement", "answer", "tests", "id", "source", "level")
CASE_FIELDS = ("function", "args", "expected", "stdin", "stdout")


class BadRowError(Exception):
    """What is wrong with one row, as a part of a sentence. Never leaves `problems`."""


def parse_row(row: bytes | Mapping[str, Any], source: str) -> Problem:
    """The problem of a JSON line or of a Parquet row, with an empty id.

    `source` is what the problem came from when the row does not say. Raises BadRowError.

    >>> parse_row(b'{"domain": "math", "statement": "2 + 2?", "answer": 4}', "a.jsonl").answer
    '4'
    """
    fields = _parse_json(row) if isinstance(row, bytes) else row
    if not isinstance(fields, Mapping):
        raise BadRowError(f"it is {_kind(fields)}; a row is a JSON object with named fields")
    for name in fields:
        _check_name(name, FIELDS, "field")
    fields = {name: value for name, value in fields.items() if value is not None}
    domain = _domain(fields)
    statement = _text(fields, "statement", needs="a problem needs a text to solve")
    answer = _answer(fields) if domain == "math" else None
    tests = _tests(fields) if domain == "code" else ()
    foreign = {"math": "tests", "code": "answer"}[domain]
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
    )
    _check_plain(problem)
    return problem


def problem_row(problem: Problem) -> dict[str, Json]:
    """The row that `parse_row` reads back as the same problem; absent fields are left out."""
    row: dict[str, Json] = {"domain": problem.domain, "statement": problem.statement}
    if problem.answer is not None:
        row["answer"] = problem.answer
    if problem.tests:
        row["tests"] = [case_row(case) for case in problem.tests]
    if problem.name:
        row["id"] = problem.name
    if problem.source:
        row["source"] = problem.source
    if problem.level is not None:
        row["level"] = problem.level
    return row


def case_row(case: CodeCase) -> dict[str, Json]:
    """One test as it stands in a row."""
    if isinstance(case, StdioCase):
        return {"stdin": case.stdin, "stdout": case.stdout}
    return {"function": case.function, "args": list(case.args), "expected": case.expected}


def _check_plain(problem: Problem) -> None:
    """Nested Parquet columns and escapes in JSON can hold what neither JSON nor UTF-8 can."""
    try:
        json.dumps(problem_row(problem), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRowError("it holds half a character (a lone surrogate as \\ud800)") from error
    except (TypeError, RecursionError) as error:
        raise BadRowError(f"a value in 'tests' is not JSON: {error}") from error


def _parse_json(line: bytes) -> Any:
    try:
        return json.loads(line.decode(), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise BadRowError(f"not UTF-8 text (byte {error.start + 1} of the line)") from error
    except json.JSONDecodeError as error:
        raise BadRowError(f"broken JSON ({error.msg} at character {error.pos + 1})") from error
    except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
        raise BadRowError(f"JSON that cannot be read ({str(error).split(';')[0]})") from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Python keeps the last of two equal names; which one its author meant, nobody knows."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)
        raise BadRowError(f"field {twice!r} is there twice")
    return made


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
        raise BadRowError(f"field 'answer' is {value}; it must be a finite number or a text")
    if isinstance(value, int | float) and not isinstance(value, bool):
        fields = {"answer": str(value)}
    return _text(fields, "answer", needs='a math problem needs a gold answer, as "answer": "4"')


def _text(fields: Mapping[str, Any], name: str, needs: str) -> str:
    if name not in fields:
        raise BadRowError(f"field {name!r} is missing; {needs}")
    value = fields[name]
    if not isinstance(value, str):
        raise BadRowError(f"field {name!r} is {_kind(value)}; it must be a text")
    if not value.strip():
        raise BadRowError(f"field {name!r} is blank; {needs}")
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRowError(f"field {name!r} is {_kind(value)}; it must be a text")
    return str(value)


def _level(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("level")
    if isinstance(value, float) and value.is_integer():  # pandas makes 3 and null 3.0 and null
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise BadRowError(f"field 'level' is {value!r}; it must be a whole number")


# -- tests of code problems ----------------------------------------------------------------


def _tests(fields: Mapping[str, Any]) -> tuple[CodeCase, ...]:
    example = '"tests": [{"function": "add", "args": [1, 2], "expected": 3}]'
    if "tests" not in fields:
        raise BadRowError(f"field 'tests' is missing; a code problem needs tests, as {example}")
    value = fields["tests"]
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_object) if value.strip() else []
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"field 'tests' is a text that is not JSON ({error})") from error
    if not isinstance(value, list):
        raise BadRowError(f"field 'tests' is {_kind(value)}; it must be a list, as {example}")
    if not value:
        raise BadRowError(f"field 'tests' holds no test; a code problem needs one, as {example}")
    cases = tuple(_case(case, f"test {number}") for number, case in enumerate(value, start=1))
    if len({type(case) for case in cases}) > 1:
        raise BadRowError("field 'tests' mixes function tests and stdin tests; use one kind")
    return cases


def _case(case: Any, place: str) -> CodeCase:
    if not isinstance(case, Mapping):
        raise BadRowError(f"{place} is {_kind(case)}; it must be a JSON object")
    for name in case:
        _check_name(name, CASE_FIELDS, f"field of {place}:")
    # Parquet gives every case the fields of both kinds, with null for those it lacks.
    given = {name for name, value in case.items() if value is not None}
    is_call, is_stdio = bool(given & {"function", "args"}), bool(given & {"stdin", "stdout"})
    if is_call == is_stdio or (is_stdio and "expected" in given):
        raise BadRowError(f"{place} needs either function, args and expected, or stdin and stdout")
    if is_stdio:
        stdin, stdout = case.get("stdin"), case.get("stdout")
        if not (isinstance(stdin, str) and isinstance(stdout, str)):
            raise BadRowError(f"{place} needs both stdin and stdout, as texts")
        return StdioCase(stdin, stdout)
    function, args = case.get("function"), case.get("args")
    if not isinstance(function, str) or not function.isidentifier() or keyword.iskeyword(function):
        raise BadRowError(f"{place} names no function: {function!r}")
    if not isinstance(args, list):
        raise BadRowError(f"{place} has args that are {_kind(args)}; they must be a list")
    if "expected" not in case:  # null is a value that a function may return
        raise BadRowError(f"{place} lacks 'expected', the value that {function} must return")
    return FunctionCase(function, tuple(args), case["expected"])


# -- words ---------------------------------------------------------------------------------


def _check_name(name: str, known: Sequence[str], what: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise BadRowError(f"unknown {what} {name!r}; {hint}")


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"of type {type(value).__name__}")
