"""Kept problems as files: our own, verl's and TRL's, loaded with `datasets` as those do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from srpo.config import Config
from srpo.config.files import dump, load_config, parse_set
from srpo.errors import ProblemFileError, SrpoError
from srpo.history import Ledger, When
from srpo.insight.ledger_command import show_ledger
from srpo.problems import read_problems, write_problems
from srpo.problems.exports import Format, verl_grading
from srpo.rundir import RunDirectory
from srpo.selection.rule import Decision, Resampled
from srpo.types import AssertCase, CodeCase, FunctionCase, Problem, Scorer, StdioCase
from tests.factories import code_problem

ADD = (FunctionCase("add", (1, [2, "x"]), 3), FunctionCase("add", (0, []), None))
STDIO = (StdioCase("1 2\n", "3\n"), StdioCase("4 5\n", "9\n"))
ASSERT = (AssertCase("assert add(1, 2) == 3"),)


def problems_on_disk(folder: Path) -> tuple[Problem, ...]:
    """Four math and three code problems, as a run would read them."""
    made = [
        Problem(f"m{i}", "math", f"What is 2 + {i}? é", str(2 + i), level=i, name=f"sum-{i}")
        for i in range(4)
    ]
    kinds: tuple[tuple[CodeCase, ...], ...] = (ADD, STDIO, ASSERT)
    for i, cases in enumerate(kinds):
        made.append(code_problem(cases, f"Write add, way {i}.", id=f"c{i}"))
    write_problems(folder / "train.jsonl", made)
    return read_problems([folder / "train.jsonl"]).problems


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with problems and a run `r`, which dropped the first math problem."""
    problems = problems_on_disk(tmp_path)
    settings = [
        'sets={"all" = {files = ["' + str(tmp_path / "train.jsonl") + '"]}}',
        "every_stage.sets={}",
        "stage.1.sets={all = 1}",
        "stage.2.sets={all = 1}",
        "prompt.math_instruction=Box the answer.",
    ]
    config = load_config(settings=[parse_set(text) for text in settings]).config
    make_run(tmp_path / "r", config, problems)
    return tmp_path


def make_run(root: Path, config: Config, problems: tuple[Problem, ...]) -> None:
    run = RunDirectory.create(root, dump(config), {})
    with Ledger(run.ledger) as ledger:
        ledger.add_problems("all", problems)
        decided = [Resampled(p.id, "all", Decision.KEEP_UNSEEN, 0, 0) for p in problems]
        decided[0] = decided[0]._replace(decision=Decision.DROP_ALL_CORRECT)
        ledger.record_step(When(1, 1, 1), [], decided, [])


def export(folder: Path, name: str, form: Format = "srpo") -> Path:
    path = folder / name
    show_ledger(
        folder / "r",
        None,
        form,
        problem=None,
        decisions=False,
        never=False,
        preview=False,
        export=path,
    )
    return path


def load(path: Path) -> Any:
    """As verl and users of TRL load a file: with `datasets`, from files alone."""
    import datasets

    kind = "parquet" if path.suffix == ".parquet" else "json"
    cache = str(path.parent / "cache")
    return datasets.load_dataset(kind, data_files=str(path), cache_dir=cache)["train"]


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.parquet"])
def test_our_own_format_is_read_back_as_the_same_problems(folder: Path, name: str) -> None:
    kept = read_problems([export(folder, name)]).problems
    before = read_problems([folder / "train.jsonl"]).problems
    assert kept == before[1:]  # ids, names, levels and sources as well


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.parquet"])
def test_verl_finds_its_columns(folder: Path, name: str) -> None:
    rows = load(export(folder, name, "verl"))
    assert set(rows.column_names) == {
        "data_source",
        "prompt",
        "ability",
        "reward_model",
        "extra_info",
    }
    assert len(rows) == 6
    math = rows[0]
    asked = [{"role": "user", "content": "What is 2 + 1? é\nBox the answer."}]
    assert math["prompt"] == asked
    assert (math["data_source"], math["ability"]) == ("lighteval/MATH", "math")
    assert math["reward_model"] == {"style": "rule", "ground_truth": "3"}
    assert [row["extra_info"]["index"] for row in rows] == list(range(6))
    assert math["extra_info"]["split"] == "train"
    assert [row["data_source"] for row in rows][3:] == ["taco", "taco", "srpo/code"]


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.parquet"])
def test_trl_finds_a_conversation_and_what_a_reward_needs(folder: Path, name: str) -> None:
    rows = load(export(folder, name, "trl"))
    assert len(rows) == 6
    asked = [{"role": "user", "content": "What is 2 + 1? é\nBox the answer."}]
    assert (rows[0]["prompt"], rows[0]["answer"], rows[0]["tests"]) == (asked, "3", "")
    code = rows[4]
    assert code["prompt"] == [{"role": "user", "content": "Write add, way 1."}]
    assert (code["answer"], code["domain"]) == ("", "code")
    # what srpo.rewards.judge_rows takes as tests
    assert json.loads(code["tests"]) == [
        {"stdin": "1 2\n", "stdout": "3\n"},
        {"stdin": "4 5\n", "stdout": "9\n"},
    ]


@pytest.mark.parametrize(
    ("cases", "source", "truth"),
    [
        # a call: one argument a line, as JSON; the value that comes back, as JSON
        (
            ADD,
            "taco",
            {"fn_name": "add", "inputs": ['1\n[2, "x"]', "0\n[]"], "outputs": ["3", "null"]},
        ),
        (STDIO, "taco", {"inputs": ["1 2\n", "4 5\n"], "outputs": ["3\n", "9\n"]}),
        (ASSERT, "srpo/code", [{"program": "assert add(1, 2) == 3"}]),
        # two functions, or outputs that are not compared line by line, are beyond verl's graders
        (
            (FunctionCase("f", (), 1), FunctionCase("g", (), 2)),
            "srpo/code",
            [
                {"function": "f", "args": [], "expected": 1},
                {"function": "g", "args": [], "expected": 2},
            ],
        ),
        (
            (StdioCase("", "1.0", "float:1e-6"),),
            "srpo/code",
            [{"stdin": "", "stdout": "1.0", "checker": "float:1e-6"}],
        ),
    ],
)
def test_programs_are_given_as_verls_graders_want_them(
    cases: tuple[CodeCase, ...], source: str, truth: object
) -> None:
    found, text = verl_grading(code_problem(cases))
    assert (found, json.loads(text)) == (source, truth)


def test_problems_that_are_gone_are_counted(folder: Path) -> None:
    left = read_problems([folder / "train.jsonl"]).problems
    write_problems(folder / "train.jsonl", [left[0], left[3]])
    with pytest.raises(SrpoError) as caught:
        export(folder, "kept.jsonl")
    text = str(caught.value)
    assert text.startswith("5 of 6 kept problems are not in the run's problem sets any more")
    assert left[1].id in text
    assert not (folder / "kept.jsonl").exists()


@pytest.mark.parametrize("form", ["srpo", "verl", "trl"])
def test_nothing_is_written_over_or_beside_what_is_there(folder: Path, form: Format) -> None:
    before = (folder / "train.jsonl").read_bytes()
    with pytest.raises(ProblemFileError, match="already exists"):
        export(folder, "train.jsonl", form)
    assert (folder / "train.jsonl").read_bytes() == before
    with pytest.raises(ProblemFileError, match="no such folder"):
        export(folder, "missing/kept.jsonl", form)
    with pytest.raises(ProblemFileError, match="must end in one of"):
        export(folder, "kept.csv", form)


def test_what_verl_cannot_grade_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(folder, "kept.parquet", "verl")
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("kept.parquet: 6 kept problems of 7, in the format of verl")
    assert said[1].startswith("of these, 1 with tests that verl's own graders do not run")


def test_verl_has_no_grader_for_a_problem_that_names_its_scorer() -> None:
    scorer = Scorer("gcd", '{"answer":"4"}')
    problem = Problem("m1", "math", "gcd(8, 12)?", "4", scorer=scorer)
    name, truth = verl_grading(problem)
    assert name == "srpo/scored"
    row = {"package": "reasoning_gym", "dataset": "gcd", "entry": {"answer": "4"}}
    assert json.loads(truth) == row
