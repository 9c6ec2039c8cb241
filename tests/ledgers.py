"""A ledger of two math problems and a code problem, and two steps of an epoch."""

from __future__ import annotations

from dataclasses import replace

from srpo.history import Ledger, When
from srpo.selection.rule import Decision, Resampled
from tests.factories import code_problem, group, math_problem

EASY = math_problem("What is 2 + 2?", "4", id="aa01")
HARD = replace(math_problem("What is 9 * 9?", "81", id="bb01"), name="AIME_1", level=7)
CODE = code_problem(id="cc01")
STEP_1, STEP_2 = When(step=1, epoch=1, stage=1), When(step=2, epoch=1, stage=1)


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
        ],
        [("resampling", "epoch 1 ends")],
    )
