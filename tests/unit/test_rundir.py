"""The run directory: made once, read while it is written, and cut back for a resumed run."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from srpo.errors import RunDirectoryError
from srpo.rundir import RunDirectory, check_space, claim_next
from srpo.types import Verdict
from tests.factories import group, math_problem, rollout


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", "seed = 1\n", {"srpo": "0.1.0"})


def test_a_new_run_holds_its_config_and_its_environment(run: RunDirectory) -> None:
    assert run.config.read_text() == "seed = 1\n"
    assert json.loads(run.environment.read_text()) == {"srpo": "0.1.0"}
    assert run.read_metrics() == run.read_evaluations() == []
    assert RunDirectory.open(run.root).root == run.root


def test_a_run_never_overwrites_what_is_there(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="already exists; choose another --out"):
        RunDirectory.create(run.root, "", {})
    assert run.config.read_text() == "seed = 1\n"
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RunDirectoryError, match="already exists"):
        RunDirectory.check_new(file)


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    RunDirectory.create(tmp_path / "empty", "", {})
    assert (tmp_path / "empty" / "config.toml").is_file()


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="cannot be written") as caught:
        RunDirectory.create(tmp_path / "file" / "run", "", {})
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no such run directory"):
        RunDirectory.open(tmp_path / "missing")
    with pytest.raises(RunDirectoryError, match=r"config\.toml is missing"):
        RunDirectory.open(tmp_path)


def test_a_line_that_is_still_being_written_is_not_read(run: RunDirectory) -> None:
    run.append_times({"step": 1, "sampling": 0.5})
    with run.times.open("a") as file:
        file.write('{"step":2,"samp')
    assert run.read_times() == [{"step": 1, "sampling": 0.5}]
    assert run.read_seconds() == {1: {"sampling": 0.5}}


def test_one_line_a_rollout_in_the_order_of_the_groups(run: RunDirectory) -> None:
    told = replace(
        rollout(Verdict.CORRECT, text="so: é\n4", reward=1.1, tokens=(5, 2)),
        advantage=1.5,
        reward_parts={"accuracy": 1.0, "format": 0.1},
        sampler_logprobs=(-0.12345678, -0.5),
    )
    first = replace(group([1, 0]), rollouts=(told, rollout()))
    run.write_rollouts(12, 3, [first, group([0], math_problem(id="m2"))])
    path = run.rollouts / "epoch_003" / "step_000012.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(row["problem"], row["rollout"]) for row in rows] == [("m1", 0), ("m1", 1), ("m2", 0)]
    assert rows[0] == {
        "schema": 1,
        "problem": "m1",
        "domain": "math",
        "level": None,
        "rollout": 0,
        "policy_version": 0,
        "verdict": "correct",
        "note": "",
        "parts": {},
        "reward": 1.1,
        "reward_parts": {"accuracy": 1.0, "format": 0.1},
        "advantage": 1.5,
        "stop_reason": "stop",
        "text": "so: é\n4",
        "tokens": [5, 2],
        "sampler_logprobs": [-0.123457, -0.5],
    }
    assert (rows[1]["verdict"], rows[1]["reward"]) == (None, None)


def test_a_name_that_is_claimed_is_the_first_number_not_taken(tmp_path: Path) -> None:
    claimed = [claim_next(tmp_path / "runs", "demo") for _ in range(3)]
    assert [path.name for path in claimed] == ["demo-001", "demo-002", "demo-003"]
    (tmp_path / "runs" / "demo-002").rmdir()
    assert claim_next(tmp_path / "runs", "demo").name == "demo-002"
    assert claim_next(tmp_path / "runs", "other").name == "other-001"
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="file/demo-001: cannot be written"):
        claim_next(tmp_path / "file", "demo")


Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_told_with_what_is_needed_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3 MiB and one byte are needed, rounded up 4; 2.5 MiB are free, rounded up 3
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, int(2.5 * 2**20)))
    with pytest.raises(RunDirectoryError, match="need 4 MiB and 3 MiB are free"):
        check_space(tmp_path / "not" / "there" / "yet", 3 * 2**20 + 1)
    check_space(tmp_path, 2 * 2**20)


def test_another_runs_history_comes_back_epoch_by_epoch(run: RunDirectory) -> None:
    assert list(run.read_history()) == []
    epochs = [{"a": (4, 4), "b": (0, 3)}, {}, {"b": (1, 4)}]
    run.write_history(epochs)
    assert list(run.read_history()) == epochs


def test_a_damaged_environment_is_told_in_one_line(tmp_path: Path, run: RunDirectory) -> None:
    assert RunDirectory(tmp_path / "not made").read_environment() == {}
    run.environment.write_text("{")
    with pytest.raises(RunDirectoryError, match=r"environment\.json: cannot be read"):
        run.read_environment()
