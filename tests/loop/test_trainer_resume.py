"""Resuming where a run may have been killed: nothing is trained or measured twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from srpo.errors import ConfigError, RunDirectoryError
from srpo.history import Ledger
from srpo.resuming.checkpoints import read_state, state_text
from srpo.rundir import RunDirectory
from srpo.trainer import Run, train
from tests.loop.test_trainer_evaluations import SETS, evaluations, trained
from tests.short_runs import RIGHT, WRONG, config_of, opener, problem_file

EVERY_STEP = {"every_steps": 1, "keep_last": 99}
WATCHED: dict[str, Any] = {"samples": 1, "every_steps": 2}


def unfinish(run: Run) -> None:
    """Let the newest checkpoint be that of the last step, before the run came to its ending."""
    path = run.checkpoint / "trainer.json"
    state = replace(read_state(run.checkpoint), ending="")
    path.write_text(state_text(state, json.loads(path.read_text())["files"]))


def contents(run: Run) -> dict[Path, bytes]:
    """Every file of a run, but for who trains it."""
    files = [p for p in run.directory.rglob("*") if p.is_file() and p.name != "lock"]
    return {path: path.read_bytes() for path in files}


def resumed(run: Run) -> Run:
    return train(resume=run.directory, open_model=opener([RIGHT, WRONG]))


def test_a_budget_spent_before_the_kill_is_not_overrun(tmp_path: Path) -> None:
    # 12 rollouts a step: the third spends the budget
    run = trained(tmp_path, budget={"rollouts": 30}, stage={"steps": 99}, checkpoint=EVERY_STEP)
    unfinish(run)
    again = resumed(run)
    assert again.finished and again.ending == run.ending
    assert [row["step"] for row in RunDirectory(run.directory).read_metrics()] == [1, 2, 3]


def test_the_test_is_not_read_again_after_the_last_step(tmp_path: Path) -> None:
    run = trained(tmp_path, sets=SETS, evaluation=WATCHED, checkpoint=EVERY_STEP)
    before = evaluations(run)
    assert before[-2:] == [("validation", 4), ("test", 4)]
    unfinish(run)
    assert resumed(run).finished
    assert evaluations(run) == before


def test_a_kill_between_the_two_first_evaluations_loses_neither(tmp_path: Path) -> None:
    run = trained(tmp_path, sets=SETS, evaluation=WATCHED)
    whole = evaluations(run)
    assert whole[:2] == [("test", 0), ("validation", 0)]
    path = RunDirectory(run.directory).evaluations
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    shutil.rmtree(run.checkpoint)
    assert resumed(run).finished
    assert evaluations(run) == whole


def test_a_changed_problem_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = trained(tmp_path, checkpoint=EVERY_STEP)
    unfinish(run)
    problem_file(tmp_path, 9)  # it had eight
    before = contents(run)
    with pytest.raises(RunDirectoryError, match="problems of math are not those") as caught:
        resumed(run)
    assert "\n" not in str(caught.value)
    assert contents(run) == before


def test_a_changed_rule_is_told_in_one_line(tmp_path: Path) -> None:
    run = trained(tmp_path, checkpoint=EVERY_STEP)
    unfinish(run)
    config = RunDirectory(run.directory).config
    config.write_text(config.read_text().replace('rule = "resampling"', 'rule = "spaced"'))
    with pytest.raises(ConfigError) as caught:
        resumed(run)
    line = f"{config}: selection.rule was 'resampling' and is 'spaced'; a run that has begun keeps"
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def solved_run(folder: Path) -> Run:
    """A run that solved all of its eight problems, and so dropped all but the floor of three."""
    folder.mkdir()
    config = config_of(folder, count=8, stage={"epochs": 1})
    return train(config, folder / "run", open_model=opener([RIGHT]))


def test_a_run_begun_with_a_ledger_needs_it_no_more(tmp_path: Path) -> None:
    other = solved_run(tmp_path / "other")
    selection = {"history": str(other.directory)}
    run = trained(tmp_path, selection=selection, checkpoint=EVERY_STEP, stage={"epochs": 2})
    whole = problems_by_step(run)
    shutil.rmtree(RunDirectory(run.directory).checkpoints)  # the history is recalled once more
    shutil.rmtree(other.directory)
    assert resumed(run).finished
    assert problems_by_step(run) == whole


def test_what_a_ledger_drops_is_in_the_new_runs_ledger_from_the_start(tmp_path: Path) -> None:
    other = solved_run(tmp_path / "other")
    selection = {"history": str(other.directory)}
    run = trained(tmp_path, selection=selection, stage={"steps": 1})
    with Ledger(RunDirectory(run.directory).ledger, read_only=True) as ledger:
        # eight problems were all correct; three come back, the places of a step
        assert len(list(ledger.kept())) == 3
        assert set(ledger.kept()) == set(problems_by_step(run)[0])


def test_a_third_run_begins_with_what_the_first_dropped(tmp_path: Path) -> None:
    first = solved_run(tmp_path / "first")
    second = train(
        config_of(
            tmp_path, count=8, stage={"steps": 1}, selection={"history": str(first.directory)}
        ),
        tmp_path / "second",
        open_model=opener([WRONG]),
    )
    third = trained(tmp_path, selection={"history": str(second.directory)}, stage={"steps": 1})
    # five of eight were dropped by the first; the second saw the other three, and solved none
    assert set(problems_by_step(third)[0]) == set(problems_by_step(second)[0])


def problems_by_step(run: Run) -> list[list[str]]:
    """The problems of each step, in the order of its groups."""
    files = sorted((run.directory / "rollouts").rglob("step_*.jsonl"))
    lines = [map(json.loads, path.read_text(encoding="utf-8").splitlines()) for path in files]
    return [list(dict.fromkeys(row["problem"] for row in rows)) for rows in lines]
