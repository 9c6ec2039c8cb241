"""The probe of a run: drawn before it begins, told, kept, and not repeated by who goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from srpo import train
from srpo.config import Config
from srpo.engines import OpenModel
from srpo.errors import ConfigError, FaultError
from srpo.history import Ledger
from srpo.rundir import RunDirectory
from srpo.trainer import Machine
from tests.interruptions import Once, Writes, disk_full
from tests.short_runs import RIGHT, WRONG, Notes, config_of, opener

PROBE: dict[str, Any] = {"probe": {"problems": 2}, "stage": {"epochs": 1}}


def told(out: Path) -> list[str]:
    with Ledger(RunDirectory(out).ledger, read_only=True) as ledger:
        return [text for _, kind, text in ledger.events() if kind == "probe"]


def test_a_run_is_probed_told_of_and_billed(tmp_path: Path) -> None:
    notes = Notes()
    config = config_of(tmp_path, **PROBE)
    run = train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT, WRONG]))
    assert told(run.directory) == [note for note in notes.notes if note.startswith("probe of")]
    assert told(run.directory)[0].startswith("probe of math: solved 0.")
    # 2 problems of 4 rollouts each; the scripted answers are equally long
    probe = RunDirectory(run.directory).read_environment()["probe"]
    one = notes.steps[0].step_tokens / notes.steps[0].total_rollouts
    assert probe["tokens"] == {"math": 8 * one}
    plain = config_of(tmp_path, stage={"epochs": 1})
    without = train(plain, tmp_path / "w", open_model=opener([RIGHT, WRONG]))
    read = [RunDirectory(r.directory) for r in (run, without)]
    assert read[0].metrics.read_bytes() == read[1].metrics.read_bytes()  # training is the same


def test_a_run_that_can_learn_nothing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing can be learned here"):
        train(config_of(tmp_path, **PROBE), tmp_path / "r", open_model=opener([WRONG]))
    assert not (tmp_path / "r").exists()


def test_what_the_tokenizer_brings_about_is_told_of_a_refused_run_too(tmp_path: Path) -> None:
    notes = Notes()

    def open_model(config: Config, folder: Path) -> OpenModel:
        return replace(opener([WRONG])(config, folder), stop_ids=(-1,))

    with pytest.raises(ConfigError, match="nothing can be learned here"):
        train(config_of(tmp_path, **PROBE), tmp_path / "r", open_model=open_model, watcher=notes)
    assert [note for note in notes.notes if "token -1" in note]


def test_a_run_that_would_change_no_weight_does_not_begin(tmp_path: Path) -> None:
    still = config_of(tmp_path, stage={"epochs": 1, "learning_rate": 0.0})
    with pytest.raises(ConfigError, match="learning_rate is 0 in every stage"):
        train(still, tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    assert not (tmp_path / "r").exists()


def test_a_run_beyond_the_context_of_its_model_does_not_begin(tmp_path: Path) -> None:
    def open_model(config: Config, folder: Path) -> OpenModel:
        return replace(opener([RIGHT, WRONG])(config, folder), context_tokens=30)

    config = config_of(tmp_path, stage={"epochs": 1, "max_completion_tokens": 30})
    with pytest.raises(ConfigError, match="the model is made for 30 tokens, its prompt among them"):
        train(config, tmp_path / "r", open_model=open_model)
    assert not (tmp_path / "r").exists()


def test_a_run_killed_as_it_began_tells_the_same_when_it_goes_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, **PROBE)
    whole = train(config, tmp_path / "whole", open_model=opener([RIGHT, WRONG]))
    full = Once("before append metrics.jsonl", disk_full)
    machine = Machine(disk=Writes(full))
    with pytest.raises(FaultError):
        train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]), machine=machine)
    again = train(resume=tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    assert told(again.directory) == told(whole.directory) != []
    reports = [(r.directory / "report.json").read_bytes() for r in (again, whole)]
    assert reports[0] == reports[1]
