"""Checkpoints: whole or not there, and the state of a run as plain JSON."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from srpo.config.method import SelectionConfig
from srpo.engines.scripted import ScriptedEngine
from srpo.errors import FaultError, RunDirectoryError
from srpo.resuming.checkpoints import (
    checkpoints_of,
    damage_of,
    newest_whole,
    read_state,
    remove_old,
    write_checkpoint,
)
from srpo.run.state import RunState
from srpo.rundir import RunDirectory
from srpo.schedule import Progress
from srpo.selection import Selection
from tests.factories import math_problem

STATE = RunState(
    step=12,
    stage=2,
    epoch=3,
    policy_version=11,
    total_tokens=4096,
    total_rollouts=768,
    progress=Progress(steps=2, smoothed_reward=0.25, best_smoothed=0.5, steps_since_best=1),
    memory={"math": {"dropped": ["a", "b"]}},
    ending="",
)


class Tokenizer:
    """What a checkpoint needs of a tokenizer."""

    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "tokenizer.json").write_text("{}")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", "", {})


def write(run: RunDirectory, step: int) -> Path:
    engine = ScriptedEngine({(1,): [(2,)]}, run.checkpoints)
    return write_checkpoint(run, engine, Tokenizer(), RunState(step=step))


def test_a_checkpoint_is_a_folder_with_policy_tokenizer_and_state(run: RunDirectory) -> None:
    folder = write(run, 40)
    assert folder == run.checkpoints / "step_000040"
    names = {path.name for path in folder.iterdir()}
    assert names == {"policy.json", "tokenizer.json", "trainer.json"}


def test_the_state_comes_back_as_it_was(run: RunDirectory) -> None:
    chooser = Selection({"a": [math_problem()]}, {"a": 1}, 1, 4, "1", SelectionConfig(floor=1))
    saved = replace(STATE, selection=chooser.state_dict())
    engine = ScriptedEngine({(1,): [(2,)]}, run.checkpoints)
    state = read_state(write_checkpoint(run, engine, Tokenizer(), saved))
    assert state == saved
    assert state.selection is not None
    chooser.load_state_dict(state.selection)


def test_a_folder_without_its_state_is_damaged(run: RunDirectory) -> None:
    whole = write(run, 2)
    bare = run.checkpoints / "step_000004"
    bare.mkdir()
    (bare / "model.safetensors").touch()
    newest, damaged = newest_whole(run)
    assert (newest, list(damaged)) == (whole, [bare])
    assert "cannot be read" in damaged[bare]
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        read_state(bare)


def test_what_was_left_behind_half_written_is_no_checkpoint_and_goes(run: RunDirectory) -> None:
    (run.checkpoints / ".step_000001.partial").mkdir()
    assert newest_whole(run) == (None, {})
    write(run, 2)
    remove_old(run, 1)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step_000002"]


@pytest.mark.parametrize("name", ["policy.json", "tokenizer.json", "trainer.json"])
@pytest.mark.parametrize("how", ["a bit", "cut", "gone"])
def test_damage_to_any_file_is_found_and_the_checkpoint_before_is_used(
    run: RunDirectory, name: str, how: str
) -> None:
    before, newest = write(run, 2), write(run, 4)
    path = newest / name
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    if (name, how) == ("trainer.json", "cut"):  # its last byte is a line's end, and no loss
        assert damage_of(newest) is None
        return
    whole, damaged = newest_whole(run)
    assert whole == before
    assert str(path) in damaged[newest] and "\n" not in damaged[newest]


def test_checkpoints_come_oldest_first_and_the_oldest_go(run: RunDirectory) -> None:
    for step in (10, 2, 9):
        write(run, step)
    assert [f.name for f in checkpoints_of(run)] == ["step_000002", "step_000009", "step_000010"]
    remove_old(run, 2)
    assert [f.name for f in checkpoints_of(run)] == ["step_000009", "step_000010"]
    remove_old(run, 5)
    assert len(checkpoints_of(run)) == 2


def test_the_newest_checkpoint_is_that_of_the_highest_step(run: RunDirectory) -> None:
    write(run, 999_999)
    write(run, 1_000_000)
    assert checkpoints_of(run)[-1].name == "step_1000000"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        ("[2]", "cannot be read"),
        ('{"schema": 3, "files": {}, "state": {}}', "cannot be read"),
        ('{"schema": 3, "files": {}, "sha256": "0", "state": {}}', "its checksum is another"),
        ('{"schema": 1, "progress": {}}', "checkpoint of schema 1, not 3"),
    ],
)
def test_a_damaged_state_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "trainer.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=said) as caught:
        read_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_state_is_written_as_json_that_names_its_schema(run: RunDirectory) -> None:
    data = json.loads((write(run, 3) / "trainer.json").read_text())
    assert (data["schema"], data["state"]["step"]) == (3, 3)
    assert set(data["files"]) == {"policy.json", "tokenizer.json"}


def test_every_so_many_steps_a_checkpoint_stays(run: RunDirectory) -> None:
    for step in range(1, 8):
        write(run, step)
        remove_old(run, keep_last=1, keep_every=3)
    assert [f.name[-1] for f in checkpoints_of(run)] == ["3", "6", "7"]


class OnceEngine(ScriptedEngine):
    """Cannot save a second time, as if the disk were full or the process were killed."""

    saves = 0

    def save(self, name: str) -> str:
        self.saves += 1
        if self.saves > 1:
            raise OSError("no space left")
        return super().save(name)


def test_a_step_saved_already_keeps_its_weights_and_gets_the_new_state(run: RunDirectory) -> None:
    engine = OnceEngine({(1,): [(2,)]}, run.checkpoints)
    write_checkpoint(run, engine, Tokenizer(), STATE)
    ended = replace(STATE, ending="over")
    folder = write_checkpoint(run, engine, Tokenizer(), ended)
    assert read_state(folder).ending == "over"
    assert (folder / "policy.json").is_file()


@pytest.mark.parametrize("change", ["weights", "cut short"])
def test_a_folder_of_other_weights_or_half_written_is_written_anew(
    run: RunDirectory, change: str
) -> None:
    engine = OnceEngine({(1,): [(2,)]}, run.checkpoints)
    folder = write_checkpoint(run, engine, Tokenizer(), STATE)
    if change == "cut short":
        (folder / "trainer.json").unlink()
    version = STATE.policy_version + (change == "weights")
    with pytest.raises(FaultError, match="cannot be written: no space"):
        write_checkpoint(run, engine, Tokenizer(), replace(STATE, policy_version=version))
    engine.saves = 0
    other = replace(STATE, policy_version=version)
    assert read_state(write_checkpoint(run, engine, Tokenizer(), other)) == other


def test_a_copy_beside_a_checkpoint_is_none_and_a_renamed_one_is_damaged(run: RunDirectory) -> None:
    first, newest = write(run, 2), write(run, 4)
    shutil.copytree(newest, newest.with_name("step_000004.bak"))
    assert checkpoints_of(run) == [first, newest]
    shutil.copytree(first, first.with_name("step_000006"))
    whole, damaged = newest_whole(run)
    assert whole == newest
    assert list(damaged.values()) == [f"{run.checkpoints}/step_000006: holds the state of step 2"]
    remove_old(run, 1)
    assert newest.with_name("step_000004.bak").is_dir()
