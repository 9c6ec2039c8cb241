"""The prompt ledger: one row a group, one transaction a step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from srpo.errors import RunDirectoryError
from srpo.history import DecisionRow, EpochSummary, Ledger, When
from srpo.selection.rule import Decision, Resampled
from srpo.types import Group, Problem, Rollout, Verdict
from tests.factories import code_problem, group, math_problem, rollout

EASY = math_problem("What is 2 + 2?", "4", id="aa01")
HARD = replace(math_problem("What is 9 * 9?", "81", id="bb01"), name="AIME_1", level=7)
CODE = code_problem(id="cc01")
STEP_1, STEP_2 = When(step=1, epoch=1, stage=1), When(step=2, epoch=1, stage=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.add_problems("math", [EASY, HARD])
        opened.add_problems("code", [CODE])
        yield opened


def two_steps(ledger: Ledger) -> None:
    """EASY twice (mixed, all correct and then dropped), HARD once, CODE once."""
    ledger.record_step(
        STEP_1, [group([1, 0], EASY), group([0, 0], HARD)], [], [("stage", "begins")]
    )
    ledger.record_step(
        STEP_2,
        [group([1, 1], EASY), group([1, 0, 0], CODE)],
        [
            Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
            Resampled("bb01", "math", Decision.KEEP_ALL_WRONG, 0, 2),
            Resampled("zz99", "math", Decision.STAY_DROPPED, 0, 0),
        ],
        [("resampling", "epoch 1 ends")],
    )


def test_a_group_becomes_one_row_with_a_count_of_every_verdict(ledger: Ledger) -> None:
    rollouts: tuple[Rollout, ...] = (
        replace(rollout(Verdict.CORRECT, reward=1.0, tokens=(5, 6, 2)), advantage=0.7),
        rollout(Verdict.TRUNCATED, reward=0.0, tokens=(5,) * 4),
        rollout(Verdict.INFRA_ERROR),
        rollout(Verdict.WRONG, reward=0.0),
    )
    ledger.record_step(STEP_1, [Group(EASY, (7,), rollouts, policy_version=3)], [], [])
    (row,), _ = ledger.life_of("aa01")
    assert {name: count for name, count in row.verdicts.items() if count} == {
        "correct": 1,
        "truncated": 1,
        "infra_error": 1,
        "wrong": 1,
    }
    assert sorted(row.verdicts) == sorted(verdict.value for verdict in Verdict)
    assert (row.step, row.stage, row.epoch, row.policy_version) == (1, 1, 1, 3)
    assert (row.outcome, row.has_signal, row.tokens) == ("mixed", True, 3 + 4 + 2 + 2)


def test_the_life_of_a_problem_is_every_group_and_decision_in_order(ledger: Ledger) -> None:
    two_steps(ledger)
    groups, decisions = ledger.life_of("aa01")
    assert [(row.step, row.outcome) for row in groups] == [(1, "mixed"), (2, "all_correct")]
    assert decisions == [DecisionRow(2, 1, 1, "drop: all correct")]
    assert ledger.life_of("nobody") == ([], [])


def test_that_a_dropped_problem_stays_dropped_is_not_written_again(ledger: Ledger) -> None:
    two_steps(ledger)
    assert ledger.life_of("zz99") == ([], [])


def test_epochs_are_summed_by_domain(ledger: Ledger) -> None:
    # math: EASY twice and HARD once, 2 tokens a rollout: 3 groups of 2, 12 tokens; one dropped
    two_steps(ledger)
    later = When(step=3, epoch=2, stage=2)
    back = Resampled("aa01", "math", Decision.REVIVE_FLOOR, 0, 0)
    ledger.record_step(later, [group([0, 0], HARD)], [back], [])
    code = EpochSummary(1, 1, "code", 1, 0, 1, 0, 0, tokens=6, dropped=0, revived=0)
    math = EpochSummary(1, 1, "math", 3, 1, 1, 1, 0, tokens=12, dropped=1, revived=0)
    second = EpochSummary(2, 2, "math", 1, 0, 0, 1, 0, tokens=4, dropped=0, revived=1)
    assert ledger.epochs() == [code, math, second]


def test_the_problems_never_solved_are_counted_among_those_drawn(ledger: Ledger) -> None:
    assert ledger.never_solved() == (0, 0)
    two_steps(ledger)
    assert ledger.never_solved() == (1, 3)  # HARD, of EASY, HARD and CODE


def test_problems_are_found_by_the_start_of_id_or_given_name(ledger: Ledger) -> None:
    assert [found[0] for found in ledger.find_problems("aa")] == ["aa01"]
    assert ledger.find_problems("AIME_1") == [("bb01", "math", "What is 9 * 9?")]
    assert [found[0] for found in ledger.find_problems("")] == ["aa01", "bb01", "cc01"]
    # neither % nor _ stands for other characters
    assert ledger.find_problems("%") == ledger.find_problems("a_0") == []


def test_a_problem_that_is_known_stays_as_it_is(ledger: Ledger) -> None:
    ledger.add_problems("math", [replace(EASY, statement="Something else"), *many_problems(3)])
    assert ledger.find_problems("aa01") == [("aa01", "math", "What is 2 + 2?")]
    assert len(ledger.find_problems("many")) == 3


def many_problems(count: int) -> list[Problem]:
    return [math_problem(id=f"many{i}") for i in range(count)]


def test_forgetting_takes_back_whatever_came_after_a_step(ledger: Ledger) -> None:
    two_steps(ledger)
    ledger.record_events(2, [("end", "over")])
    assert ledger.forget_after(2) == 0
    assert len(ledger.life_of("aa01")[1]) == 1
    assert ledger.forget_after(1) == 2  # groups
    assert ledger.forget_after(1) == 0
    groups, decisions = ledger.life_of("aa01")
    assert ([row.step for row in groups], decisions) == ([1], [])
    assert ledger.events() == [(1, "stage", "begins")]
    assert ledger.forget_after(0) == 2
    two_steps(ledger)  # may be recorded again


def test_an_event_that_a_resumed_run_has_again_is_there_once(ledger: Ledger) -> None:
    ledger.record_events(15, [("stage", "stage 1 ends")])
    ledger.record_events(15, [("stage", "stage 1 ends"), ("stage", "another")])
    ledger.record_events(30, [("stage", "stage 1 ends")])
    assert ledger.events() == [
        (15, "stage", "stage 1 ends"),
        (15, "stage", "another"),
        (30, "stage", "stage 1 ends"),
    ]


def test_events_come_in_the_order_of_steps(ledger: Ledger) -> None:
    ledger.record_events(3, [("b", "later"), ("a", "and then")])
    ledger.record_events(1, [("c", "first")])
    assert [kind for _, kind, _ in ledger.events()] == ["c", "b", "a"]


def test_a_step_is_recorded_whole_or_not_at_all(ledger: Ledger) -> None:
    two_steps(ledger)
    with pytest.raises(sqlite3.IntegrityError):  # the second group is there already
        ledger.record_step(STEP_2, [group([1], HARD), group([1], EASY)], [], [("x", "y")])
    groups, _ = ledger.life_of("bb01")
    assert [row.step for row in groups] == [1]
    assert "x" not in [kind for _, kind, _ in ledger.events()]


def test_a_ledger_can_be_read_while_the_run_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as writer, Ledger(path, read_only=True) as reader:
        assert reader.epochs() == []
        writer.add_problems("math", [EASY])
        writer.record_step(STEP_1, [group([1, 0], EASY)], [], [])
        assert [row.step for row in reader.life_of("aa01")[0]] == [1]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.add_problems("math", [HARD])


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as first:
        first.record_step(STEP_1, [group([1, 0], EASY)], [], [])
    with Ledger(path) as second:
        second.record_step(STEP_2, [group([1, 1], EASY)], [], [])
        assert [row.step for row in second.life_of("aa01")[0]] == [1, 2]


def test_what_is_no_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no ledger there"):
        Ledger(tmp_path / "missing.sqlite", read_only=True)
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be looked at by SQLite\n" * 30)
    for read_only in (True, False):
        with pytest.raises(RunDirectoryError, match="not a ledger") as caught:
            Ledger(text, read_only=read_only)
        assert "\n" not in str(caught.value)
    assert text.read_text().startswith("not a database")


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(RunDirectoryError, match="schema 7, this srpo reads 1"):
        Ledger(path)
