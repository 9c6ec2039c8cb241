"""A run that is gone on with: given more steps, changed, damaged, or short of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from srpo.config.files import Setting
from srpo.errors import ConfigError, FaultError, RunDirectoryError, SrpoError
from srpo.resuming.doctor import Grade, examine
from srpo.rundir import RunDirectory
from srpo.rundir.attempts import attempts_of
from srpo.trainer import Machine, Run, train
from tests.interruptions import Once, Writes, disk_full
from tests.short_runs import RIGHT, WRONG, Notes, config_of, opener


def trained(folder: Path, **changes: Any) -> Run:
    config = config_of(folder, stage={"epochs": None, "steps": 2}, **changes)
    return train(config, folder / "r", open_model=opener([RIGHT, WRONG]))


def resumed(run: Run, *settings: Setting, machine: Machine | None = None) -> tuple[Run, list[str]]:
    notes = Notes()
    again = train(
        resume=run.directory,
        settings=settings,
        watcher=notes,
        open_model=opener([RIGHT, WRONG]),
        machine=machine,
    )
    return again, notes.notes


def test_a_run_that_is_over_goes_on_when_it_is_given_more_steps(tmp_path: Path) -> None:
    run = trained(tmp_path)
    again, notes = resumed(run, Setting("stage.1.steps", "--set", 4))
    assert (
        again.finished
        and "changed since the run was last trained: stage.1.steps was 2 and is 4" in notes
    )
    assert [row["step"] for row in RunDirectory(run.directory).read_metrics()] == [1, 2, 3, 4]
    # as if it had been told so from the beginning
    (tmp_path / "other").mkdir()
    config = config_of(tmp_path, stage={"epochs": None, "steps": 4})
    whole = train(config, tmp_path / "whole", open_model=opener([RIGHT, WRONG]))
    policies = [(r.checkpoint / "policy.json").read_text() for r in (again, whole)]
    assert policies[0] == policies[1]
    attempts = attempts_of(RunDirectory(run.directory))
    assert [attempt.settings["stage.1.steps"] for attempt in attempts] == [2, 4]
    assert attempts[1].announced == ("stage.1.steps was 2 and is 4",)
    # and now it is over again, by its own config
    assert resumed(again)[1] == [f"{run.directory}: this run is over. {again.ending}"]


def test_a_run_that_is_extended_sets_the_report_of_its_old_end_aside(tmp_path: Path) -> None:
    run = trained(tmp_path)
    report = (run.directory / "report.txt").read_bytes()
    fault = Once("before append metrics.jsonl", disk_full)
    more = Setting("stage.1.steps", "--set", 4)
    with pytest.raises(FaultError):
        resumed(run, more, machine=Machine(disk=Writes(fault)))
    aside = run.directory / "set_aside" / "attempt_001"
    assert (aside / "report.txt").read_bytes() == report and (aside / "curve.png").is_file()
    assert not (run.directory / "report.txt").exists()
    # its newest checkpoint is that of the old end, and nothing is wrong with that
    findings = examine(run.directory)
    assert {found.grade for found in findings} == {Grade.FINE, Grade.NOTE}
    assert ("the run", "not over; saved up to step 2") in [(f.what, f.said) for f in findings]
    assert resumed(run)[0].finished
    assert json.loads((run.directory / "report.json").read_text())["run"]["steps"] == 4


def test_the_end_of_a_run_stands_where_it_cannot_be_printed(tmp_path: Path) -> None:
    run = trained(tmp_path)
    command = [sys.executable, "-m", "srpo", "train", "--resume", str(run.directory)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0
    why = "No space left on device"
    said = f"srpo: the summary cannot be printed here ({why}); it is in {run.directory}"
    assert done.stderr.splitlines() == [said]


def test_a_run_without_a_name_of_its_own_leaves_nothing_if_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_of(tmp_path)
    (tmp_path / "p.jsonl").unlink()
    with pytest.raises(SrpoError, match=r"p\.jsonl"):
        train(config, open_model=opener([RIGHT]))
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_over_and_has_no_more_to_do_stays_over(tmp_path: Path) -> None:
    run = trained(tmp_path)
    before = (run.directory / "attempts.jsonl").read_bytes()
    _, notes = resumed(run, Setting("checkpoint.keep_last", "--set", 1))
    assert notes == [f"{run.directory}: this run is over. {run.ending}"]
    assert (run.directory / "attempts.jsonl").read_bytes() == before


def test_a_setting_that_may_not_change_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = trained(tmp_path)
    before = {
        p: p.read_bytes() for p in run.directory.rglob("*") if p.name != "lock" and p.is_file()
    }
    with pytest.raises(ConfigError, match=r"^--set 7: seed was 1 and is 7; a run"):
        resumed(run, Setting("seed", "--set", 7))
    with pytest.raises(ConfigError, match="unknown setting sead; did you mean seed"):
        resumed(run, Setting("sead", "--set", 7))
    assert before == {p: p.read_bytes() for p in before}


def test_other_code_is_announced_by_the_names_of_its_files(tmp_path: Path) -> None:
    run = trained(tmp_path)
    path = run.directory / "attempts.jsonl"
    row = json.loads(path.read_text())
    row["code"]["trainer.py"] = "another"
    path.write_text(json.dumps(row) + "\n")
    _, notes = resumed(run, Setting("stage.1.steps", "--set", 3))
    assert "changed since the run was last trained: srpo itself has changed (trainer.py)" in notes


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    run = trained(tmp_path, checkpoint={"every_steps": 1, "keep_last": 9})
    whole = (run.checkpoint / "policy.json").read_bytes()
    (run.checkpoint / "policy.json").write_bytes(whole[:-3])
    again, notes = resumed(run)
    assert any(
        note.startswith(f"{run.checkpoint}/policy.json: damaged") and "before it" in note
        for note in notes
    )
    assert (again.checkpoint / "policy.json").read_bytes() == whole
    aside = run.directory / "set_aside" / "attempt_001" / "checkpoints" / run.checkpoint.name
    assert (aside / "policy.json").read_bytes() == whole[:-3]
    assert again.finished


def test_if_no_checkpoint_is_whole_nothing_is_begun_anew_in_silence(tmp_path: Path) -> None:
    run = trained(tmp_path)
    (run.checkpoint / "policy.json").unlink()
    with pytest.raises(RunDirectoryError, match="no other checkpoint is whole") as caught:
        resumed(run)
    assert "\n" not in str(caught.value) and "policy.json: missing" in str(caught.value)


def test_more_steps_are_made_though_the_attempt_that_asked_for_them_was_killed(
    tmp_path: Path,
) -> None:
    run = trained(tmp_path)
    fault = Once("before append metrics.jsonl", disk_full)
    with pytest.raises(FaultError):
        resumed(run, Setting("stage.1.steps", "--set", 4), machine=Machine(disk=Writes(fault)))
    again, _ = resumed(run)
    assert again.finished
    assert [row["step"] for row in RunDirectory(run.directory).read_metrics()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("metrics.jsonl", "has no line of step 1 (and 1 more)"),
        ("times.jsonl", "has no line of step 1 (and 1 more)"),
        ("evaluations.jsonl", "is missing or cut off"),
        ("attempts.jsonl", "is missing or cut off"),
        ("ledger.sqlite", "is missing or cut off"),
        ("environment.json", "is missing or cut off"),
        ("rollouts/epoch_001/step_000002.jsonl", "is missing or cut off"),
    ],
)
def test_a_file_that_is_lost_is_named_before_anything_is_written(
    tmp_path: Path, name: str, said: str
) -> None:
    sets = {"math": {"generate": "math", "count": 6, "holdout": 4}}
    run = trained(tmp_path, sets=sets, evaluation={"samples": 1})
    (run.directory / name).unlink()
    with pytest.raises(RunDirectoryError) as caught:
        resumed(run, Setting("stage.1.steps", "--set", 4))
    assert str(caught.value).startswith(f"{run.directory / name}: {said}")
    assert "\n" not in str(caught.value) and not (run.directory / name).exists()


def test_without_its_checkpoints_a_run_begins_at_step_0_and_keeps_what_it_had(
    tmp_path: Path,
) -> None:
    run = trained(tmp_path)
    before = (run.checkpoint / "policy.json").read_bytes()
    shutil.rmtree(run.directory / "checkpoints")
    again, _ = resumed(run)
    assert again.finished and (again.checkpoint / "policy.json").read_bytes() == before
    aside = run.directory / "set_aside" / "attempt_001"
    assert len((aside / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "damage", [b'{"step":1\x80}\n', b'{"stap":1}\n', b'{"step":"1"}\n', b"[1]\n", b"1\n"]
)
def test_a_damaged_line_is_named_and_never_a_traceback(tmp_path: Path, damage: bytes) -> None:
    run = trained(tmp_path)
    path = run.directory / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + damage)
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl: line 3 is damaged"):
        resumed(run, Setting("stage.1.steps", "--set", 4))
    assert any("line 3 is damaged" in found.said for found in examine(run.directory))
