"""From completions to verdicts and rewards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from srpo.config import RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.errors import SandboxError
from srpo.rewards import Grader
from srpo.rewards.code import check_programs, extract_program, same_stdout, same_value
from srpo.sandbox import CaseOutput, Limits
from srpo.sandbox.scripted import ScriptedSandbox
from srpo.types import FunctionCase, Group, Problem, Rollout, StdioCase, Verdict
from tests.factories import code_problem, math_problem, rollout

GOOD, BAD, SLOW = "def add(a, b): return a + b\n", "def add(a, b): return 4\n", "while 1: pass\n"
CASES = (FunctionCase("add", (1, 2), 3), FunctionCase("add", (2, 2), 4))
SCRIPT = {
    GOOD: (CaseOutput("ok", value=3), CaseOutput("ok", value=4)),
    BAD: (CaseOutput("ok", value=4), CaseOutput("ok", value=4)),
    SLOW: (CaseOutput("timed_out"), CaseOutput("not_run")),
}
DEFAULTS = VerifierConfig.model_validate({})
ONE_WORKER = VerifierConfig.model_validate({"code_workers": 1})
REWARD = RewardConfig(accuracy=1.0, format=0.1, language_mixing=-0.5)


PROSE = "It is the number of legs that a dog or a horse has."


def fenced(program: str) -> str:
    return f"```python\n{program}```"


@pytest.fixture
def sandbox() -> ScriptedSandbox:
    return ScriptedSandbox(SCRIPT)


@pytest.fixture
def grader(sandbox: ScriptedSandbox) -> Iterator[Grader]:
    with Grader(DEFAULTS, sandbox) as grader:
        yield grader


def grade(
    grader: Grader,
    problem: Problem,
    *rollouts: Rollout | str,
    required: bool = False,
    prefilled: bool = False,
) -> list[Rollout]:
    rows = tuple(rollout(text=row) if isinstance(row, str) else row for row in rollouts)
    group = Group(problem=problem, prompt=(7,), rollouts=rows, policy_version=0)
    (graded,) = grader.grade(
        [group], thinking_required=required, prefilled_thinking=prefilled, reward=REWARD
    )
    return list(graded.rollouts)


def test_math_answers_get_verdicts_and_rewards(grader: Grader) -> None:
    right, wrong, none = grade(grader, math_problem(answer="4"), r"\boxed{4}", r"\boxed{5}", PROSE)
    assert [r.verdict for r in (right, wrong, none)] == [
        Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER,
    ]  # fmt: skip
    assert right.reward_parts == {"accuracy": 1.0, "format": 0.1, "language_mixing": 0.0}
    assert right.reward == pytest.approx(1.1)
    assert wrong.reward == pytest.approx(0.1)  # well formed, and there is an answer
    assert none.reward == 0.0 and none.note


def test_a_truncated_answer_gets_nothing_even_if_it_is_right(grader: Grader) -> None:
    (cut,) = grade(grader, math_problem(), rollout(text=r"\boxed{4}", stop_reason="length"))
    assert cut.verdict is Verdict.TRUNCATED and cut.reward == 0.0


def test_language_mixing_is_charged_by_share(grader: Grader) -> None:
    # 2 of the 4 letters are Han, and the box leaves none: share 0.5, times -0.5
    (mixed,) = grade(grader, math_problem(), r"we 得到 \boxed{4}")
    assert mixed.reward_parts["language_mixing"] == pytest.approx(-0.25)
    assert mixed.reward == pytest.approx(1.0 + 0.1 - 0.25)
    (cut,) = grade(grader, math_problem(), rollout(text="we 得到", stop_reason="length"))
    assert cut.reward == pytest.approx(-0.25)


def test_the_prompt_text_decides_which_scripts_are_foreign(grader: Grader) -> None:
    group = Group(math_problem(), (7,), (rollout(text=r"得到 \boxed{4}"),), policy_version=0)
    (graded,) = grader.grade(
        [group],
        prompt_text=lambda group: f"请回答 {group.problem.statement}",
        thinking_required=False,
        prefilled_thinking=False,
        reward=REWARD,
    )
    assert graded.rollouts[0].reward_parts["language_mixing"] == 0.0


def test_thinking_tags(grader: Grader) -> None:
    problem = math_problem()
    inside, thought, plain = r"<think>\boxed{4}</think>", r"<think>a</think>\boxed{4}", r"\boxed{4}"
    broken = r"<think>a \boxed{4}"
    optional = grade(grader, problem, inside, thought, plain, broken)
    assert [r.verdict for r in optional] == [
        Verdict.NO_ANSWER, Verdict.CORRECT, Verdict.CORRECT, Verdict.BAD_FORMAT,
    ]  # fmt: skip
    assert [r.thinks for r in optional] == [True, True, False, True]
    assert optional[3].reward == 0.0
    required = grade(grader, problem, thought, plain, required=True)
    assert [r.verdict for r in required] == [Verdict.CORRECT, Verdict.BAD_FORMAT]
    prefilled = grade(grader, problem, r"a</think>\boxed{4}", thought, prefilled=True)
    assert [r.verdict for r in prefilled] == [Verdict.CORRECT, Verdict.BAD_FORMAT]


def test_a_gold_answer_that_cannot_be_graded_gives_no_reward(grader: Grader) -> None:
    rows = grade(grader, math_problem(answer="@@"), r"\boxed{4}", "<think>", "none")
    assert [r.verdict for r in rows] == [Verdict.UNGRADABLE] * 3
    assert [r.reward for r in rows] == [None] * 3 and rows[0].reward_parts == {}


def test_programs_get_verdicts(grader: Grader, sandbox: ScriptedSandbox) -> None:
    rows = grade(
        grader, code_problem(CASES), fenced(GOOD), fenced(BAD), fenced(SLOW), fenced("x\n"), GOOD
    )
    assert [r.verdict for r in rows] == [
        Verdict.CORRECT, Verdict.WRONG, Verdict.TIMED_OUT, Verdict.WRONG, Verdict.NO_ANSWER,
    ]  # fmt: skip
    assert [r.passed_frac for r in rows] == [1.0, 0.5, 0.0, 0.0, None]
    assert rows[1].note == "case 1: another result"
    assert rows[1].reward == pytest.approx(0.1)


def test_equal_programs_are_run_once(grader: Grader, sandbox: ScriptedSandbox) -> None:
    rows = grade(grader, code_problem(CASES), fenced(GOOD), fenced(BAD), fenced(GOOD))
    assert [r.verdict for r in rows] == [Verdict.CORRECT, Verdict.WRONG, Verdict.CORRECT]
    assert [job.program for job in sandbox.seen] == [GOOD, BAD]


def test_expected_outputs_never_reach_the_sandbox(grader: Grader, sandbox: ScriptedSandbox) -> None:
    case = FunctionCase("add", (1, 2), "secret-4711")
    grade(grader, code_problem((case, StdioCase("1 2", "secret-4711"))), fenced(GOOD))
    assert "secret-4711" not in repr(sandbox.seen)


def test_a_broken_sandbox_is_never_a_wrong_answer(grader: Grader, sandbox: ScriptedSandbox) -> None:
    sandbox.infra_error = "the machine is gone"
    good, none = grade(grader, code_problem(CASES), fenced(GOOD), "no code")
    assert good.verdict is Verdict.INFRA_ERROR and good.reward is None
    assert good.reward_parts == {} and good.note == "the machine is gone"
    assert none.verdict is Verdict.NO_ANSWER  # needs no sandbox


def test_a_problem_without_tests_is_ungradable(grader: Grader) -> None:
    (row,) = grade(grader, code_problem(()), fenced(GOOD))
    assert row.verdict is Verdict.UNGRADABLE


def test_results_stay_with_their_rollouts(grader: Grader) -> None:
    groups = [
        Group(math_problem(answer="4"), (7,), (rollout(text=r"\boxed{4}"),), 3),
        Group(code_problem(CASES), (8,), (rollout(text=fenced(BAD)), rollout(text="?")), 3),
        Group(math_problem(answer="5", id="m2"), (9,), (rollout(text=r"\boxed{4}"),), 3),
    ]
    graded = grader.grade(groups, thinking_required=False, prefilled_thinking=False, reward=REWARD)
    assert [[r.verdict for r in group.rollouts] for group in graded] == [
        [Verdict.CORRECT], [Verdict.WRONG, Verdict.NO_ANSWER], [Verdict.WRONG],
    ]  # fmt: skip
    stripped = [
        replace(group, rollouts=tuple(rollout(text=r.text) for r in group.rollouts))
        for group in graded
    ]
    assert stripped == groups


def test_nothing_to_grade(grader: Grader) -> None:
    empty = Group(math_problem(), (7,), (), 0)
    for groups in ([empty], []):
        graded = grader.grade(
            groups, thinking_required=False, prefilled_thinking=False, reward=REWARD
        )
        assert graded == groups


def test_a_sandbox_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srpo.sandbox.local.AUTOMATIC", ())
    with Grader(ONE_WORKER) as grader, pytest.raises(SandboxError, match="cannot be isolated here"):
        grader.describe()


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("text\n```py\na\n```\nmore\n```python3\nb\n```\nend", "b\n"),
        ("```python\na\n```\n```text\nb\n```", "a\n"),
        ("```cpp\nint x;\n```", None),
        ("```python\nx = 1\n", None),
        ("x = 1", None),
        ("```python\n\n```", None),
        ("", None),
        ("  ```python\n  x = 1\n  ```", "x = 1\n"),
    ],
)
def test_the_last_closed_python_block_is_the_program(answer: str, program: str | None) -> None:
    assert extract_program(answer) == program


NAN = float("nan")


@pytest.mark.parametrize(
    ("expected", "value", "same"),
    [
        (3, 3, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (0, False, False),
        (2, 2.0, True),
        (0.3, 0.1 + 0.2, True),
        (1.0, 1.0 + 1e-10, True),
        (1.0, 1.0 + 1e-8, False),
        (1e20, 1e20 + 1e10, True),  # one part in 10**10
        (10**20, 10**20 + 1, False),  # two integers are exact
        (float("inf"), float("inf"), True),
        (float("inf"), 1e308, False),
        (NAN, NAN, True),
        (NAN, 1.0, False),
        (10**400, 1.0, False),
        ([1, 2], (1, 2), True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([[1, "a"]], [(1.0, "a")], True),
        ("3", 3, False),
        ("a", "a", True),
        (None, None, True),
        (None, 0, False),
        ({"1": 2}, {1: 2}, True),
        ({"a": [1]}, {"a": (1,)}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"1": 2}, {1: 2, "1": 2}, False),
        ([1, 2], {1, 2}, False),
    ],
)
def test_values_are_compared_by_type_and_value(expected: object, value: object, same: bool) -> None:
    assert same_value(expected, value) is same


@pytest.mark.parametrize(
    ("expected", "stdout", "same"),
    [
        ("3\n", "3", True),
        ("1 2\n", "1  2 \n\n", True),
        ("a\nb\n", "a\r\nb\r\n", True),
        ("a\nb\n", "a b\n", False),
        ("a\n\nb\n", "a\nb\n", False),
        ("0.3\n", "0.30\n", True),
        ("3\n", "3 4\n", False),
        ("", "\n", True),
        ("", "x", False),
    ],
)
def test_outputs_are_compared_token_by_token(expected: str, stdout: str, same: bool) -> None:
    assert same_stdout(expected, stdout) is same


def test_a_sandbox_that_answers_too_little_is_an_infra_error() -> None:
    sandbox = ScriptedSandbox({GOOD: (CaseOutput("ok", value=3),)})
    (finding,) = check_programs([(code_problem(CASES), GOOD)], sandbox, Limits())
    assert finding.verdict is Verdict.INFRA_ERROR
