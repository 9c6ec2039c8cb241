"""Rows for the judge: what is read, and what each bad row is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.rewards.judge import rows as module
from srpo.rewards.judge.rows import Judged, JudgeRow, parse_judge_row
from srpo.types import StdioCase, Verdict

MATH: dict[str, Any] = {"id": "a", "domain": "math", "completion": "4", "answer": "4"}
CASES = [{"input": "", "output": "1"}]
CODE: dict[str, Any] = {
    "id": "b", "domain": "code", "completion": "print(1)",
    "tests": {"kind": "stdio", "cases": CASES},
}  # fmt: skip


def read(**changes: Any) -> JudgeRow:
    row = parse_judge_row(json.dumps(MATH | changes).encode(), 7)
    assert isinstance(row, JudgeRow)
    return row


def refused(row: object, number: int = 7) -> Judged:
    line = row if isinstance(row, bytes) else json.dumps(row).encode()
    judged = parse_judge_row(line, number)
    assert isinstance(judged, Judged) and judged.verdict is Verdict.UNGRADABLE
    return judged


def test_rows_of_both_domains() -> None:
    assert read() == JudgeRow("a", 7, "math", "4", answer="4")
    code = parse_judge_row(CODE, 8)
    assert code == JudgeRow("b", 8, "code", "print(1)", tests=(StdioCase("", "1"),))
    assert parse_judge_row(json.dumps(CODE), 8) == code


@pytest.mark.parametrize(("answer", "text"), [(4, "4"), (0.5, "0.5"), (" 4", " 4"), ("", "")])
def test_an_answer_may_be_a_number(answer: object, text: str) -> None:
    assert read(answer=answer).answer == text


@pytest.mark.parametrize(("id", "shown"), [(None, 7), (3, 3), (2.5, 2.5), ("", ""), ("é", "é")])
def test_a_row_without_an_id_has_that_of_its_line(id: object, shown: object) -> None:
    assert read(id=id).id == shown


def test_optional_fields_and_fields_that_mean_nothing_here() -> None:
    row = read(prompt="求", stop_reason="length", prefilled=True, model="m", temperature=0.5)
    assert (row.prompt, row.truncated, row.prefilled) == ("求", True, True)
    assert not read(stop_reason="stop").truncated


def test_half_characters_of_a_completion_are_replaced() -> None:
    line = b'{"domain": "math", "completion": "\\ud800 4", "answer": "4"}'
    row = parse_judge_row(line, 1)
    assert isinstance(row, JudgeRow) and row.completion == "? 4"


@pytest.mark.parametrize(
    ("row", "id", "detail"),
    [
        (b"", 7, "line 7: broken JSON"),
        (b"{", 7, "line 7: broken JSON"),
        (b"\x00", 7, "line 7: broken JSON"),
        (b'"\xff"', 7, "line 7: not UTF-8 text (byte 2 of the line)"),
        (b"[" * 100_000, 7, "line 7: JSON that cannot be read"),
        (b"9" * 5_000, 7, "line 7: JSON that cannot be read"),
        ([1], 7, "line 7: it is a list; a row is a JSON object"),
        (None, 7, "line 7: it is null"),
        ({}, 7, 'line 7: field \'domain\' is missing; it is "math" or "code"'),
        (b'{"id": 1, "id": 2}', 7, "line 7: field 'id' appears twice"),
        (MATH | {"id": True}, 7, "line 7: field 'id' is true or false"),
        (MATH | {"id": [1]}, 7, "line 7: field 'id' is a list"),
        (MATH | {"id": "x" * 2000}, 7, "line 7: field 'id' has 2000 characters"),
        (MATH | {"domain": "maths"}, "a", "line 7: field 'domain' is 'maths'; it must be"),
        (MATH | {"domain": ["math"]}, "a", "line 7: field 'domain' is ['math']; it must be"),
        (MATH | {"completion": None}, "a", "line 7: field 'completion' is missing"),
        (MATH | {"completion": 4}, "a", "line 7: field 'completion' is a number; it must be a"),
        (MATH | {"answer": None}, "a", "line 7: field 'answer' is missing"),
        (MATH | {"answer": None, "anwser": "4"}, "a",
         "line 7: field 'answer' is missing; unknown field 'anwser', did you mean 'answer'?"),
        (MATH | {"answer": [4]}, "a", "line 7: field 'answer' is a list; it must be a string or a"),
        (MATH | {"answer": True}, "a", "line 7: field 'answer' is true or false"),
        (b'{"domain": "math", "completion": "", "answer": NaN}', 7, "line 7: field 'answer' is"),
        (b'{"domain": "math", "completion": "", "answer": "\\udc00"}', 7,
         "line 7: field 'answer' holds half a character"),
        (MATH | {"stop_reasn": "length"}, "a",
         "line 7: unknown field 'stop_reasn'; did you mean 'stop_reason'?"),
        (MATH | {"stop_reason": "eos"}, "a", "line 7: field 'stop_reason' must be"),
        (MATH | {"prefilled": "yes"}, "a", "line 7: field 'prefilled' is a string"),
        (MATH | {"prompt": 3}, "a", "line 7: field 'prompt' is a number"),
        (CODE | {"tests": None}, "b", "line 7: field 'tests' is missing"),
        (CODE | {"tests": None, "test": []}, "b",
         "line 7: field 'tests' is missing; unknown field 'test', did you mean 'tests'?"),
        (CODE | {"tests": [{"stdin": "\ud800", "stdout": ""}]}, "b",
         "line 7: field 'tests' holds half a character"),
        (CODE | {"tests": []}, "b", "line 7: field 'tests' holds no test"),
        (CODE | {"tests": {"kind": "stdio"}}, "b", "line 7: field 'cases' of 'tests' is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_says_why(row: object, id: object, detail: str) -> None:
    judged = refused(row)
    assert judged.id == id
    assert judged.detail.startswith(detail), judged.detail
    json.dumps(judged.row())


def test_a_row_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 20)
    assert "longer than 1 MiB" in refused(b" " * (1 << 20) + b"{}").detail


@given(
    st.dictionaries(
        st.sampled_from(["id", "domain", "completion", "answer", "tests", "prompt", "kind", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        | st.sampled_from(["math", "code"])
        | st.recursive(st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)),
    )
)  # fmt: skip
def test_every_row_is_read_or_refused(row: dict[str, Any]) -> None:
    found = parse_judge_row(json.dumps(row).encode(), 3)
    assert isinstance(found, JudgeRow) or found.detail.startswith("line 3: ")


@given(st.binary(max_size=60))
def test_every_line_is_read_or_refused(line: bytes) -> None:
    assert isinstance(parse_judge_row(line, 3), Judged)
