"""Before the first step: what a run asks of its machine, and what is left if it cannot begin."""

from __future__ import annotations

import sys
from collections import namedtuple
from pathlib import Path

import pytest

from srpo.config import Config
from srpo.config.files import Setting
from srpo.engines import OpenModel
from srpo.errors import ConfigError, RunDirectoryError, SrpoError
from srpo.trainer import Machine, train
from tests.interruptions import Once, Writes, disk_full
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
