"""Prefixes of own correct answers: what is remembered, and what a request begins with."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from srpo.config import Config
from srpo.prefixes import OwnAnswers, longest_prefix
from srpo.types import Group, Request
from tests.factories import group, math_problem

PROBLEM = math_problem(id="p")
REQUEST = Request(PROBLEM, 4, "its turn")


def drawn(rewards: list[float], tokens: tuple[int, ...] = tuple(range(10, 19))) -> Group:
    """A group of the problem whose every completion is `tokens`; reward 1 means correct."""
    made = group(rewards, PROBLEM)
    return replace(made, rollouts=tuple(replace(r, tokens=tokens) for r in made.rollouts))


def begun(answers: OwnAnswers, seed: int = 1) -> Request:
    (request,) = answers.begun([REQUEST], random.Random(seed))
    return request


def test_a_problem_that_fails_now_begins_with_part_of_its_own_correct_answer() -> None:
    answers = OwnAnswers()
    answers.observe([drawn([1, 0, 0, 0])])
    assert begun(answers) == REQUEST  # it was solved the last time
    answers.observe([drawn([0, 0, 0, 0])])
    request = begun(answers)
    # eight tokens without the stop token; a quarter, a half or three quarters of them
    assert request.prefix in {(10, 11), (10, 11, 12, 13), (10, 11, 12, 13, 14, 15)}
    assert request.why == f"its turn; from {len(request.prefix)} tokens of an own answer"


def test_all_three_lengths_come_and_the_seed_decides_which() -> None:
    lengths = set()
    for seed in range(20):
        answers = OwnAnswers()
        answers.observe([drawn([1, 0, 0, 0])])
        answers.observe([drawn([0, 0, 0, 0])])
        lengths.add(len(begun(answers, seed).prefix))
    assert lengths == {2, 4, 6}


def test_the_next_time_it_comes_from_its_bare_prompt() -> None:
    answers = OwnAnswers()
    answers.observe([drawn([1, 0, 0, 0])])
    answers.observe([drawn([0, 0, 0, 0])])
    assert begun(answers).prefix
    assert begun(answers) == REQUEST


@pytest.mark.parametrize(
    "rewards",
    [
        [0, 0, 0, 0],  # never solved: there is no own answer
        [1, 1, 1, 0],  # solved too often to be hard
        [1, 1, 1, 1],
    ],
)
def test_without_an_answer_to_a_hard_problem_there_is_no_prefix(rewards: list[float]) -> None:
    answers = OwnAnswers()
    answers.observe([drawn(rewards)])
    answers.observe([drawn([0, 0, 0, 0])])
    assert begun(answers) == REQUEST


def test_a_problem_that_is_no_longer_hard_is_forgotten() -> None:
    answers = OwnAnswers()
    answers.observe([drawn([1, 0, 0, 0])])
    answers.observe([drawn([1, 1, 1, 1])])
    answers.observe([drawn([0, 0, 0, 0])])
    assert begun(answers) == REQUEST


def test_what_began_with_a_prefix_says_nothing_about_the_problem() -> None:
    answers = OwnAnswers()
    answers.observe([drawn([1, 0, 0, 0])])
    answers.observe([drawn([0, 0, 0, 0])])
    answers.observe([replace(drawn([1, 1, 1, 1]), prefix=(10,))])
    assert begun(answers).prefix  # still unsolved, its answer still known


def test_an_answer_too_short_to_be_cut_is_not_used() -> None:
    answers = OwnAnswers()
    answers.observe([drawn([1, 0, 0, 0], tokens=(10, 11, 12, 2))])  # three tokens and the stop
    answers.observe([drawn([0, 0, 0, 0])])
    assert begun(answers) == REQUEST


def test_restored_from_json_it_begins_the_same() -> None:
    answers = OwnAnswers()
    answers.observe([drawn([1, 0, 0, 0])])
    answers.observe([drawn([0, 0, 0, 0])])
    restored = OwnAnswers()
    restored.load_state_dict(json.loads(json.dumps(answers.state_dict())))
    assert begun(restored, 7) == begun(answers, 7)


@pytest.mark.parametrize(
    ("lengths", "longest"),
    [
        # three quarters of 99 and of 39 tokens before the stop; answers of the first stage stay
        ((100, 40), [74, 74]),
        ((40, 100), [29, 74]),
        ((4, 5), [2, 3]),
    ],
)
def test_the_longest_prefix_is_of_an_answer_of_this_stage_or_of_one_before(
    lengths: tuple[int, int], longest: list[int]
) -> None:
    given = {
        "sets": {"m": {"generate": "math", "count": 9}},
        "stage": [
            {"name": f"s{n}", "sets": {"m": 1}, "steps": 1, "max_completion_tokens": n}
            for n in lengths
        ],
    }
    config = Config.model_validate({**given, "reuse": {"prefixes": True}})
    assert [longest_prefix(config, number) for number in (1, 2)] == longest
    assert longest_prefix(Config.model_validate(given), 2) == 0
    # and none that is drawn is longer
    for length, most in zip(sorted(lengths), sorted(longest), strict=True):
        answers = OwnAnswers()
        answers.observe([drawn([1, 0, 0, 0], tuple(range(length)))])
        drawn_lengths = set()
        for seed in range(20):
            answers.observe([drawn([0, 0, 0, 0])])
            drawn_lengths.add(len(begun(answers, seed).prefix))
        assert max(drawn_lengths) <= most
