"""The tests of a code problem as they stand in rows, ours and those of the benchmarks."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

import pytest

from srpo.problems import content_id, livecodebench
from srpo.problems.case_rows import cases_row, parse_tests
from srpo.problems.foreign_rows import native_row
from srpo.problems.livecodebench import livecodebench_cases, unpack_private
from srpo.problems.row_words import BadRowError
from srpo.problems.rows import parse_row
from srpo.types import AssertCase, FunctionCase, StdioCase


@pytest.mark.parametrize(
    ("tests", "cases"),
    [
        (
            {"kind": "stdio", "cases": [{"input": "1", "output": "2"}]},
            (StdioCase("1", "2"),),
        ),
        (
            {"kind": "stdio", "checker": "tokens", "cases": [
                {"input": "1", "output": "2"}, {"input": "", "output": "", "checker": "exact"}]},
            (StdioCase("1", "2", "tokens"), StdioCase("", "", "exact")),
        ),
        (
            {"kind": "call", "function": "f", "cases": [{"args": [1], "output": None}]},
            (FunctionCase("f", (1,), None),),
        ),
        (
            {"kind": "assert", "setup": "import m", "program": "assert f()", "entry_point": "f"},
            (AssertCase("assert f()", "import m", "f"),),
        ),
        (
            {"kind": "assert", "program": ["assert f(1)", "assert f(2)"], "setup": None},
            (AssertCase("assert f(1)"), AssertCase("assert f(2)")),
        ),
        ([{"program": "assert f()", "function": None}], (AssertCase("assert f()"),)),
        ([{"stdin": "1", "stdout": "2", "checker": "float:1e-3"}],
         (StdioCase("1", "2", "float:1e-3"),)),
    ],
)  # fmt: skip
def test_both_forms_of_tests(tests: Any, cases: tuple[object, ...]) -> None:
    assert parse_tests(tests) == cases
    assert parse_tests(json.dumps(tests)) == cases
    assert parse_tests(cases_row(parse_tests(tests))) == cases


def deep(depth: int) -> object:
    return [deep(depth - 1)] if depth else 1


def test_args_may_be_nested_a_hundred_deep() -> None:
    case = {"function": "f", "args": [deep(49), {"a": deep(98)}], "expected": 1}
    assert len(parse_tests([case])) == 1


@pytest.mark.parametrize(
    ("tests", "text"),
    [
        ({"cases": []}, "field 'tests' is an object; it must be a list, as "),
        ({"kind": 3, "cases": []}, "field 'tests' is an object; it must be a list, as "),
        ({"kind": "stdin", "cases": []}, "unknown kind of tests: 'stdin'; did you mean 'stdio'?"),
        ({"kind": "stdio", "case": []}, "unknown field of stdio tests: 'case'; did you mean 'cas"),
        ({"kind": "stdio"}, "field 'cases' of 'tests' is missing; it must be a list"),
        ({"kind": "stdio", "cases": {}}, "field 'cases' of 'tests' is an object; it must be"),
        ({"kind": "stdio", "cases": []}, "field 'tests' holds no test"),
        ({"kind": "stdio", "cases": [3]}, "case 1 is a number; it must be a JSON object"),
        ({"kind": "stdio", "cases": [{"input": "1"}]}, "case 1 needs both input and output"),
        ({"kind": "stdio", "cases": [{"inptu": "1"}]}, "unknown field of case 1: 'inptu'; did you"),
        ({"kind": "stdio", "checker": "tokns", "cases": [{"input": "", "output": ""}]},
         "case 1: unknown checker 'tokns'; did you mean 'tokens'?"),
        ({"kind": "stdio", "checker": 3, "cases": [{"input": "", "output": ""}]},
         "case 1: a checker is a string"),
        ({"kind": "call", "cases": [{"args": [], "output": 1}]}, "field 'tests' names no function"),
        ({"kind": "call", "function": "f", "cases": [{"args": []}]}, "case 1 lacks 'output'"),
        ({"kind": "call", "function": "f", "cases": [{"args": 3, "output": 1}]},
         "case 1 has args that are a number"),
        ([{"function": "f", "args": [deep(101)], "expected": 1}], "test 1 has args nested deeper"),
        ({"kind": "assert"}, "field 'tests' needs a program"),
        ({"kind": "assert", "program": " "}, "field 'tests' needs a program"),
        ({"kind": "assert", "program": []}, "field 'tests' holds no test"),
        ({"kind": "assert", "program": "a ="}, "field 'tests' has a program that is not Python: "),
        ({"kind": "assert", "program": "a", "setup": "?"}, "field 'tests' has a setup that is no"),
        ([{"program": "a", "setup": "def f("}], "test 1 has a setup that is not Python: "),
        ({"kind": "assert", "program": "a", "setup": 3}, "field 'tests' has a setup that is a num"),
        ({"kind": "assert", "program": "a", "entry_point": "a b"}, "field 'tests' names no functi"),
        ([{"program": "a", "stdin": "1"}], "test 1 needs either function, args and expected, or"),
        ([{"program": "a", "checker": "exact"}], "test 1 has a field 'checker', which belongs to"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_tests(tests: Any, text: str) -> None:
    with pytest.raises(BadRowError) as caught:
        parse_tests(tests)
    assert str(caught.value).startswith(text)


def test_the_ids_of_problems_with_the_usual_tests_are_those_of_their_content() -> None:
    # by sha256sum of {"answer":null,"domain":"code","statement":"s",
    # "tests":[{"stdin":"1","stdout":"2"}]}, on one line and without the space
    assert content_id("code", "s", None, (StdioCase("1", "2"),)) == "a25cf798ab99dcc1"
    assert content_id("code", "s", None, (StdioCase("1", "2", "exact"),)) != "a25cf798ab99dcc1"


# -- benchmarks ----------------------------------------------------------------------------------

PUBLIC = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]
CALLS = [{"input": '[1, 2]\n"a"', "output": "null", "testtype": "functional"}]


def packed(value: object, protocol: int = 4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("text", ["", "[]", "é" * 300, "a" * 70_000, "line\nline\\u1234"])
def test_packed_tests_are_read_from_every_protocol(protocol: int, text: str) -> None:
    assert unpack_private(packed(text, protocol)) == text


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("opened",)


@pytest.mark.parametrize(
    ("packed_text", "part"),
    [
        (packed(Hostile()), "more than a text; it is not opened"),
        (packed(["a", "b"]), "more than a text; it is not opened"),
        (packed(3), "more than a text; it is not opened"),
        (base64.b64encode(zlib.compress(b"(junk")).decode(), "private_test_cases"),
        (base64.b64encode(b"not packed").decode(), "cannot be unpacked"),
        ("%%%", "cannot be unpacked"),
        (packed("x" * 1000)[:-8], "cut short"),
        (base64.b64encode(zlib.compress(b"\x80\x04.")).decode(), "holds 0 texts, not one"),
        (base64.b64encode(zlib.compress(b"")).decode(), "private_test_cases"),
    ],
)
def test_a_pickle_is_never_opened(
    packed_text: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadRowError, match=part):
        unpack_private(packed_text)
    assert capsys.readouterr().out == ""


def test_a_text_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecodebench, "MAX_UNPACKED_BYTES", 1 << 20)
    assert len(unpack_private(packed("a" * 1_000_000))) == 1_000_000
    with pytest.raises(BadRowError, match="over 1 MiB unpacked"):
        unpack_private(packed("a" * 1_100_000))


def test_livecodebench_rows() -> None:
    row = {
        "question_title": "T",
        "question_content": "Add one.",
        "question_id": "abc",
        "difficulty": "medium",
        "starter_code": "",
        "metadata": "{}",
        "public_test_cases": json.dumps(PUBLIC),
        "private_test_cases": packed(json.dumps(PUBLIC * 2)),
    }
    problem = parse_row(json.dumps(row).encode(), "lcb.jsonl")
    assert problem.tests == (StdioCase("1\n", "2\n"),) * 3
    assert (problem.name, problem.level, problem.source) == ("abc", 2, "LiveCodeBench")
    assert problem.statement.startswith("Add one.\n\nRead from standard input")


def test_livecodebench_calls_take_an_argument_a_line() -> None:
    row = {"public_test_cases": CALLS, "metadata": {"func_name": "f"}}
    assert livecodebench_cases(row) == (FunctionCase("f", ([1, 2], "a"), None),)
    assert parse_tests({"kind": "livecodebench", **row}) == livecodebench_cases(row)
    with pytest.raises(BadRowError, match="names no function"):
        livecodebench_cases({"public_test_cases": CALLS})


def test_humaneval_rows() -> None:
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def f():\n",
        "entry_point": "f",
        "test": "def check(c):\n    assert c()",
        "canonical_solution": "    return 1",
    }
    problem = parse_row(json.dumps(row).encode(), "he.jsonl")
    assert problem.tests == (AssertCase(row["test"], row["prompt"], "f"),)
    assert (problem.statement, problem.name) == ("def f():\n", "HumanEval/0")


def test_mbpp_rows_show_one_assert_and_keep_the_others() -> None:
    asserts = ["assert f(1)", "assert f(2)"]
    row = {"task_id": 2, "text": "Write f.", "code": "...", "test_setup_code": "import re",
           "test_list": asserts, "challenge_test_list": []}  # fmt: skip
    problem = parse_row(json.dumps(row).encode(), "mbpp.jsonl")
    assert problem.tests == tuple(AssertCase(text, "import re") for text in asserts)
    assert "assert f(1)" in problem.statement and "assert f(2)" not in problem.statement
    sanitized = {"prompt": "Write f.", "test_imports": ["import re"], "test_list": ["assert f(1)"]}
    assert native_row(sanitized)["tests"]["setup"] == "import re\n"


def test_a_row_that_names_a_domain_is_taken_as_it_stands() -> None:
    row = {"domain": "code", "prompt": "p", "test": "t", "entry_point": "f"}
    assert native_row(row) is row
