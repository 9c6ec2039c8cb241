"""The grader with the sandbox of this machine."""

from __future__ import annotations

import random
from collections.abc import Sequence

from srpo.config import RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.embedded.demonstrations import CLEAN, demonstrate
from srpo.embedded.world import LEVELS, draw_task, problem_of
from srpo.rewards import Grader
from srpo.types import FunctionCase, Group, Problem, Rollout, Verdict
from tests.factories import code_problem, rollout

ADD = "```python\ndef add(a, b): return a + b\n```"
CASES = (FunctionCase("add", (1, 2), 3), FunctionCase("add", (2, 2), 4))
ONE_WORKER = VerifierConfig.model_validate({"code_workers": 1})


def grade(grader: Grader, pairs: Sequence[tuple[Problem, str]]) -> list[Rollout]:
    groups = [Group(problem, (7,), (rollout(text=text),), 0) for problem, text in pairs]
    found = grader.grade(
        groups, thinking_required=False, prefilled_thinking=False, reward=RewardConfig()
    )
    return [group.rollouts[0] for group in found]


def test_the_real_sandbox_starts_with_the_first_program() -> None:
    with Grader(ONE_WORKER) as grader:
        assert grader._own_sandbox is None
        (row,) = grade(grader, [(code_problem(CASES), ADD)])
        assert row.verdict is Verdict.CORRECT and row.passed_frac == 1.0
        assert grader.describe().startswith("Sandbox ")


def test_a_clean_writers_programs_are_judged_correct_in_the_sandbox() -> None:
    rng = random.Random("code/8")
    tasks = [draw_task(rng, "code", LEVELS[i % len(LEVELS)]) for i in range(8)]
    pairs = [(problem_of(task, rng), demonstrate(task, CLEAN["code"], rng)) for task in tasks]
    with Grader(ONE_WORKER) as grader:
        assert [row.verdict for row in grade(grader, pairs)] == [Verdict.CORRECT] * 8
