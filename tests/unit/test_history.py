"""The prompt ledger: one row a group, one transaction a step."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srpo.errors import RunDirectoryError
from srpo.history import (
    DecisionRow,
    EpochSoFar,
    EpochSummary,
    Ledger,
    ProblemRow,
    SetSoFar,
    Totals,
    When,
    forecast,
)
from srpo.selection.resampling import resample
from srpo.selection.rule import Decision, Resampled, Tally
from srpo.types import Group, Problem, Rollout, Verdict
from tests.factories import group, math_problem, rollout
from tests.ledgers import CODE, EASY, HARD, STEP_1, STEP_2, two_steps


def test_words_get_their_numbers_in_the_order_in_which_they_come(
    ledger: Ledger, tmp_path: Path
) -> None:
    # so that two runs of one seed write the same bytes, whatever Python's hashes of strings are
    found = [*Decision][::-1]
    ids = [("aa01", "math"), ("bb01", "math"), ("cc01", "code")]
    for start in range(0, len(found), 3):
        decided = [
            Resampled(i, name, decision, 1, 2)
            for (i, name), decision in zip(ids, found[start : start + 3], strict=False)
        ]
        ledger.record_step(When(step=start + 1, epoch=1, stage=1), [], decided, [])
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        texts = [text for (text,) in db.execute("SELECT text FROM words ORDER BY key")]
    values = [decision.value for decision in found]
    assert [text for text in texts if text in values] == values


def test_a_group_becomes_one_row_with_a_count_of_every_verdict(ledger: Ledger) -> None:
    rollouts: tuple[Rollout, ...] = (
        replace(rollout(Verdict.CORRECT, tokens=(5, 6, 2)), advantage=0.7, num_reused=1),
        rollout(Verdict.TRUNCATED, reward=0.0, tokens=(5,) * 4),
        rollout(Verdict.INFRA_ERROR),
        rollout(Verdict.WRONG, reward=0.0),
    )
    drawn = Group(EASY, (7,), rollouts, policy_version=3, why="refill 2: in its turn")
    ledger.record_step(STEP_1, [drawn], [], [])
    (row,), _ = ledger.life_of("aa01")
    assert {name: count for name, count in row.verdicts.items() if count} == {
        "correct": 1,
        "truncated": 1,
        "infra_error": 1,
        "wrong": 1,
    }
    assert sorted(row.verdicts) == sorted(verdict.value for verdict in Verdict)
    assert (row.step, row.stage, row.epoch, row.policy_version) == (1, 1, 1, 3)
    assert (row.outcome, row.has_signal, row.why) == ("mixed", True, "refill 2: in its turn")
    assert (row.correct, row.gradable) == (1, 3)
    assert (row.generated, row.reused, row.prefix) == (2 + 4 + 2 + 2, 1, 0)


def test_the_life_of_a_problem_is_every_group_and_decision_in_order(ledger: Ledger) -> None:
    two_steps(ledger)
    groups, decisions = ledger.life_of("aa01")
    assert [(row.step, row.outcome) for row in groups] == [(1, "mixed"), (2, "all_correct")]
    assert decisions == [DecisionRow(2, 1, 1, "drop: all correct", "math", before_step=False)]
    assert ledger.life_of("nobody") == ([], [])


def test_a_decision_that_only_goes_on_is_written_once(ledger: Ledger) -> None:
    # what is in force is the last one written, and how many there were is counted every time
    fates = [
        (Decision.KEEP_MIXED, Decision.DROP_ALL_CORRECT),
        (Decision.KEEP_MIXED, Decision.STAY_DROPPED),
        (Decision.KEEP_ALL_WRONG, Decision.STAY_DROPPED),
        (Decision.KEEP_MIXED, Decision.REVIVE_FLOOR),
        (Decision.KEEP_MIXED, Decision.REVIVE_FLOOR),
    ]
    for epoch, (easy, hard) in enumerate(fates, start=1):
        decided = [Resampled("aa01", "math", easy, 1, 2), Resampled("bb01", "math", hard, 0, 0)]
        ledger.record_step(When(step=10 * epoch, epoch=epoch, stage=1), [], decided, [])
    assert [(row.epoch, row.decision) for row in ledger.life_of("aa01")[1]] == [
        (1, "keep: mixed"),
        (3, "keep: all wrong"),
        (4, "keep: mixed"),
    ]
    assert [(row.epoch, row.decision) for row in ledger.life_of("bb01")[1]] == [
        (1, "drop: all correct"),
        (2, "stays dropped"),
        (4, "revive: its set fell below the floor"),
        (5, "revive: its set fell below the floor"),
    ]
    assert [(r.decision, r.problems) for r in ledger.resamplings(epoch=2)] == [
        ("keep: mixed", 1),
        ("stays dropped", 1),
    ]
    assert len(ledger.resamplings()) == 10


def test_a_decision_about_an_unknown_problem_is_a_bug_and_leaves_nothing(ledger: Ledger) -> None:
    stray = Resampled("zz99", "math", Decision.KEEP_MIXED, 0, 0)
    with pytest.raises(ValueError, match="does not know"):
        ledger.record_step(STEP_1, [group([1, 0], EASY)], [stray], [("x", "y")])
    assert (ledger.epochs(), ledger.events()) == ([], [])
    two_steps(ledger)  # and the file is not left locked


def test_epochs_are_summed_by_domain(ledger: Ledger) -> None:
    # math: EASY twice and HARD once, 2 tokens a rollout: 3 groups of 2, 12 tokens; one dropped
    two_steps(ledger)
    later = When(step=3, epoch=2, stage=2)
    back = Resampled("aa01", "math", Decision.REVIVE_FLOOR, 0, 0)
    ledger.record_step(later, [group([0, 0], HARD)], [back], [])
    code = EpochSummary(1, 1, "code", 1, 0, 1, 0, 0, tokens=6, reused=0, dropped=0, revived=0)
    math = EpochSummary(1, 1, "math", 3, 1, 1, 1, 0, tokens=12, reused=0, dropped=1, revived=0)
    second = EpochSummary(2, 2, "math", 1, 0, 0, 1, 0, tokens=4, reused=0, dropped=0, revived=1)
    assert ledger.epochs() == [code, math, second]


def test_the_problems_never_solved_are_counted_among_those_drawn(ledger: Ledger) -> None:
    assert ledger.never_solved() == (0, 0)
    two_steps(ledger)
    assert ledger.never_solved() == (1, 3)  # HARD, of EASY, HARD and CODE


def test_problems_are_found_by_the_start_of_id_or_given_name(ledger: Ledger) -> None:
    assert [found.id for found in ledger.find_problems("aa")] == ["aa01"]
    assert ledger.find_problems("AIME_1") == [ProblemRow("bb01", "math", "math", "What is 9 * 9?")]
    ledger.add_problems(
        "math", [replace(EASY, id="ab01", name="p1"), replace(EASY, id="ab02", name="p10")]
    )
    assert [found.id for found in ledger.find_problems("p1")] == ["ab01"]  # it itself, not p10
    assert [found.id for found in ledger.find_problems("p")] == ["ab01", "ab02"]
    assert [found.id for found in ledger.find_problems("")] == [
        "aa01", "ab01", "ab02", "bb01", "cc01",
    ]  # fmt: skip
    # neither % nor _ stands for other characters
    assert ledger.find_problems("%") == ledger.find_problems("a_0") == []


def test_a_problem_that_is_known_stays_as_it_is(ledger: Ledger) -> None:
    ledger.add_problems("math", [replace(EASY, statement="Something else"), *many_problems(3)])
    assert ledger.find_problems("aa01") == [ProblemRow("aa01", "math", "math", "What is 2 + 2?")]
    assert len(ledger.find_problems("many")) == 3


def many_problems(count: int) -> list[Problem]:
    return [math_problem(id=f"many{i}") for i in range(count)]


def test_forgetting_takes_back_whatever_came_after_a_step(ledger: Ledger) -> None:
    two_steps(ledger)
    ledger.record_events(2, [("end", "over")])
    ledger.forget_after(2)
    assert len(ledger.life_of("aa01")[1]) == 1
    for _ in range(2):
        ledger.forget_after(1)
    groups, decisions = ledger.life_of("aa01")
    assert ([row.step for row in groups], decisions) == ([1], [])
    assert ledger.events() == [(1, "stage", "begins")]
    ledger.forget_after(0)
    assert ledger.life_of("aa01")[0] == []
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
        with pytest.raises(RunDirectoryError, match="readonly"):
            reader.add_problems("math", [HARD])


def test_a_group_of_a_problem_that_no_set_named_is_refused(ledger: Ledger) -> None:
    unknown = math_problem(id="cc03")
    with pytest.raises(ValueError, match="problem cc03, which the ledger does not know"):
        ledger.record_step(STEP_1, [group([1, 0], EASY), group([1, 0], unknown)], [], [])
    assert ledger.life_of("aa01")[0] == []  # nothing of the step is there


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as first:
        first.add_problems("math", [EASY])
        first.record_step(STEP_1, [group([1, 0], EASY)], [], [])
    with Ledger(path) as second:
        second.record_step(STEP_2, [group([1, 1], EASY)], [], [])
        assert [row.step for row in second.life_of("aa01")[0]] == [1, 2]


def test_an_epochs_tallies_are_what_selection_would_have_counted(ledger: Ledger) -> None:
    # EASY came twice in epoch 1: 1 of 2 and 2 of 2. A group with a prefix says nothing of EASY
    two_steps(ledger)
    helped = replace(group([1, 1], EASY), prefix=(4, 4, 4))
    infra = rollout(Verdict.INFRA_ERROR)
    unsure = Group(HARD, (7,), (infra, *group([0], HARD).rollouts), policy_version=1)
    ledger.record_step(When(step=3, epoch=2, stage=2), [helped, unsure], [], [])
    assert list(ledger.tallies()) == [
        {"aa01": Tally(3, 4), "bb01": Tally(0, 2), "cc01": Tally(1, 3)},
        {"bb01": Tally(0, 1)},
    ]
    assert ledger.life_of("aa01")[0][-1].prefix == 3


def test_never_solved_and_never_gradable_are_not_the_same(ledger: Ledger) -> None:
    # HARD: 0 of 2. CODE: nothing gradable. EASY is solved only with a prefix, and costs most
    broken = Group(CODE, (7,), (rollout(Verdict.UNGRADABLE),) * 2, policy_version=0)
    helped = replace(group([1, 1], EASY), prefix=(4,))
    ledger.record_step(STEP_1, [group([0, 0], HARD), broken, group([0], EASY)], [], [])
    ledger.record_step(STEP_2, [helped], [], [])
    assert list(ledger.never(gradable=True)) == [
        Totals("aa01", "math", groups=2, correct=0, gradable=1, generated=6),
        Totals("bb01", "math", groups=1, correct=0, gradable=2, generated=4),
    ]
    assert [row.id for row in ledger.never(gradable=False)] == ["cc01"]


def test_the_newest_epoch_is_told_set_by_set(ledger: Ledger) -> None:
    assert ledger.newest_epoch() is None
    two_steps(ledger)  # its second step ends the epoch, and drops EASY
    # EASY: 3 of 4; HARD: 0 of 2; CODE: 1 of 3. Two tokens a rollout
    math = SetSoFar("math", 2, dropped=1, drawn=2, all_correct=0, tokens=12, solved_tokens=0)
    code = SetSoFar("code", 1, dropped=0, drawn=1, all_correct=0, tokens=6, solved_tokens=0)
    assert ledger.newest_epoch() == EpochSoFar(1, 1, 2, resampled=True, sets=(math, code))
    ledger.record_step(When(step=3, epoch=2, stage=1), [group([1, 1], HARD)], [], [])
    # the code set has not been drawn from in epoch 2
    math = SetSoFar("math", 2, dropped=1, drawn=1, all_correct=1, tokens=4, solved_tokens=4)
    code = SetSoFar("code", 1, dropped=0, drawn=0, all_correct=0, tokens=0, solved_tokens=0)
    assert ledger.newest_epoch() == EpochSoFar(2, 1, 3, resampled=False, sets=(math, code))


def test_the_views_say_it_in_plain_words(ledger: Ledger, tmp_path: Path) -> None:
    two_steps(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        seen = db.execute(
            "SELECT stage, epoch, step, domain, set_name, correct, wrong, generated "
            "FROM group_rows WHERE problem = 'aa01' ORDER BY step"
        ).fetchall()
        assert seen == [(1, 1, 1, "math", "math", 1, 1, 4), (1, 1, 2, "math", "math", 2, 0, 4)]
        dropped = db.execute("SELECT problem, epoch FROM decision_rows WHERE decision LIKE 'd%'")
        assert dropped.fetchall() == [("aa01", 1)]


TALLIES = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda t: (min(t), max(t)))


@given(
    seen=st.lists(st.none() | TALLIES, max_size=8),
    num_dropped=st.integers(0, 4),
    floor=st.integers(0, 14),
)
def test_the_preview_counts_what_resampling_then_does(
    seen: list[tuple[int, int] | None], num_dropped: int, floor: int
) -> None:
    pool = [f"p{i}" for i in range(len(seen))]
    counts = {i: Tally(*pair) for i, pair in zip(pool, seen, strict=True) if pair is not None}
    dropped = [f"d{i}" for i in range(num_dropped)]
    size = len(pool) + num_dropped
    solved = sum(t.gradable > 0 and t.correct == t.gradable for t in counts.values())
    so_far = SetSoFar("s", size, num_dropped, len(counts), solved, 10 * len(counts), 10 * solved)
    told = forecast(so_far, floor)
    done = resample(counts, pool, dropped, min(floor, size), "s")
    assert told.drops == sum(d.decision.drops for d in done)
    assert told.comes_back == sum(d.decision.revives for d in done if d.problem_id in dropped)
    assert told.saved_tokens == 10 * told.drops


RECORD = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 3))


@settings(max_examples=12)
@given(
    steps=st.lists(st.lists(RECORD, max_size=3, unique_by=lambda r: r[0]), max_size=5),
    decided=st.lists(st.sampled_from(list(Decision)), min_size=5, max_size=5),
)
def test_what_was_recorded_comes_back_and_forgetting_undoes_it(
    steps: list[list[tuple[int, int, int]]], decided: list[Decision]
) -> None:
    problems = (EASY, HARD, CODE)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l") as ledger:
        ledger.add_problems("all", problems)
        expected: dict[str, list[tuple[int, int]]] = {p.id: [] for p in problems}
        before = []
        for step, drawn in enumerate(steps, start=1):
            before.append((ledger.epochs(), list(ledger.kept()), list(ledger.tallies())))
            groups = []
            for index, right, wrong in drawn:
                groups.append(group([1.0] * right + [0.0] * wrong, problems[index]))
                expected[problems[index].id].append((step, right))
            fate = [Resampled(p.id, "all", decided[step - 1], 0, 0) for p in problems]
            ledger.record_step(When(step, step, 1), groups, fate, [])
        for problem_id, rows in expected.items():
            assert [(g.step, g.correct) for g in ledger.life_of(problem_id)[0]] == rows
        for step in reversed(range(len(steps))):
            ledger.forget_after(step)
            told = ledger.epochs(), list(ledger.kept()), list(ledger.tallies())
            assert told == before[step]
