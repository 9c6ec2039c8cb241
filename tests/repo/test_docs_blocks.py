"""The blocks of the documents are what the code takes: rows, settings, queries and programs."""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from srpo.comparison.plan import load_comparison
from srpo.config.files import resolve
from srpo.errors import ProblemFileError
from srpo.history import Ledger
from srpo.problems import read_problems
from srpo.problems.rows import parse_row
from srpo.rewards import judge_rows
from srpo.rewards.judge.rows import JudgeRow, parse_judge_row
from srpo.sandbox.scripted import ScriptedSandbox
from tests.ledgers import CODE, EASY, HARD, two_steps

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    """(file, text) of every block of this language, in the order of the files."""
    return [
        (path.name, text)
        for path in sorted(DOCS.rglob("*.md"))
        for named, text in BLOCK.findall(path.read_text(encoding="utf-8"))
        if named == language
    ]


def block(language: str, file: str) -> str:
    """The only block of this language in a file."""
    (found,) = [text for name, text in blocks(language) if name == file]
    return found


def json_lines(file: str, field: str) -> list[dict[str, Any]]:
    """The lines of all JSON blocks of a file that have this field."""
    rows = [
        json.loads(line)
        for name, text in blocks("json")
        if name == file
        for line in text.splitlines()
    ]
    return [row for row in rows if field in row]


def test_every_block_is_tried_here() -> None:
    tried = {
        "json": ["problems.md"] * 3 + ["rewards.md"] * 2,
        "toml": ["compare.md", "problems.md"],
        "sql": ["ledger.md"],
        "python": ["problems.md", "rewards.md"],
    }
    assert {language: [name for name, _ in blocks(language)] for language in tried} == tried
    known = {"", "sh", *tried}
    named = {name for path in DOCS.rglob("*.md") for name, _ in BLOCK.findall(path.read_text())}
    assert named <= known


def test_rows_of_problems_are_read() -> None:
    rows = json_lines("problems.md", "domain")
    problems = [parse_row(json.dumps(row).encode(), "docs") for row in rows]
    assert [problem.domain for problem in problems] == ["math", "math", "code", "code", "math"]
    assert [problem.answer for problem in problems] == ["4", "1.5", None, None, "3"]
    assert problems[-1].scorer is not None


def test_tests_of_every_kind_are_read() -> None:
    kinds = json_lines("problems.md", "kind")
    assert [row["kind"] for row in kinds] == ["stdio", "call", "assert"]
    for tests in kinds:
        row = {"domain": "code", "statement": "?", "tests": tests}
        assert parse_row(json.dumps(row).encode(), "docs").tests


def test_rows_to_judge_are_read_and_their_verdict_is_the_one_that_is_shown() -> None:
    rows, shown = json_lines("rewards.md", "completion"), json_lines("rewards.md", "verdict")
    read = [parse_judge_row(row, number) for number, row in enumerate(rows, start=1)]
    assert all(isinstance(row, JudgeRow) for row in read) and len(read) == 2
    found = [dict(row) for row in judge_rows(rows[:1], sandbox=ScriptedSandbox({}))]
    for verdict in (*found, *shown):
        assert 0.0 <= verdict.pop("seconds") < 10.0
    assert found == shown


def test_settings_are_those_of_a_config(tmp_path: Path) -> None:
    sets = tomllib.loads(block("toml", "problems.md"))["sets"]
    stage = {"name": "one", "sets": {"train": 1}, "steps": 1}
    config = resolve({"sets": sets, "stage": [stage]}, "docs/problems.md")
    assert config.sets["train"].holdout == 64


def test_the_plan_of_a_comparison_is_one(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(block("toml", "compare.md"), encoding="utf-8")
    found = load_comparison(plan)
    assert found.plan.name == "stages and resampling"
    assert len(found.arms) >= 2


def test_the_query_of_a_ledger_gives_what_it_says(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_problems("math", [EASY, HARD])
        ledger.add_problems("code", [CODE])
        two_steps(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        rows = db.execute(block("sql", "ledger.md")).fetchall()
    # epoch 1, math: of two groups of EASY and one of HARD, each of two, three rollouts of six
    assert rows == [(1, 0.5)]


def test_the_program_that_writes_a_problem_file_writes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python", "problems.md"), "docs/problems.md", "exec"), {})
    (problem,) = read_problems([tmp_path / "train.parquet"]).problems
    assert problem.statement == "Write a function add(a, b)." and len(problem.tests) == 1


def test_the_program_that_judges_says_correct(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block("python", "rewards.md"), "docs/rewards.md", "exec"), {})
    assert capsys.readouterr().out == "correct\n"


def test_bad_rows_are_told_as_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good = '{"domain": "math", "statement": "%d?", "answer": "4"}'
    lines = [good % number for number in range(14)]
    lines[2] = '{"domain": "math", "statement": "?"}'
    lines[7] = '{"domain": "math", "statement": "?", "anwser": "4"}'
    lines[8:13] = ["[]"] * 5
    Path("data").mkdir()
    Path("data/train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ProblemFileError) as caught:
        read_problems([Path("data/train.jsonl")])
    said = str(caught.value).splitlines()
    shown = next(text for name, text in blocks("") if name == "problems.md" and "bad rows" in text)
    head, first, second, _, more = shown.splitlines()
    assert [*said[:3], said[-1]] == [head, first, second, more]
