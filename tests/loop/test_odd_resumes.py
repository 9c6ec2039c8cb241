"""Going on where something is odd: a disk, a value, a reader, a budget."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srpo.config.files import Setting
from srpo.errors import ConfigError, FaultError, RunDirectoryError
from srpo.resuming.doctor import Grade, examine
from srpo.rundir import RunDirectory
from srpo.trainer import Machine, train
from tests.interruptions import Once, Writes, disk_full
from tests.loop.test_going_on import resumed, trained
from tests.short_runs import RIGHT, WRONG, config_of, opener


def test_checkpoints_that_cannot_be_seen_are_not_taken_for_none(tmp_path: Path) -> None:
    run = trained(tmp_path, checkpoint={"every_steps": 1})
    metrics = (run.directory / "metrics.jsonl").read_bytes()
    checkpoints = run.directory / "checkpoints"
    for folder in checkpoints.iterdir():
        shutil.rmtree(folder)  # as where a disk is not mounted
    with pytest.raises(RunDirectoryError, match="empty, though the run reached step 2; put back"):
        resumed(run, Setting("stage.1.steps", "--set", 4))
    checkpoints.rmdir()
    checkpoints.write_text("no folder")
    with pytest.raises(RunDirectoryError, match="checkpoints: cannot be read: Not a directory"):
        resumed(run, Setting("stage.1.steps", "--set", 4))
    assert ("checkpoints", Grade.WRONG) in [(f.what, f.grade) for f in examine(run.directory)]
    assert (run.directory / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize("moment", ["before write config.toml", "before rename report.json"])
def test_an_extension_that_fails_as_it_begins_is_gone_on_with(tmp_path: Path, moment: str) -> None:
    run = trained(tmp_path)
    report = (run.directory / "report.txt").read_bytes()
    fault = Once(moment, disk_full)
    more = Setting("stage.1.steps", "--set", 4)
    with pytest.raises(FaultError, match="go on with srpo train --resume"):
        resumed(run, more, machine=Machine(disk=Writes(fault)))
    assert fault.came and (run.directory / "report.txt").read_bytes() == report
    written = moment != "before write config.toml"
    steps = [row["step"] for row in RunDirectory(resumed(run)[0].directory).read_metrics()]
    assert steps == ([1, 2, 3, 4] if written else [1, 2])


def test_what_is_on_another_disk_is_set_aside_all_the_same(tmp_path: Path) -> None:
    run = trained(tmp_path)
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        if elsewhere.stat().st_dev == run.directory.stat().st_dev:
            pytest.skip("there is no other file system here")
        shutil.move(run.directory / "rollouts", elsewhere)
        (run.directory / "rollouts").symlink_to(elsewhere / "rollouts")
        moved = (elsewhere / "rollouts/epoch_001/step_000002.jsonl").read_bytes()
        shutil.rmtree(run.directory / "checkpoints")
        again, _ = resumed(run)
        aside = run.directory / "set_aside/attempt_001/rollouts/epoch_001/step_000002.jsonl"
        assert again.finished and aside.read_bytes() == moved
    finally:
        shutil.rmtree(elsewhere)


def test_a_setting_of_every_stage_is_one_of_each(tmp_path: Path) -> None:
    run = trained(tmp_path)
    with pytest.raises(ConfigError, match=r"stage\.1\.learning_rate was 0\.1 and is 1\.0; a run"):
        resumed(run, Setting("every_stage.learning_rate", "--set", 1))
    again, _ = resumed(run, Setting("every_stage.steps", "--set", 3))
    assert len(RunDirectory(again.directory).read_metrics()) == 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("metrics.jsonl", lambda row: row.pop("epoch")),
        ("metrics.jsonl", lambda row: row.update(epoch=float("inf"))),
        ("metrics.jsonl", lambda row: row.update({"all/groups": "x"})),
        ("times.jsonl", lambda row: row.update(sampling=None)),
        ("evaluations.jsonl", lambda row: row.pop("split")),
        ("evaluations.jsonl", lambda row: row.update(domains=5)),
        ("attempts.jsonl", lambda row: row.update(settings=None)),
        ("attempts.jsonl", lambda row: row.update(code=[])),
        ("environment.json", lambda row: row.update(problems=[])),
    ],
)
def test_values_of_the_wrong_kind_are_damage_to_resume_and_doctor_alike(
    tmp_path: Path, name: str, change: Callable[[dict[str, Any]], object]
) -> None:
    sets = {"math": {"generate": "math", "count": 6, "holdout": 4}}
    run = trained(tmp_path, sets=sets, evaluation={"samples": 1})
    path = run.directory / name
    first, *others = path.read_text().splitlines() if name.endswith("l") else [path.read_text()]
    row = json.loads(first)
    change(row)
    path.write_text("\n".join([json.dumps(row), *others, ""]))
    with pytest.raises(RunDirectoryError) as caught:
        resumed(run, Setting("stage.1.steps", "--set", 4))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert (name, Grade.WRONG) in [(f.what, f.grade) for f in examine(run.directory)]


def test_a_reader_that_has_gone_changes_no_exit_code(tmp_path: Path) -> None:
    run = trained(tmp_path)
    for words in (["train", "--resume"], ["doctor"]):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "srpo", *words, str(run.directory)]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
        os.close(writing)
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr


def test_a_token_budget_made_smaller_than_what_was_spent_reads_the_test_at_the_end(
    tmp_path: Path,
) -> None:
    config = config_of(
        tmp_path,
        sets={"math": {"generate": "math", "count": 6, "holdout": 4}},
        stage={"epochs": None, "steps": 9},
        budget={"tokens": 10**6},
        evaluation={"samples": 1, "test": "at-token-budget"},
        checkpoint={"every_steps": 1},
    )
    third = iter("012")

    def full(moment: str) -> None:
        if moment == "before append metrics.jsonl" and next(third) == "2":
            disk_full()

    with pytest.raises(FaultError):
        train(
            config,
            tmp_path / "r",
            open_model=opener([RIGHT, WRONG]),
            machine=Machine(disk=Writes(full)),
        )
    less = Setting("budget.tokens", "--set", 1)
    again = train(resume=tmp_path / "r", settings=[less], open_model=opener([RIGHT, WRONG]))
    assert again.ending == "The run is complete: its budget of 1 generated tokens is spent."
    read = RunDirectory(again.directory).read_evaluations()
    assert [(row["split"], row["step"]) for row in read] == [("test", 2)]
