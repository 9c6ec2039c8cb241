"""`srpo compare` as a user runs it: a tiny plan on the embedded model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from srpo.rundir import RunDirectory
from tests.command_line import Outcome, run_here
from tests.comparisons import BASE, write_plan

TINY = """
name = "tiny"
base = "base.toml"
seeds = [11]
[budget]
rollouts = 16
tokens = 100
[evaluation]
every_steps = 1
targets = [0.01, 1.0]
[[arm]]
name = "vanilla GRPO"
algorithm = "grpo"
[[arm]]
name = "SRPO"
settings = { "stage.1.steps" = 1 }
"""


@pytest.fixture
def srpo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """Run the command line in this process; the runs it starts are processes of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Outcome:
        return run_here(monkeypatch, capsys, *arguments)

    return run


def test_a_plan_is_shown_run_and_not_run_again(
    tmp_path: Path, srpo: Callable[..., Outcome]
) -> None:
    plan = write_plan(tmp_path, TINY, BASE)
    shown = srpo("compare", plan, "--dry-run")
    assert shown.code == 0, shown.err
    assert "2 runs for results; 0 of them finished" in shown.out
    assert not (tmp_path / "runs").exists()

    done = srpo("compare", plan, "--cores", 2)
    assert done.code == 0, done.out + done.err
    out = tmp_path / "runs" / "compare-tiny"
    for name in ("results.txt", "results.md", "results.csv", "accuracy.png", "accuracy.svg"):
        assert (out / name).stat().st_size > 0, name
    data = json.loads((out / "results.json").read_text())
    assert [run["arm"] for run in data["runs"]] == ["vanilla GRPO", "SRPO"]
    for run in data["runs"]:
        assert run["rollouts"] >= 16 and run["tokens"] >= 100  # both budgets are spent
        assert set(run["test"]) == {"math", "code"}
    for arm in ("vanilla-grpo", "srpo"):
        directory = RunDirectory(out / "runs" / arm / "seed-11")
        splits = [(row["split"], row["step"]) for row in directory.read_evaluations()]
        rows = directory.read_metrics()
        steps = len(rows)
        spent = next(row["step"] for row in rows if (row["tokens/total"] or 0) >= 100)
        # the test split once, as soon as the tokens are spent; the validation split before training
        # and at each step
        assert [step for split, step in splits if split == "test"] == [spent]
        assert [step for split, step in splits if split == "validation"] == [*range(steps + 1)]
    table = list(csv.DictReader(io.StringIO((out / "results.csv").read_text(encoding="utf-8"))))
    # one run an arm; nobody gets all problems right
    assert [(row["arm"], row["tokens_to_1"]) for row in table] == [
        ("vanilla GRPO", ""),
        ("SRPO", ""),
    ]

    written = (out / "runs" / "srpo" / "seed-11" / "metrics.jsonl").stat().st_mtime_ns
    again = srpo("compare", plan)
    assert again.code == 0 and "scale model" in again.out
    assert (out / "runs" / "srpo" / "seed-11" / "metrics.jsonl").stat().st_mtime_ns == written


def test_another_baseline_is_for_results(tmp_path: Path, srpo: Callable[..., Outcome]) -> None:
    done = srpo("compare", write_plan(tmp_path, TINY, BASE), "--against", "SRPO")
    assert done.code == 2 and "--against goes with --results" in done.err


def test_a_plan_that_is_wrong_ends_in_one_line_and_writes_nothing(
    tmp_path: Path, srpo: Callable[..., Outcome]
) -> None:
    wrong = TINY.replace('"stage.1.steps" = 1', '"budget.tokens" = 1')
    done = srpo("compare", write_plan(tmp_path, wrong, BASE))
    assert done.code == 2
    line = f"srpo: {tmp_path / 'plan.toml'}: arm 'SRPO' differs in budget: it sets budget.tokens"
    assert done.err.startswith(line) and len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
