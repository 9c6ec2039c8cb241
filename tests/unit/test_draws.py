"""What is asked of the sampler at once, by kind of draw, worked out by hand."""

from __future__ import annotations

from typing import Any

from srpo.config import Config
from srpo.planning.draws import Draw, draws


def config(**changes: Any) -> Config:
    """Steps of 3 x 4 rollouts in a stage of short answers, then 2 x 8 in one of longer ones."""
    one = {
        "name": "one", "sets": {"m": 1}, "steps": 5, "problems_per_step": 3, "group_size": 4,
        "max_prompt_tokens": 50, "max_completion_tokens": 10,
    }  # fmt: skip
    two = {
        **one, "name": "two", "sets": {"m": 1, "c": 1}, "problems_per_step": 2, "group_size": 8,
        "max_prompt_tokens": 20, "max_completion_tokens": 100, "top_p": 0.9,
    }  # fmt: skip
    sets = {
        "m": {"generate": "math", "count": 99, "holdout": 30, "validation": 5},
        "c": {"generate": "code", "count": 99, "holdout": 20, "validation": 50},
        "unused": {"generate": "code", "count": 99, "holdout": 900},
    }
    return Config.model_validate(
        {"sets": sets, "stage": [one, two], "evaluation": {"samples": 2}, **changes}
    )


STEPS = [Draw(3, 12, 50, 10), Draw(2, 16, 20, 100, nucleus=True)]


def test_steps_are_drawn_as_their_stage_says() -> None:
    found = draws(config(probe={"problems": 0}, evaluation={"samples": 0}))
    assert list(found) == STEPS


def test_the_probe_draws_one_set_after_the_other_as_its_first_stage_does() -> None:
    found = draws(config(probe={"problems": 7}, evaluation={"samples": 0}))
    assert list(found) == [
        STEPS[0], Draw(7, 28, 50, 10), STEPS[1], Draw(7, 56, 20, 100, nucleus=True)
    ]  # fmt: skip
    same = [{"name": n, "sets": {"m": 1}, "steps": 1} for n in ("one", "two")]
    found = draws(config(probe={"problems": 7}, evaluation={"samples": 0}, stage=same))
    assert [draw.problems for draw in found] == [32, 7, 32]  # the second brings no other set


def test_held_out_problems_of_used_sets_are_answered_64_at_once_as_in_the_last_stage() -> None:
    # 50 to test and 55 to validate, never both at once; prompts of the first stage are among them
    assert list(draws(config(probe={"problems": 0})))[2:] == [Draw(55, 110, 50, 100)]
    more = {"m": {"generate": "math", "count": 99, "holdout": 80}}
    one = {"name": "one", "sets": {"m": 1}, "steps": 1}
    (_, last) = draws(config(probe={"problems": 0}, sets=more, stage=[one]))
    assert (last.problems, last.rows) == (64, 128)


def test_a_prompt_may_end_with_part_of_an_own_answer_where_it_is_trained_on() -> None:
    # three quarters of 9, and of 99 tokens before the stop
    found = draws(config(probe={"problems": 7}, reuse={"prefixes": True}))
    assert [draw.prompt for draw in found] == [50 + 6, 50, 20 + 74, 20, 50]
