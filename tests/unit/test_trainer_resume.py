"""Resuming where a run may have been killed: nothing is trained or measured twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from srpo.rundir import RunDirectory
from srpo.trainer import Run, train
from tests.unit.test_trainer import RIGHT, WRONG, opener
from tests.unit.test_trainer_evaluations import SETS, evaluations, trained

EVERY_STEP = {"every_steps": 1, "keep_last": 99}
WATCHED: dict[str, Any] = {"samples": 1, "every_steps": 2}


def unfinish(run: Run) -> None:
    """Let the newest checkpoint be that of the last step, before the run came to its ending."""
    path = run.checkpoint / "trainer.json"
    state = json.loads(path.read_text()) | {"ending": ""}
    path.write_text(json.dumps(state))


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
