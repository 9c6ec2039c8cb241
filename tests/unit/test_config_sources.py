"""Where the value of a setting came from, as `srpo plan` shows it."""

from __future__ import annotations

from pathlib import Path

from srpo.config.files import DEMO, load_config, parse_set


def test_what_a_preset_says_of_every_stage_is_said_to_come_from_it() -> None:
    sources = load_config(DEMO, [parse_set("algorithm=dapo")]).sources
    assert sources["stage.1.reward.overlong"] == "preset dapo"
    assert sources["stage.1.reward.overlong_weight"] == "default"
    assert sources["loss.average_over"] == "preset dapo"
    flags = [parse_set("algorithm=dapo"), parse_set("every_stage.reward.overlong=soft")]
    assert load_config(DEMO, flags).sources["stage.1.reward.overlong"] == "--set"


def test_the_one_stage_after_mixing_has_the_last_ones_settings_and_their_sources() -> None:
    first = [parse_set("algorithm=grpo"), parse_set("stage.1.learning_rate=0.5")]
    loaded = load_config(DEMO, first)
    assert loaded.config.stage[0].learning_rate == 4e-4  # of [every_stage], not of the flag
    assert loaded.sources["stage.1.learning_rate"] == "demo.toml"
    assert loaded.sources["stage.1.sets.code"] == "demo.toml"  # stage 1 has no such set
    last = load_config(DEMO, [parse_set("algorithm=grpo"), parse_set("stage.2.learning_rate=0.5")])
    assert last.config.stage[0].learning_rate == 0.5
    assert last.sources["stage.1.learning_rate"] == "--set"


def test_what_mixing_made_of_several_stages_is_said_to_come_from_it(tmp_path: Path) -> None:
    sources = load_config(DEMO, [parse_set("algorithm=grpo")]).sources
    for name in ("name", "steps", "plateau_steps"):
        assert sources[f"stage.1.{name}"] == "mix_stages"
    # of a single stage the steps are its own
    text = 'algorithm = "grpo"\nsets.m = { generate = "math", count = 8 }\n'
    path = tmp_path / "one.toml"
    path.write_text(text + 'stage = [{ name = "one", sets = { m = 1 }, steps = 5 }]\n', "utf-8")
    sources = load_config(path).sources
    assert sources["stage.1.steps"] == "one.toml"
    assert sources["stage.1.name"] == "mix_stages"
