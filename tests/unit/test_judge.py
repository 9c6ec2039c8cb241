"""Rows in, verdicts out: math and code side by side, one verdict a row, whatever happens."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from srpo.errors import SandboxError
from srpo.rewards import Judge, Judged, judge_rows
from srpo.rewards.judge.rows import parse_judge_row
from srpo.sandbox import CaseOutput, Job, JobResult
from srpo.sandbox.scripted import ScriptedSandbox
from srpo.types import Verdict

GOOD, BAD = "print(int(input()) + 1)", "print(1)"
TESTS = {"kind": "stdio", "cases": [{"input": "1", "output": "2"}, {"input": "5", "output": "6"}]}
SCRIPT = {
    GOOD: (CaseOutput("ok", stdout="2\n"), CaseOutput("ok", stdout="6\n")),
    f"{GOOD}\n": (CaseOutput("ok", stdout="2\n"), CaseOutput("ok", stdout="6\n")),
    BAD: (CaseOutput("ok", stdout="1\n"), CaseOutput("not_run")),
    "def f(": (CaseOutput("crashed", error="SyntaxError: '(' was never closed"),) * 2,
    "I cannot.": (CaseOutput("crashed", error="SyntaxError: invalid syntax"),) * 2,
}


def math(completion: str, answer: str = "4", **more: Any) -> dict[str, Any]:
    return {"domain": "math", "completion": completion, "answer": answer, **more}


def code(completion: str, **more: Any) -> dict[str, Any]:
    return {"domain": "code", "completion": completion, "tests": TESTS, **more}


def verdicts(*rows: Any, sandbox: ScriptedSandbox | None = None) -> list[dict[str, Any]]:
    """The verdicts in the order of the rows, whose ids are their numbers."""
    found = list(judge_rows(rows, sandbox=sandbox or ScriptedSandbox(SCRIPT)))
    assert sorted(row["id"] for row in found) == list(range(1, len(rows) + 1))
    return sorted(found, key=lambda row: row["id"])


def kinds(*rows: Any) -> list[str]:
    return [row["verdict"] for row in verdicts(*rows)]


def test_math_and_code_side_by_side() -> None:
    rows = verdicts(math("4"), code(GOOD), math(r"So \boxed{5}."), code(BAD), "no JSON")
    assert [row["verdict"] for row in rows] == [
        "correct", "correct", "wrong", "wrong", "ungradable",
    ]  # fmt: skip
    assert rows[3]["detail"] == "case 1: another result; 1 of 2 cases run"
    assert set(rows[0]) == {"id", "verdict", "detail", "seconds", "parts"}
    assert all(row["seconds"] >= 0.0 for row in rows)


def test_the_parts_are_numbers_without_weights() -> None:
    right, wrong, none, bad = verdicts(
        math(r"<think>得到</think>we have \boxed{4}"), code(BAD), code("no"), {"domain": "math"}
    )
    # 2 of the 8 letters are Han, and no prompt is given
    assert right["parts"] == {
        "accuracy": 1.0, "format": 1.0, "language_mixing": 0.25, "thinks": 1.0,
        "length_chars": 34.0,
    }  # fmt: skip
    assert wrong["parts"] == {
        "accuracy": 0.0, "format": 1.0, "language_mixing": 0.0, "thinks": 0.0, "passed_frac": 0.0,
        "length_chars": 8.0,
    }  # fmt: skip
    assert none["parts"]["accuracy"] == 0.0
    assert bad["parts"] == {}


def test_the_prompt_says_which_scripts_are_at_home() -> None:
    (row,) = verdicts(math(r"得到 \boxed{4}", prompt="求 2 + 2"))
    assert row["parts"]["language_mixing"] == 0.0


def test_a_whole_completion_or_a_bare_program_or_answer() -> None:
    fenced = f"Here it is:\n\n```python\n{GOOD}\n```\nIt adds one."
    assert kinds(code(fenced), code(f"<think>hm</think>\n{fenced}"), code(GOOD)) == ["correct"] * 3
    assert kinds(math("4"), math(r"\boxed{4}"), math("<think>5</think>4")) == ["correct"] * 3


def test_a_completion_that_began_inside_the_thinking() -> None:
    assert kinds(math("so 5</think>4"), math("5</think>4", prefilled=False)) == [
        "correct", "bad_format",
    ]  # fmt: skip
    assert kinds(math("4", prefilled=True), math("<think>a</think>b</think>4")) == [
        "bad_format", "bad_format",
    ]  # fmt: skip


def test_no_program_is_not_a_wrong_program() -> None:
    assert kinds(code("I cannot."), code("def f("), code(""), code("```python\nx = 1")) == [
        "no_answer", "wrong", "no_answer", "no_answer",
    ]  # fmt: skip


def test_truncated_rows_and_gold_answers_that_cannot_be_read() -> None:
    assert kinds(math("4", answer="@@", stop_reason="length")) == ["ungradable"]
    assert kinds(
        math("4", stop_reason="length"), code(GOOD, stop_reason="length"), math("4", answer="@@")
    ) == ["truncated", "truncated", "ungradable"]


def test_a_bare_body_under_the_head_that_the_tests_set_up() -> None:
    head = 'def one():\n    """ One. """\n'
    tests = {"kind": "assert", "setup": head, "program": "check", "entry_point": "one"}
    sandbox = ScriptedSandbox({f"{head}    return 1": (CaseOutput("ok"),)})
    row = code("    return 1\n", tests=tests) | {"completion": "    return 1\n"}
    assert verdicts(row, sandbox=sandbox)[0]["verdict"] == "correct"


def test_two_rows_with_one_id_have_a_verdict_each() -> None:
    rows = judge_rows([math("4", id="x"), math("5", id="x")])
    assert sorted((row["id"], row["verdict"]) for row in rows) == [("x", "correct"), ("x", "wrong")]


def test_an_outage_is_a_verdict_of_its_own() -> None:
    broken = ScriptedSandbox(infra_error="the machine is gone")
    (row, right) = verdicts(code(GOOD), math("4"), sandbox=broken)
    assert (row["verdict"], row["detail"]) == ("infra_error", "the machine is gone")
    assert right["verdict"] == "correct" and row["parts"] == {}


class Forgetful(ScriptedSandbox):
    """Loses every second job."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        for number, result in enumerate(super().run(jobs)):
            if number % 2 == 0:
                yield result


def test_a_job_without_a_result_still_has_a_verdict() -> None:
    rows = verdicts(code(GOOD), code(GOOD), sandbox=Forgetful(SCRIPT))
    assert sorted(row["verdict"] for row in rows) == ["correct", "infra_error"]


def test_a_check_that_fails_is_a_verdict_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("oh")

    monkeypatch.setattr("srpo.rewards.judge.parts_of", fail)
    monkeypatch.setattr("srpo.rewards.judge.job_for", fail)
    rows = verdicts(code(GOOD), math("4"))
    assert [row["verdict"] for row in rows] == ["infra_error", "infra_error"]
    assert rows[0]["detail"] == "the check failed: KeyError: 'oh'"


class Refusing(ScriptedSandbox):
    def describe(self) -> str:
        raise SandboxError("programs cannot be isolated here")


def test_without_isolation_no_program_is_judged_and_math_is() -> None:
    with pytest.raises(SandboxError, match="cannot be isolated here"):
        list(judge_rows([code(GOOD)], sandbox=Refusing()))
    assert [row["verdict"] for row in judge_rows([math("4")], sandbox=Refusing())] == ["correct"]


def test_what_isolates_programs_is_said_once_and_only_if_there_are_any() -> None:
    said: list[str] = []
    with Judge(sandbox=ScriptedSandbox(SCRIPT), tell=said.append) as judge:
        list(judge.judge([Judged(1, Verdict.WRONG)]))
        assert said == []
        list(judge.judge(parse_judge_row(code(GOOD), number) for number in (1, 2)))
    assert said == [ScriptedSandbox().describe()]


def test_a_long_stream_is_several_runs_of_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srpo.rewards.judge._JOBS_A_RUN", 3)
    assert kinds(*[code(GOOD), code(BAD)] * 5) == ["correct", "wrong"] * 5
    assert [row["verdict"] for row in verdicts(*[code(GOOD)] * 7, sandbox=Forgetful(SCRIPT))].count(
        "correct"
    ) == 5  # of runs of 3, 3 and 1 jobs every second one is lost


def test_rows_are_taken_as_they_are_needed() -> None:
    taken = itertools.count()

    def endless() -> Iterator[dict[str, Any]]:
        for number in taken:
            yield math("4") if number % 2 else code(GOOD)

    found = judge_rows(endless(), sandbox=ScriptedSandbox(SCRIPT))
    assert len(list(itertools.islice(found, 50))) == 50
    found.close()  # type: ignore[attr-defined]  # it is a generator
    assert next(taken) < 1000


def test_nothing_is_left_running() -> None:
    def judging() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name == "srpo judge"]

    assert list(judge_rows([])) == []
    found = judge_rows(iter(lambda: math("4"), None))
    next(found)
    found.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name == "srpo judge":
            thread.join(timeout=10)
    assert judging() == []


def test_an_error_of_the_rows_themselves_is_raised() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield math("4")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(judge_rows(broken()))
