"""What dropped problems did not cost, estimated from a ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from srpo.history import Ledger, When
from srpo.run.finish import saved_in
from srpo.selection.rule import Decision, Resampled
from srpo.types import Group
from tests.factories import group, math_problem


def drawn(problem_id: str, tokens: int) -> Group:
    """A group of two rollouts with so many tokens each."""
    made = group([1.0, 1.0], math_problem(id=problem_id))
    row = tuple(range(tokens))
    rollouts = tuple(
        replace(r, tokens=row, sampler_logprobs=(0.0,) * tokens) for r in made.rollouts
    )
    return replace(made, rollouts=rollouts)


def decided(problem_id: str, decision: Decision) -> Resampled:
    return Resampled(problem_id, "math", decision, 2, 2)


def test_a_dropped_problem_saves_its_last_groups_tokens_in_each_epoch_that_it_rests(
    tmp_path: Path,
) -> None:
    drop, keep, wait = Decision.DROP_ALL_CORRECT, Decision.KEEP_MIXED, Decision.STAY_DROPPED
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_problems("math", [math_problem(id="a"), math_problem(id="b")])
        ledger.record_step(
            When(step=1, epoch=1, stage=1),
            [drawn("a", 5), drawn("b", 7)],
            [decided("a", drop), decided("b", keep)],
            [],
        )
        # nothing changes: no decision is stored anew, and a rests all the same
        ledger.record_step(
            When(step=2, epoch=2, stage=1),
            [drawn("b", 7)],
            [decided("a", wait), decided("b", keep)],
            [],
        )
        ledger.record_step(
            When(step=3, epoch=3, stage=1),
            [drawn("b", 7)],
            [decided("a", Decision.REVIVE_FLOOR), decided("b", drop)],
            [],
        )
        # a is back, with longer answers; b rests
        ledger.record_step(
            When(step=4, epoch=4, stage=1),
            [drawn("a", 9)],
            [decided("b", wait), decided("a", keep)],
            [],
        )
        assert saved_in(ledger) == {1: 0, 2: 10, 3: 10, 4: 14}


def test_what_comes_back_as_a_stage_begins_comes_back_before_its_epoch_ends(
    tmp_path: Path,
) -> None:
    # a and c are dropped with 10 tokens each. a is back for stage 2; the end of that epoch drops it
    # again, with 18 tokens: in epoch 2 only c rested, in epoch 3 both did.
    drop, keep, wait = Decision.DROP_ALL_CORRECT, Decision.KEEP_MIXED, Decision.STAY_DROPPED
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_problems("math", [math_problem(id=i) for i in "abc"])
        ledger.record_step(
            When(step=1, epoch=1, stage=1),
            [drawn("a", 5), drawn("b", 7), drawn("c", 5)],
            [decided("a", drop), decided("b", keep), decided("c", drop)],
            [],
        )
        ledger.record_step(
            When(step=2, epoch=2, stage=2),
            [drawn("a", 9)],
            [],
            [],
            revived_before=[decided("a", Decision.REVIVE_FLOOR)],
        )
        ledger.record_step(
            When(step=3, epoch=2, stage=2),
            [drawn("b", 7)],
            [decided("a", drop), decided("b", keep), decided("c", wait)],
            [],
        )
        ledger.record_step(
            When(step=4, epoch=3, stage=2),
            [drawn("b", 7)],
            [decided("a", wait), decided("b", keep), decided("c", wait)],
            [],
        )
        assert saved_in(ledger) == {1: 0, 2: 10, 3: 28}


def test_an_epoch_that_has_only_begun_saves_nothing(tmp_path: Path) -> None:
    # c rests in epoch 2, which a stage began with a revival and which has no end
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_problems("math", [math_problem(id=i) for i in "ac"])
        both = [decided(i, Decision.DROP_ALL_CORRECT) for i in "ac"]
        ledger.record_step(When(step=1, epoch=1, stage=1), [drawn("a", 5), drawn("c", 5)], both, [])
        ledger.record_step(
            When(step=2, epoch=2, stage=2),
            [drawn("a", 9)],
            [],
            [],
            revived_before=[decided("a", Decision.REVIVE_FLOOR)],
        )
        assert saved_in(ledger) == {1: 0, 2: 0}


def test_without_resampling_nothing_is_saved(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_problems("math", [math_problem(id="a")])
        ledger.record_step(When(step=1, epoch=1, stage=1), [drawn("a", 5)], [], [])
        assert saved_in(ledger) == {}
