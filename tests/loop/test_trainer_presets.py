"""An algorithm named in Python: its preset is applied by one function, and never half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srpo import train
from srpo.config import Config
from srpo.config.files import apply_preset, dump, load_config
from srpo.errors import ConfigError
from srpo.rundir import RunDirectory
from tests.short_runs import RIGHT, WRONG, config_of, opener

STAGE = {"epochs": None, "steps": 2}


def two_stages(folder: Path, **changes: Any) -> Config:
    one = config_of(folder, stage=STAGE, **changes)
    return one.model_copy(update={"stage": one.stage * 2})


def test_applying_a_preset_fills_in_what_was_not_given(tmp_path: Path) -> None:
    loss = {"clip_high": 0.5}
    config = apply_preset(two_stages(tmp_path, algorithm="dr-grpo", loss=loss))
    assert config.selection.rule == "uniform"
    assert (config.loss.scale_by_std, config.loss.average) == (False, "constant")
    assert config.loss.clip_high == 0.5  # was given
    assert [(stage.name, stage.steps) for stage in config.stage] == [("mixed from the start", 4)]
    assert apply_preset(config) == config


def test_a_preset_that_is_not_applied_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mix_stages, selection\.rule, stage would differ"):
        train(two_stages(tmp_path, algorithm="grpo"), tmp_path / "r", open_model=opener([RIGHT]))
    assert not (tmp_path / "r").exists()


def test_stages_that_are_to_be_mixed_and_are_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(stage would differ\).*apply_preset") as caught:
        train(two_stages(tmp_path, mix_stages=True), tmp_path / "r", open_model=opener([RIGHT]))
    assert "\n" not in str(caught.value)


def test_a_preset_overridden_on_purpose_trains_and_reads_back_the_same(tmp_path: Path) -> None:
    config = apply_preset(two_stages(tmp_path, algorithm="grpo", selection={"rule": "spaced"}))
    run = train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    assert len(RunDirectory(run.directory).read_metrics()) == 4
    (tmp_path / "again.toml").write_text(dump(config), encoding="utf-8")
    assert load_config(tmp_path / "again.toml").config == config


def test_the_papers_own_preset_is_what_a_config_has_by_default(tmp_path: Path) -> None:
    config = two_stages(tmp_path)
    assert apply_preset(config) == config
