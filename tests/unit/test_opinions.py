"""Which answers another grader is asked about, and what becomes of what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from srpo.insight.report import report_data, report_text
from srpo.rewards.math.second_opinion import Opinion
from srpo.rewards.opinion_sample import opinion_row, questions
from srpo.rundir import RunDirectory
from srpo.types import Group, Scorer, Verdict
from tests.factories import code_problem, math_problem, rollout


def group(*verdicts: Verdict, id: str = "m1") -> Group:
    rollouts = tuple(
        rollout(verdict, text=f"<think>x</think>{i}") for i, verdict in enumerate(verdicts)
    )
    return Group(math_problem(id=id), (7,), rollouts, policy_version=0)


def asked(groups: list[Group], step: int, share: float) -> list[str]:
    return [row[0] for row in questions(groups, step, share, prefilled_thinking=False)]


def test_the_other_grader_gets_the_answer_and_our_verdict() -> None:
    rows = questions([group(Verdict.CORRECT)], 3, 1.0, prefilled_thinking=False)
    assert rows == [("m1/0", "4", "0", Verdict.CORRECT, "")]


def test_only_what_was_compared_is_asked_about() -> None:
    every = group(*Verdict)
    names = [verdict.value for verdict in Verdict]
    assert [names[int(id.split("/")[1])] for id in asked([every], 1, 1.0)] == [
        "correct", "wrong", "no_answer", "timed_out",
    ]  # fmt: skip
    code = Group(code_problem(), (7,), (rollout(Verdict.CORRECT),), policy_version=0)
    assert asked([code], 1, 1.0) == []


def test_what_a_problems_own_scorer_judged_is_not_asked_about() -> None:
    drawn = group(Verdict.CORRECT)
    scored = replace(drawn.problem, scorer=Scorer("gcd", '{"answer":"4"}'))
    rows = questions([replace(drawn, problem=scored)], 3, 1.0, prefilled_thinking=False)
    assert rows == []


def test_the_sample_is_of_the_wanted_size_and_always_the_same() -> None:
    groups = [group(*[Verdict.WRONG] * 10, id=f"m{i}") for i in range(100)]
    drawn = asked(groups, 5, 0.1)
    # 1,000 draws of 0.1: 100, give or take three standard deviations of 9.5
    assert 71 <= len(drawn) <= 129
    assert asked(groups, 5, 0.1) == drawn
    assert asked(groups, 6, 0.1) != drawn
    assert set(drawn) <= set(asked(groups, 5, 0.2))
    assert asked(groups, 5, 0.0) == []


AGREES = Opinion("m1/0", "4", "4", Verdict.CORRECT, "", Verdict.CORRECT, "")
DISAGREES = Opinion("m1/1", "4", "four", Verdict.WRONG, "a word", Verdict.CORRECT, "the same")


def test_a_row_has_every_disagreement_with_both_reasons(tmp_path: Path) -> None:
    row = opinion_row(3, [AGREES, DISAGREES])
    assert row == {
        "step": 3,
        "asked": 2,
        "disagreements": [
            {
                "step": 3, "rollout": "m1/1", "gold": "4", "answer": "four", "verdict": "wrong",
                "reason": "a word", "other": "correct", "other_reason": "the same",
            }
        ],
    }  # fmt: skip
    run = RunDirectory.create(tmp_path / "r", "", {})
    for step in (1, 2, 3):
        run.append_opinions(opinion_row(step, [AGREES]))
    assert [found["step"] for found in run.read_opinions()] == [1, 2, 3]


@pytest.mark.parametrize("count", [1, 12])
def test_the_report_lists_disagreements(count: int) -> None:
    row = opinion_row(3, [DISAGREES])["disagreements"]
    assert isinstance(row, list)
    data = report_data(None, None, disagreements=[dict(row[0])] * count)  # type: ignore[arg-type]
    json.dumps(data)
    text = " ".join(report_text(data, width=200).split())
    line = 'step 3, m1/1: "four" for "4"; ours wrong (a word), its correct (the same)'
    assert text.count(line) == min(count, 10)
    assert ("and 2 more" in text) is (count == 12)
    assert "Another grader" not in report_text(report_data(None, None))
