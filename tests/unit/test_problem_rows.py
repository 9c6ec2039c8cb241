"""What is wrong with a row, in words. What is right with one is in test_problems."""

from __future__ import annotations

import json
from typing import Any

import pytest

from srpo.problems.rows import BadRowError, parse_row
from srpo.types import Scorer

MATH: dict[str, Any] = {"domain": "math", "statement": "What is 2 + 2?", "answer": "4"}
ADD: dict[str, Any] = {"function": "add", "args": [1, 2], "expected": 3}
CODE: dict[str, Any] = {"domain": "code", "statement": "Write add(a, b).", "tests": [ADD]}
ECHO: dict[str, Any] = {"stdin": "1\n", "stdout": "1\n"}
GCD: dict[str, Any] = {"package": "reasoning_gym", "dataset": "gcd", "entry": {"answer": "4"}}

BAD_ROWS: list[tuple[object, str]] = [
    ('{"domain": "math", ', "broken JSON (Expecting property name enclosed in double quotes"),
    ("[1, 2]", "it is a list; a row is a JSON object with named fields"),
    ("null", "it is null; a row is a JSON object with named fields"),
    ('{"level": 1, "level": 2}', "field 'level' appears twice"),
    ("[" * 100_000, "JSON that cannot be read (maximum recursion depth exceeded"),
    ("9" * 5000, "JSON that cannot be read (Exceeds the limit (4300 digits)"),
    (MATH | {"anwser": "4"}, "unknown field 'anwser'; did you mean 'answer'?"),
    (MATH | {"xyz": "4"}, "unknown field 'xyz'; known: domain, statement, answer, tests, id,"),
    ({"statement": "x"}, """field 'domain' is missing; it is "math" or "code\""""),
    (MATH | {"domain": "maths"}, """field 'domain' is 'maths'; it must be "math" or "code\""""),
    (
        {"domain": "math", "answer": "4"},
        "field 'statement' is missing; a problem needs a statement",
    ),
    (MATH | {"statement": " \n"}, "field 'statement' is blank; a problem needs a statement"),
    (MATH | {"statement": ["x"]}, "field 'statement' is a list; it must be a string"),
    (MATH | {"statement": "\ud800"}, "it holds half a character (a lone surrogate as \\ud800)"),
    ({"domain": "math", "statement": "x"}, "field 'answer' is missing; a math problem needs a"),
    (MATH | {"answer": None}, "field 'answer' is missing; a math problem needs a gold answer"),
    (MATH | {"answer": " "}, "field 'answer' is blank; a math problem needs a gold answer"),
    (MATH | {"answer": True}, "field 'answer' is true or false; it must be a string"),
    (MATH | {"answer": {"value": 4}}, "field 'answer' is an object; it must be a string"),
    (MATH | {"answer": float("nan")}, "field 'answer' is nan; it must be a finite number"),
    (MATH | {"tests": [ADD]}, "a math problem has no field 'tests'; take it out"),
    (CODE | {"answer": "4"}, "a code problem has no field 'answer'; take it out"),
    (MATH | {"level": "hard"}, "field 'level' is 'hard'; it must be a whole number"),
    (MATH | {"level": 2.5}, "field 'level' is 2.5; it must be a whole number"),
    (MATH | {"level": True}, "field 'level' is True; it must be a whole number"),
    (MATH | {"id": 1.5}, "field 'id' is a number; it must be a string"),
    (MATH | {"source": []}, "field 'source' is a list; it must be a string"),
    ({"domain": "code", "statement": "x"}, "field 'tests' is missing; a code problem needs tests"),
    (CODE | {"tests": []}, "field 'tests' holds no test; a code problem needs one"),
    (CODE | {"tests": "[]"}, "field 'tests' holds no test; a code problem needs one"),
    (CODE | {"tests": ""}, "field 'tests' holds no test; a code problem needs one"),
    (CODE | {"tests": "add(1, 2) == 3"}, "field 'tests' is a string that is not JSON (Expect"),
    (CODE | {"tests": 3}, "field 'tests' is a number; it must be a list, as"),
    (CODE | {"tests": "{}"}, "field 'tests' is an object; it must be a list, as"),
    (CODE | {"tests": [{}]}, "test 1 needs either function, args and expected, or stdin and"),
    (CODE | {"tests": [{"expected": 3}]}, "test 1 needs either function, args and expected, or"),
    (CODE | {"tests": [ADD | ECHO]}, "test 1 needs either function, args and expected, or stdin"),
    (CODE | {"tests": [ECHO | {"expected": 1}]}, "test 1 needs either function, args and expected"),
    (CODE | {"tests": [ADD, ECHO]}, "field 'tests' mixes function tests and stdin tests"),
    (CODE | {"tests": [ADD, [1, 2]]}, "test 2 is a list; it must be a JSON object"),
    (CODE | {"tests": [ADD | {"arg": []}]}, "unknown field of test 1: 'arg'; did you mean 'args'?"),
    (CODE | {"tests": [{"stdin": "1"}]}, "test 1 needs both stdin and stdout, as texts"),
    (CODE | {"tests": [{"stdin": 1, "stdout": "1"}]}, "test 1 needs both stdin and stdout"),
    (CODE | {"tests": [ADD | {"args": None}]}, "test 1 has args that are null; they must be a"),
    (CODE | {"tests": [{"function": "f", "args": []}]}, "test 1 lacks 'expected', the value that"),
    (CODE | {"tests": [ADD | {"function": "import"}]}, "test 1 names no function: 'import'"),
    (CODE | {"scorer": GCD}, "a code problem has no field 'scorer'; take it out"),
    (MATH | {"scorer": "gcd"}, "field 'scorer' is a string that is not JSON (Expecting value"),
    (MATH | {"scorer": [GCD]}, "field 'scorer' is a list; it must be an object, as \"scorer\""),
    (MATH | {"scorer": GCD | {"data": 1}}, "unknown field of 'scorer' 'data'; did you mean 'data"),
    (MATH | {"scorer": GCD | {"package": "os"}}, "field 'scorer' has the package 'os'; it must be"),
    (MATH | {"scorer": GCD | {"dataset": 4}}, "field 'scorer' lacks 'dataset', the name of one"),
    (MATH | {"scorer": GCD | {"entry": "4"}}, "field 'scorer' lacks 'entry', the object that the"),
    (MATH | {"scorer": GCD | {"entry": {}}}, "field 'scorer' has an 'entry' without 'answer', w"),
    (CODE | {"tests": [ADD | {"function": "a.b()"}]}, "test 1 names no function: 'a.b()'"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "text"), BAD_ROWS)
def test_a_bad_row_says_what_is_wrong(row: object, text: str) -> None:
    line = row if isinstance(row, str) else json.dumps(row)
    with pytest.raises(BadRowError) as caught:
        parse_row(line.encode(), source="a.jsonl")
    assert str(caught.value).startswith(text)


def test_a_math_row_may_name_a_scorer_and_needs_no_answer_then() -> None:
    row = {"domain": "math", "statement": "gcd(8, 12)?", "scorer": GCD}
    problem = parse_row(json.dumps(row).encode(), source="a.jsonl")
    assert problem.answer is None
    assert problem.scorer == Scorer("gcd", '{"answer":"4"}', "reasoning_gym")
    as_text = parse_row(json.dumps(row | {"scorer": json.dumps(GCD)}).encode(), source="a.jsonl")
    assert as_text == problem
