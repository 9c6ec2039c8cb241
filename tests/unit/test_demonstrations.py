"""What the base model is taught: a clean writer is always right, and habits are frequencies."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from srpo.config import RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.embedded.demonstrations import BASE, CLEAN, Habits, demonstrate
from srpo.embedded.world import LEVELS, Task, draw_task, problem_of
from srpo.rewards import Grader
from srpo.rewards.code import extract_program
from srpo.rewards.format import split_completion
from srpo.types import Domain, FunctionCase, Group, Problem, Verdict
from tests.factories import rollout

STEP = re.compile(r"(\d)([-+*])(\d)=(\d)")


def told(
    domain: Domain, habits: Habits, count: int, levels: Sequence[int] = LEVELS
) -> Iterator[tuple[Task, Problem, str]]:
    """Tasks, their problems, and how a writer with these habits answers them."""
    rng = random.Random(f"{domain}/{count}")
    for i in range(count):
        task = draw_task(rng, domain, levels[i % len(levels)])
        yield task, problem_of(task, rng), demonstrate(task, habits, rng)


def graded(pairs: Sequence[tuple[Problem, str]]) -> list[Verdict | None]:
    groups = [Group(problem, (7,), (rollout(text=text),), 0) for problem, text in pairs]
    with Grader(VerifierConfig()) as grader:
        found = grader.grade(
            groups, thinking_required=True, prefilled_thinking=False, reward=RewardConfig()
        )
    return [group.rollouts[0].verdict for group in found]


@pytest.mark.parametrize("thinking", [0.0, 1.0])
def test_a_clean_writers_math_is_judged_correct(thinking: float) -> None:
    habits = replace(CLEAN["math"], thinking=thinking, easy_thinking=None)
    pairs = [(problem, text) for _, problem, text in told("math", habits, 80)]
    assert graded(pairs) == [Verdict.CORRECT] * 80


@pytest.mark.parametrize("thinking", [0.0, 1.0])
def test_a_clean_writers_programs_give_what_the_tests_expect(thinking: float) -> None:
    habits = replace(CLEAN["code"], thinking=thinking, easy_thinking=None)
    for _, problem, text in told("code", habits, 80):
        program = extract_program(split_completion(text, prefilled_thinking=False).answer)
        assert program is not None
        scope: dict[str, Any] = {}
        exec(program, scope)  # written by our own demonstrations
        for case in problem.tests:
            assert isinstance(case, FunctionCase)
            assert scope["f"](*case.args) == case.expected


@pytest.mark.parametrize("domain", ["math", "code"])
def test_clean_thinking_has_no_false_step_and_ends_on_the_answer(domain: Domain) -> None:
    habits = replace(CLEAN[domain], thinking=1.0, easy_thinking=None)
    for task, _, text in told(domain, habits, 160):
        thought = split_completion(text, prefilled_thinking=False).thinking
        steps = STEP.findall(thought)
        assert len(steps) == sum(len(chain.operations) for chain in task.chains)
        for before, sign, operand, after in steps:
            a, b = int(before), int(operand)
            assert int(after) == {"+": a + b, "-": a - b, "*": a * b}[sign] % 10


def test_thinking_comes_as_often_as_the_habit_says() -> None:
    # easy_thinking is for tasks of at most one step: level 1 has none of its own to work out
    habits = Habits(thinking=0.8, easy_thinking=0.3)

    def share(level: int) -> float:
        texts = [text for _, _, text in told("math", habits, 1000, [level])]
        return sum(split_completion(t, prefilled_thinking=False).thinks for t in texts) / 1000

    # three standard deviations of 1,000 draws: 3 * sqrt(0.8 * 0.2 / 1000) = 0.038
    assert share(6) == pytest.approx(0.8, abs=0.04)
    assert share(1) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("domain", ["math", "code"])
def test_the_base_writer_knows_how_to_think_and_seldom_does(domain: Domain) -> None:
    texts = [text for _, _, text in told(domain, BASE[domain], 400)]
    thinks = [split_completion(text, prefilled_thinking=False).thinks for text in texts]
    assert 0 < sum(thinks) < 0.2 * 400


@pytest.mark.parametrize("domain", ["math", "code"])
def test_every_slip_of_the_form_is_judged_as_no_answer_or_bad_format(domain: Domain) -> None:
    badly = Habits(thinking=0.5, thought_format_slip=1.0, direct_format_slip=1.0)
    pairs = [(problem, text) for _, problem, text in told(domain, badly, 60)]
    verdicts = set(graded(pairs))
    assert verdicts == {Verdict.NO_ANSWER, Verdict.BAD_FORMAT}


def test_a_slip_in_the_thinking_is_carried_on_to_the_answer() -> None:
    habits = Habits(thinking=1.0, step_slip=1.0)
    for _, _, text in told("math", habits, 80, [3, 4, 5, 6]):
        completion = split_completion(text, prefilled_thinking=False)
        *_, (_, _, _, last) = STEP.findall(completion.thinking)
        assert completion.answer == f"\\boxed{{{last}}}"
        digits = [step[0] for step in STEP.findall(completion.thinking)]
        ends = [step[3] for step in STEP.findall(completion.thinking)]
        assert digits[1:] == ends[:-1]  # each step goes on from what the last one said
