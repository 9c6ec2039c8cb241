"""The tests of a code problem as they stand in a row <-> cases. No torch.

A row's `tests` are a list of tests, or one object that names its kind; docs/problems.md has
both forms.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from srpo.problems.livecodebench import FIELDS as LIVECODEBENCH_FIELDS
from srpo.problems.livecodebench import livecodebench_cases
from srpo.problems.row_words import BadRowError, check_name, kind_of, unique_names
from srpo.rewards.code.jobs import python_problem, whole_setup
from srpo.rewards.code.output import DEFAULT_CHECKER, checker_problem
from srpo.types import AssertCase, CodeCase, FunctionCase, Json, StdioCase

MAX_DEPTH = 100  # of the arguments of a call; the sandbox passes on no deeper ones
_CALL = ("function", "args", "expected")
_STDIO = ("stdin", "stdout", "checker")
_ASSERT = ("program", "setup", "entry_point")
CASE_FIELDS = (*_CALL, *_STDIO, *_ASSERT)
_KIND_FIELDS = {
    "stdio": ("kind", "cases", "checker"),
    "call": ("kind", "function", "cases"),
    "assert": ("kind", *_ASSERT),
    "livecodebench": ("kind", *LIVECODEBENCH_FIELDS),
}
_EXAMPLE = '"tests": [{"function": "add", "args": [1, 2], "expected": 3}]'


def parse_tests(value: object) -> tuple[CodeCase, ...]:
    """The cases of a row's `tests`: a list, an object, or a text that holds one as JSON.

    None means that there are none. Raises BadRowError.

    >>> parse_tests({"kind": "stdio", "cases": [{"input": "1", "output": "1"}]})
    (StdioCase(stdin='1', stdout='1', checker='lines'),)
    """
    if value is None:
        raise BadRowError(f"field 'tests' is missing; a code problem needs tests, as {_EXAMPLE}")
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=unique_names) if value.strip() else []
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"field 'tests' is a string that is not JSON ({error})") from error
    if isinstance(value, Mapping):
        cases = _of_kind(value)
    elif isinstance(value, list):
        cases = tuple(_case(case, f"test {number}") for number, case in enumerate(value, start=1))
    else:
        raise BadRowError(f"field 'tests' is {kind_of(value)}; it must be a list, as {_EXAMPLE}")
    if not cases:
        raise BadRowError(f"field 'tests' holds no test; a code problem needs one, as {_EXAMPLE}")
    if len({type(case) for case in cases}) > 1:
        raise BadRowError("field 'tests' mixes function tests and stdin tests; use one kind")
    return cases


def cases_row(cases: Sequence[CodeCase]) -> list[Json]:
    """The list that `parse_tests` reads back as the same cases."""
    return [case_row(case) for case in cases]


def case_row(case: CodeCase) -> dict[str, Json]:
    """One test as it stands in a row; fields with their usual value are left out."""
    if isinstance(case, StdioCase):
        row: dict[str, Json] = {"stdin": case.stdin, "stdout": case.stdout}
        return row if case.checker == DEFAULT_CHECKER else row | {"checker": case.checker}
    if isinstance(case, FunctionCase):
        return {"function": case.function, "args": list(case.args), "expected": case.expected}
    row = {"program": case.tests, "setup": case.setup, "entry_point": case.entry_point}
    return {name: value for name, value in row.items() if value or name == "program"}


# -- the form with a list ------------------------------------------------------------------


def _case(case: Any, place: str) -> CodeCase:
    if not isinstance(case, Mapping):
        raise BadRowError(f"{place} is {kind_of(case)}; it must be a JSON object")
    for name in case:
        check_name(name, CASE_FIELDS, f"field of {place}:")
    # Parquet gives every case the fields of all kinds, with null for those it lacks.
    given = {name for name, value in case.items() if value is not None}
    is_call = bool(given & {"function", "args"})
    is_stdio = bool(given & {"stdin", "stdout"})
    is_assert = "program" in given
    if is_call + is_stdio + is_assert != 1 or ("expected" in given and not is_call):
        raise BadRowError(
            f"{place} needs either function, args and expected, or stdin and stdout, or program"
        )
    for name in given - set(_CALL if is_call else _STDIO if is_stdio else _ASSERT):
        raise BadRowError(f"{place} has a field {name!r}, which belongs to another kind of test")
    if is_stdio:
        return _stdio(case, "stdin", "stdout", place)
    if is_assert:
        return _assert(case, case.get("program"), place)
    function, args = _function(case, place), _args(case, place)
    if "expected" not in case:  # null is a value that a function may return
        raise BadRowError(f"{place} lacks 'expected', the value that {function} must return")
    return FunctionCase(function, args, case["expected"])


# -- the form with a kind ------------------------------------------------------------------


def _of_kind(tests: Mapping[str, Any]) -> tuple[CodeCase, ...]:
    tests = {name: value for name, value in tests.items() if value is not None}
    kind = tests.get("kind")
    if not isinstance(kind, str):
        kinds = ", ".join(_KIND_FIELDS)
        raise BadRowError(
            f"field 'tests' is an object; it must be a list, as {_EXAMPLE}, or name its kind, one "
            f"of {kinds}"
        )
    check_name(kind, tuple(_KIND_FIELDS), "kind of tests:")
    for name in tests:
        check_name(name, _KIND_FIELDS[kind], f"field of {kind} tests:")
    if kind == "livecodebench":
        return livecodebench_cases(tests)
    if kind == "assert":
        programs = tests.get("program")
        programs = programs if isinstance(programs, list) else [programs]
        return tuple(_assert(tests, program, "field 'tests'") for program in programs)
    return tuple(_kind_cases(kind, tests))


def _kind_cases(kind: str, tests: Mapping[str, Any]) -> list[CodeCase]:
    cases = tests.get("cases")
    if not isinstance(cases, list):
        given = "missing" if cases is None else kind_of(cases)
        raise BadRowError(f"field 'cases' of 'tests' is {given}; it must be a list of tests")
    known = ("input", "output", "checker") if kind == "stdio" else ("args", "output")
    made: list[CodeCase] = []
    for number, case in enumerate(cases, start=1):
        place = f"case {number}"
        if not isinstance(case, Mapping):
            raise BadRowError(f"{place} is {kind_of(case)}; it must be a JSON object")
        for name in case:
            check_name(name, known, f"field of {place}:")
        if kind == "stdio":
            with_checker = {"checker": tests.get("checker"), **case}
            made.append(_stdio(with_checker, "input", "output", place))
        else:
            if "output" not in case:
                raise BadRowError(f"{place} lacks 'output', the value that must be returned")
            function = _function(tests, "field 'tests'")
            made.append(FunctionCase(function, _args(case, place), case["output"]))
    return made


# -- parts ---------------------------------------------------------------------------------


def _stdio(case: Mapping[str, Any], stdin: str, stdout: str, place: str) -> StdioCase:
    given, expected = case.get(stdin), case.get(stdout)
    if not (isinstance(given, str) and isinstance(expected, str)):
        raise BadRowError(f"{place} needs both {stdin} and {stdout}, as texts")
    checker = case.get("checker")
    if checker is None:
        return StdioCase(given, expected)
    problem = checker_problem(checker) if isinstance(checker, str) else "a checker is a string"
    if problem:
        raise BadRowError(f"{place}: {problem}")
    return StdioCase(given, expected, checker)


def _assert(case: Mapping[str, Any], program: object, place: str) -> AssertCase:
    setup, entry_point = case.get("setup") or "", case.get("entry_point") or ""
    if not isinstance(program, str) or not program.strip():
        raise BadRowError(f"{place} needs a program: Python code that asserts something")
    if not isinstance(setup, str):
        raise BadRowError(f"{place} has a setup that is {kind_of(setup)}; it must be a string")
    for name, text in (("program", program), ("setup", whole_setup(setup))):
        if reason := python_problem(text):
            raise BadRowError(f"{place} has a {name} that is not Python: {reason}")
    if entry_point and not _is_name(entry_point):
        raise BadRowError(f"{place} names no function: {str(entry_point)[:60]!r}")
    return AssertCase(program, setup, entry_point)


def _function(case: Mapping[str, Any], place: str) -> str:
    function = case.get("function")
    if not isinstance(function, str) or not _is_name(function):
        raise BadRowError(f"{place} names no function: {str(function)[:60]!r}")
    return function


def _is_name(text: object) -> bool:
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)


def _args(case: Mapping[str, Any], place: str) -> tuple[Json, ...]:
    args = case.get("args")
    if not isinstance(args, list):
        raise BadRowError(f"{place} has args that are {kind_of(args)}; they must be a list")
    if _depth(args) > MAX_DEPTH:
        raise BadRowError(f"{place} has args nested deeper than {MAX_DEPTH}")
    return tuple(args)


def _depth(value: object) -> int:
    """How deeply lists and objects are nested; 0 for anything else."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, list | Mapping)]:
        depth += 1
        inner = [item.values() if isinstance(item, Mapping) else item for item in level]
        level = [item for items in inner for item in items]
    return depth
