"""The ledger of problems in several sets, and of what a stage begins with."""

from __future__ import annotations

from dataclasses import replace

from srpo.history import EpochSoFar, EpochSummary, Ledger, SetSoFar, When
from srpo.selection.rule import Decision, Resampled
from tests.factories import group
from tests.ledgers import CODE, EASY, HARD, STEP_1, STEP_2, two_steps


def test_a_problem_may_be_dropped_in_one_set_and_kept_in_another(ledger: Ledger) -> None:
    ledger.add_problems("code", [EASY])
    both = [
        Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
        Resampled("aa01", "code", Decision.KEEP_MIXED, 1, 2),
        Resampled("bb01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
    ]
    ledger.record_step(STEP_1, [], both, [])
    assert list(ledger.kept()) == ["aa01", "cc01"]


def test_what_came_back_when_a_stage_began_is_told_with_its_first_step(ledger: Ledger) -> None:
    two_steps(ledger)
    assert list(ledger.kept()) == ["bb01", "cc01"]
    back = [Resampled("aa01", "math", Decision.REVIVE_FLOOR, 0, 0)]
    first = When(step=3, epoch=2, stage=2)
    ledger.record_step(first, [group([1, 0], EASY)], [], [], revived_before=back)
    assert list(ledger.kept()) == ["aa01", "bb01", "cc01"]
    newest = ledger.newest_epoch()
    assert newest is not None
    assert not newest.resampled  # the epoch has only begun
    assert ledger.standing_of("bb01") == {1: {"math": "keep: all wrong"}}
    ledger.forget_after(2)
    assert list(ledger.kept()) == ["bb01", "cc01"]


def test_what_a_step_began_with_and_what_it_ended_with_are_both_told(ledger: Ledger) -> None:
    # the first step of a stage, with two problems back, ends the epoch as well
    two_steps(ledger)
    back = [Resampled("aa01", "math", Decision.REVIVE_FLOOR, 0, 0)]
    dropped = [
        Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
        Resampled("bb01", "math", Decision.KEEP_ALL_WRONG, 0, 2),
    ]
    third = When(step=3, epoch=2, stage=2)
    ledger.record_step(third, [group([1, 1], EASY)], dropped, [], revived_before=back)
    assert [(d.step, d.before_step, d.decision) for d in ledger.life_of("aa01")[1]] == [
        (2, False, "drop: all correct"),
        (3, True, "revive: its set fell below the floor"),
        (3, False, "drop: all correct"),
    ]
    assert list(ledger.kept()) == ["bb01", "cc01"]
    assert [(r.before_step, r.decision, r.problems) for r in ledger.resamplings(2)] == [
        (True, "revive: its set fell below the floor", 1),
        (False, "drop: all correct", 1),
        (False, "keep: all wrong", 1),
    ]
    (second,) = [row for row in ledger.epochs() if row.epoch == 2]
    assert (second.dropped, second.revived) == (1, 1)
    ledger.forget_after(2)
    ledger.record_step(third, [], [], [], revived_before=back)
    assert list(ledger.kept()) == ["aa01", "bb01", "cc01"]
    ledger.record_step(When(step=4, epoch=2, stage=2), [], dropped, [])
    ledger.forget_after(3)  # as before the drop, and the start counts
    assert list(ledger.kept()) == ["aa01", "bb01", "cc01"]


def test_what_another_run_dropped_is_out_of_play_and_no_drop_of_this_run(ledger: Ledger) -> None:
    known = [
        Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2),
        Resampled("bb01", "math", Decision.STAY_DROPPED, 0, 0),
    ]
    ledger.record_step(STEP_1, [group([1, 0], CODE)], [], [], revived_before=known)
    assert list(ledger.kept()) == ["cc01"]
    newest = ledger.newest_epoch()
    assert newest is not None
    assert [(of_set.set_name, of_set.in_play) for of_set in newest.sets] == [
        ("math", 0),
        ("code", 1),
    ]
    assert [row.dropped for row in ledger.epochs()] == [0]


def test_a_problem_of_two_sets_is_counted_and_decided_in_each(ledger: Ledger) -> None:
    # EASY is in both: drawn once, all correct with 4 tokens; code drops it, math has not decided
    ledger.add_problems("code", [EASY])
    ledger.add_problems("code", [EASY])  # as a resumed run does
    assert ledger.set_sizes() == {"math": 2, "code": 2}
    assert ledger.count_problems() == 3
    ledger.record_step(STEP_1, [group([1, 1], EASY), group([0, 0], HARD)], [], [])
    math = SetSoFar("math", 2, dropped=0, drawn=2, all_correct=1, tokens=8, solved_tokens=4)
    code = SetSoFar("code", 2, dropped=0, drawn=1, all_correct=1, tokens=4, solved_tokens=4)
    assert ledger.newest_epoch() == EpochSoFar(1, 1, 1, False, (math, code), shared=1)
    ends = [Resampled("aa01", "code", Decision.DROP_ALL_CORRECT, 2, 2)]
    ledger.record_step(STEP_2, [], ends, [])
    assert list(ledger.kept()) == ["aa01", "bb01", "cc01"]  # it may still come with math
    also = [Resampled("aa01", "math", Decision.DROP_ALL_CORRECT, 2, 2)]
    ledger.record_step(When(step=3, epoch=2, stage=1), [], also, [])
    assert list(ledger.kept()) == ["bb01", "cc01"]
    assert ledger.standing_of("aa01") == {
        1: {"code": "drop: all correct"},
        2: {"math": "drop: all correct"},
    }
    assert ledger.find_problems("aa")[0].sets == "math, code"


def test_answers_begun_with_a_prefix_are_no_outcome_of_an_epoch(ledger: Ledger) -> None:
    helped = replace(group([1, 1], EASY), prefix=(4, 4, 4))
    ledger.record_step(STEP_1, [helped, group([0, 1], HARD)], [], [])
    # two groups with 8 tokens, one of them mixed, and none all correct
    assert ledger.epochs() == [EpochSummary(1, 1, "math", 2, 0, 1, 0, 0, 8, 0, 0, 0)]
