"""Before the first step: what a run asks of its machine, and what is left if it cannot begin."""

from __future__ import annotations

import signal
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest

from srpo.config import Config
from srpo.config.files import Setting
from srpo.engines import OpenModel
from srpo.errors import ConfigError, RunDirectoryError, SrpoError
from srpo.run.interrupts import StoppedAtOnce
from srpo.trainer import Machine, train
from tests.interruptions import Once, Phases, Writes, disk_full
from tests.short_runs import RIGHT, WRONG, config_of, opener

Usage = namedtuple("Usage", "total used free")


def test_a_resumed_run_needs_no_room_for_the_checkpoints_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a checkpoint is of 1000 bytes; two are kept, and a third is there while it is written
    free = 3000
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 0, free))
    config = config_of(
        tmp_path,
        stage={"epochs": None, "steps": 3},
        checkpoint={"keep_last": 2, "every_steps": 1, "keep_every": 1},
    )
    open_model = opener([RIGHT, WRONG])
    run = train(config, tmp_path / "r", open_model=open_model)
    assert len(list((run.directory / "checkpoints").iterdir())) == 3
    free = 2999
    with pytest.raises(RunDirectoryError, match="no disk space"):
        train(config, tmp_path / "other", open_model=open_model)
    more = Setting("stage.1.steps", "--set", 4)
    free = 1000  # the two that are kept are there, so the next one is all that comes
    assert train(resume=run.directory, settings=[more], open_model=open_model).finished
    free = 999
    more = Setting("stage.1.steps", "--set", 5)
    with pytest.raises(RunDirectoryError, match="no disk space"):
        train(resume=run.directory, settings=[more], open_model=open_model)


def test_where_the_reference_cannot_be_opened_no_run_is_made(tmp_path: Path) -> None:
    plain, opened = opener([RIGHT, WRONG]), 0

    def open_model(config: Config, folder: Path) -> OpenModel:
        nonlocal opened
        opened += 1
        if opened == 2:
            raise ConfigError("model: out of memory")
        return plain(config, folder)

    config = config_of(tmp_path, loss={"kl_weight": 0.1})
    with pytest.raises(ConfigError, match="out of memory"):
        train(config, tmp_path / "r", open_model=open_model)
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc (2026-11-23)")
def test_a_ledger_that_cannot_be_begun_is_closed(tmp_path: Path) -> None:
    full = Once("before commit ledger.sqlite", disk_full)
    with pytest.raises(SrpoError):  # its traceback holds all that was opened
        train(
            config_of(tmp_path),
            tmp_path / "r",
            open_model=opener([RIGHT, WRONG]),
            machine=Machine(disk=Writes(full)),
        )
    assert full.came
    files = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert not [file for file in files if file.is_relative_to(tmp_path / "r")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["loading the model", "probing math"])
def test_a_signal_before_the_run_is_made_ends_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, phase: str
) -> None:
    monkeypatch.chdir(tmp_path)
    meet = Once(f"{phase} begins", lambda: signal.raise_signal(number))
    config = config_of(tmp_path, probe={"problems": 2})
    with pytest.raises(StoppedAtOnce) as stopped:
        train(config, watcher=Phases(meet), open_model=opener([RIGHT, WRONG]))
    assert stopped.value.exit_code == 128 + number
    assert str(stopped.value) == (
        "stopped at once; the run had not begun, and nothing of it was written"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


def test_a_signal_while_a_run_is_opened_again_leaves_it_as_it_was(tmp_path: Path) -> None:
    stage = {"epochs": None, "steps": 1}
    run = train(config_of(tmp_path, stage=stage), tmp_path / "r", open_model=opener([RIGHT, WRONG]))

    def files() -> dict[Path, bytes]:
        found = (path for path in run.directory.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in found if path.name != "lock"}

    before = files()
    meet = Once("loading the model begins", lambda: signal.raise_signal(signal.SIGINT))
    again = partial(
        train,
        resume=run.directory,
        settings=[Setting("stage.1.steps", "--set", 2)],
        watcher=Phases(meet),
        open_model=opener([RIGHT, WRONG]),
    )
    with pytest.raises(StoppedAtOnce, match=f"as it was: go on with .* --resume {run.directory}$"):
        again()
    assert files() == before
    assert again().finished
