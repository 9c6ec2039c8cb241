"""Completions that try to get a reward without solving anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from srpo.config import RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.rewards import Grader
from srpo.types import FunctionCase, Group, Problem, Rollout, Verdict
from tests.factories import code_problem, math_problem, rollout

REWARD = RewardConfig(accuracy=1.0, format=0.1, language_mixing=-0.1)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    config = VerifierConfig.model_validate({"code_workers": 1, "math_timeout_s": 1.0})
    with Grader(config) as grader:
        grade(grader, math_problem(answer=r"\sqrt{7}"), r"\boxed{7^{1/2}}")  # starts the server
        yield grader


def grade(grader: Grader, problem: Problem, text: str) -> Rollout:
    group = Group(problem, (7,), (rollout(text=text),), 0)
    (graded,) = grader.grade(
        [group], thinking_required=False, prefilled_thinking=False, reward=REWARD
    )
    return graded.rollouts[0]


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{4} or else \boxed{5}",  # two answers: the last one counts
        r"\boxed{4, 5}",
        r"\boxed{4 \text{ or } 5}",
        r"\boxed{}",
        r"\boxed{\boxed{}}",
        "",
        r"<think>\boxed{4}</think>",  # an answer inside the thinking
        r"<think>\boxed{4}</think>The answer is in my thoughts.",
        r"<think>a</think>\boxed{5}<think>\boxed{4}</think>",
        r"\boxed{4",
        "4 is the answer, or 5, or 6",
        r"\boxed{\text{the answer}}",
        r"\boxed{x}",
        r"\boxed{n + 2}",
        r"\boxed{\infty}",
        r"\boxed{4 = 5}",
        r"\boxed{\pm 4}",
        r"\boxed{4.000001}",
        r"\boxed{\frac{4}{0}}",
        "четыре",
    ],
)
def test_no_reward_for_a_trick(grader: Grader, text: str) -> None:
    result = grade(grader, math_problem(answer="4"), text)
    assert result.verdict is not Verdict.CORRECT
    assert result.verdict is not None and result.verdict.gradable
    assert result.reward is not None and result.reward <= 0.1


@pytest.mark.parametrize(
    "answer",
    ["9^{9^{9^{9}}}", "10^{10^{10}}", "(123456789)!", "2^{2^{40}}", "9^9^9^9", "7**(7**(7**7))",
     r"\frac{1}{0}", "((((((((((((((((((((((((((1))))))))))))))))))))))))))", "1e999999",
     r"\sum_{k=1}^{99999} k^{999}", r"\int_0^1 x^x dx", r"\sqrt{" * 20 + "2" + "}" * 20,
     r"\begin{pmatrix}" + "1&" * 90 + r"1\end{pmatrix}", "x" * 900, "+".join(["x^{2}"] * 39),
     r"\prod_{k=1}^{9999} (x+k)", r"(x+y)^{9999}", r"\sin(" * 20 + "1" + ")" * 20, "9999!"],
    ids=range(19),
)  # fmt: skip
def test_an_answer_made_to_stall_is_judged_in_its_time(grader: Grader, answer: str) -> None:
    start_s = time.monotonic()
    result = grade(grader, math_problem(answer=r"\sqrt{7}"), rf"\boxed{{{answer}}}")
    assert result.verdict in (Verdict.WRONG, Verdict.TIMED_OUT), result.note
    assert time.monotonic() - start_s < 20.0  # 1 s to compare, if the machine is idle


@pytest.mark.parametrize(
    "text",
    [
        "```python\nimport sys; sys.exit(0)\n```",
        "```python\ndef add(a, b): return 3 if a == 1 else 0\n```",
        "```python\nassert True\n```",
        "def add(a, b): return a + b",
        "<think>\n```python\ndef add(a, b): return a + b\n```\n</think>",
        "```python\ndef add(a, b): return a + b\n```\n```python\npass\n```",
    ],
)
def test_no_reward_for_a_program_that_solves_nothing(grader: Grader, text: str) -> None:
    cases = (FunctionCase("add", (1, 2), 3), FunctionCase("add", (2, 3), 5))
    result = grade(grader, code_problem(cases), text)
    assert result.verdict in (Verdict.WRONG, Verdict.NO_ANSWER)
    assert result.reward is not None and result.reward <= 0.1
