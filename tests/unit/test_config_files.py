"""Config files: read, merged, overridden, written back, and one line for each mistake."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from srpo.config import Algorithm, Config
from srpo.config.files import (
    DEMO,
    OWN_PROBLEMS,
    PRESETS,
    Setting,
    dump,
    load_config,
    parse_set,
    resolve,
    settings_of,
)
from srpo.errors import ConfigError
from tests.configs import GOOD, written

REPOSITORY = Path(__file__).parents[2]
NOT_CONFIGS = ("pyproject.toml", "tests", "build", "dist", "runs")


def config_files() -> list[Path]:
    """Every TOML file of the repository that is a config of a run; presets are parts of one."""
    found = []
    for path in sorted(REPOSITORY.rglob("*.toml")):
        parts = path.relative_to(REPOSITORY).parts
        if "algorithms" in parts or "plans" in parts:
            continue
        if parts[0] not in NOT_CONFIGS and not any(part.startswith(".") for part in parts):
            found.append(path)
    return found


def loaded(path: Path) -> Config:
    """The config of a file; where users bring their own problems, with a set of them."""
    own = {name: {"files": ["problems.jsonl"], "domain": name} for name in ("math", "code")}
    return load_config(
        path, change=lambda data: data.update(sets=own) if path == OWN_PROBLEMS else None
    ).config


def with_set(*overrides: str, base: Path = DEMO) -> Config:
    return load_config(base, [parse_set(text) for text in overrides]).config


@pytest.mark.parametrize("path", config_files(), ids=lambda path: path.name)
def test_every_config_in_the_repository_loads_and_survives_a_round_trip(path: Path) -> None:
    config = loaded(path)
    assert resolve(tomllib.loads(dump(config)), "again") == config


def test_the_demo_is_among_them_and_is_the_default() -> None:
    assert DEMO in config_files()
    assert load_config().config == load_config(DEMO).config


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_every_preset_loads_is_shown_as_the_source_and_survives_a_round_trip(
    algorithm: str,
) -> None:
    assert {path.stem for path in PRESETS.glob("*.toml")} == set(get_args(Algorithm))
    loaded = load_config(DEMO, [parse_set(f"algorithm={algorithm}")])
    assert loaded.sources["selection.rule"] == f"preset {algorithm}"
    assert resolve(tomllib.loads(dump(loaded.config)), "again") == loaded.config


def test_what_a_file_or_a_flag_says_holds_against_the_preset(tmp_path: Path) -> None:
    path = written(tmp_path, 'algorithm = "dapo"\n' + GOOD + "[selection]\nrefills = 3")
    config = load_config(path, [parse_set("loss.clip_high=0.5")]).config
    assert (config.selection.refills, config.loss.clip_high) == (3, 0.5)
    assert (config.selection.rule, config.loss.average_over) == ("uniform", "mixed")
    assert config.stage[0].reward.overlong == "soft"


def test_a_vanilla_config_survives_a_round_trip() -> None:
    config = with_set("algorithm=grpo")
    assert len(config.stage) == 1
    assert resolve(tomllib.loads(dump(config)), "again") == config


def test_text_with_quotes_lines_and_signs_survives_a_round_trip(tmp_path: Path) -> None:
    text = 'prompt.math_instruction="Put it in \\\\boxed{}.\\n\\"Think\\" first: é, 数"'
    config = with_set(text, base=written(tmp_path, GOOD))
    assert config.prompt.math_instruction == 'Put it in \\boxed{}.\n"Think" first: é, 数'
    assert resolve(tomllib.loads(dump(config)), "again") == config


# --- every_stage --------------------------------------------------------------------------------

TWO_STAGES: dict[str, Any] = {
    "sets": {"m": {"generate": "math", "count": 8}, "c": {"generate": "code", "count": 8}},
    "stage": [{"name": "one"}, {"name": "two"}],
}


def two_stages(shared: dict[str, Any], one: dict[str, Any], two: dict[str, Any]) -> Config:
    stages = [{"name": "one", **one}, {"name": "two", **two}]
    return resolve({**TWO_STAGES, "every_stage": shared, "stage": stages}, "test")


def test_every_stage_fills_in_what_a_stage_does_not_say() -> None:
    config = two_stages({"steps": 5, "sets": {"m": 1}}, {}, {"steps": 9})
    assert [stage.steps for stage in config.stage] == [5, 9]
    assert [stage.sets for stage in config.stage] == [{"m": 1}, {"m": 1}]


def test_nested_sections_are_merged_setting_by_setting() -> None:
    shared = {"steps": 5, "sets": {"m": 1}, "reward": {"format": 0.5, "accuracy": 2.0}}
    config = two_stages(shared, {}, {"reward": {"format": 0.0}})
    assert [stage.reward.format for stage in config.stage] == [0.5, 0.0]
    assert [stage.reward.accuracy for stage in config.stage] == [2.0, 2.0]
    assert config.stage[1].reward.language_mixing == -0.1


def test_a_stages_own_mix_replaces_the_shared_one() -> None:
    config = two_stages({"steps": 5, "sets": {"m": 1}}, {}, {"sets": {"c": 2}})
    assert [stage.sets for stage in config.stage] == [{"m": 1}, {"c": 2}]


# --- --set --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("stage.1.steps=40", "stage.1.steps", 40),
        ("model.name=runs/a=b", "model.name", "runs/a=b"),
        ('model.name="x"', "model.name", "x"),
        ("selection.rule=uniform", "selection.rule", "uniform"),
        ("stage.1.sets={m = 2}", "stage.1.sets", {"m": 2}),
        ("sets.m.level_weights=[1, 2]", "sets.m.level_weights", [1, 2]),
        (" seed = 3 ", "seed", 3),
        ("stage.1.learning_rate=1e-4", "stage.1.learning_rate", 1e-4),
        ("model.name=", "model.name", ""),
    ],
)
def test_a_setting_of_the_command_line_is_toml_or_else_text(
    text: str, name: str, value: object
) -> None:
    assert parse_set(text) == Setting(name, "--set", value)


@pytest.mark.parametrize("text", ["seed", "=3", " =3", ""])
def test_a_setting_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write it as NAME=VALUE"):
        parse_set(text)


def test_settings_of_the_command_line_win_and_reach_stages_by_number() -> None:
    config = with_set("seed=9", "stage.2.steps=3", "optimizer.beta1=0.5", "stage.1.reward.format=0")
    assert (config.seed, config.optimizer.beta1) == (9, 0.5)
    assert config.stage[1].steps == 3
    assert [stage.reward.format for stage in config.stage] == [0.0, 0.1]
    assert config.stage[0].steps == load_config().config.stage[0].steps


def test_a_flag_for_every_stage_holds_over_what_a_stage_of_the_file_says() -> None:
    config = with_set("every_stage.group_size=4", "every_stage.steps=3")
    assert [(stage.group_size, stage.steps) for stage in config.stage] == [(4, 3), (4, 3)]
    config = with_set("stage.2.reward.format=0.3", "every_stage.reward.format=0.2")
    assert [stage.reward.format for stage in config.stage] == [0.2, 0.2]


def test_of_a_flag_for_one_stage_and_one_for_all_the_later_holds() -> None:
    config = with_set("every_stage.steps=3", "stage.2.steps=7")
    assert [stage.steps for stage in config.stage] == [3, 7]
    assert [s.steps for s in with_set("stage.2.steps=7", "every_stage.steps=3").stage] == [3, 3]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("stage.3.steps=1", "--set stage.3.steps=1: 3 is not a stage; stages are 1 to 2"),
        ("stage.0.steps=1", "--set stage.0.steps=1: 0 is not a stage; stages are 1 to 2"),
        ("stage.one.steps=1", "--set stage.one.steps=1: one is not a stage; stages are 1 to 2"),
        ("stage.3=1", "--set stage.3=1: 3 is not a stage; stages are 1 to 2"),
        ("seed.x=1", "--set seed.x=1: seed is 1, not a section"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_so(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_set(text)
    assert str(caught.value) == line


def test_a_name_that_leads_nowhere_is_blamed_on_the_flag_that_it_came_from(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, 'model = "x"\n' + GOOD)
    with pytest.raises(ConfigError) as caught:
        load_config(path, [Setting("model.name", "--model", "foo")])
    assert str(caught.value) == "--model foo: model is 'x', not a section"


def test_an_unknown_name_on_the_command_line_is_told_so() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting stage\.1\.stepz; did you mean steps"):
        with_set("stage.1.stepz=1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed=-1", "--set seed=-1: must be at least 0 (given: -1)"),
        (
            "every_stage.group_size=1",  # one mistake, however many stages it fills in
            "--set every_stage.group_size=1: must be at least 2 (given: 1)",
        ),
        ("verifier.strenth=auto", "--set verifier.strenth=auto: unknown setting verifier.strenth"),
        (
            "verifier=auto",
            "--set verifier=auto: must be a section of settings, not a single value "
            "(given: 'auto')",
        ),
    ],
)
def test_a_bad_value_of_the_command_line_is_not_blamed_on_the_file(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_set(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(line)


def test_a_bad_value_of_the_file_is_not_blamed_on_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, "seed = -1\n" + GOOD)
    with pytest.raises(ConfigError) as caught:
        load_config(path, [Setting("model.name", "--model", 3), parse_set("stage.1.steps=3")])
    assert str(caught.value).splitlines() == [
        f"{path}: seed: must be at least 0 (given: -1)",
        "--model 3: must be a string (given: 3)",
    ]


def test_where_a_value_came_from_is_remembered() -> None:
    sources = load_config(DEMO, [parse_set("seed=9"), parse_set("stage.1.sets={math=2}")]).sources
    assert sources["seed"] == "--set"
    assert sources["stage.1.sets.math"] == "--set"
    assert sources["stage.1.steps"] == "demo.toml"
    assert sources["stage.1.group_size"] == "demo.toml"  # it says so in [every_stage]
    assert sources["loss.clip_low"] == "preset srpo"
    assert sources["loss.count_truncated"] == "default"


def test_every_setting_has_a_source() -> None:
    loaded = load_config(DEMO, [parse_set("seed=9")])
    assert list(loaded.sources) == list(settings_of(loaded.config))


def test_a_value_for_every_stage_is_the_source_only_where_no_stage_says_otherwise() -> None:
    loaded = load_config(DEMO, [parse_set("every_stage.group_size=4")])
    assert loaded.sources["stage.2.group_size"] == "--set"
    assert loaded.config.stage[1].group_size == 4


def test_a_stages_own_value_that_a_flag_for_all_replaced_is_said_to_come_from_the_flag() -> None:
    loaded = load_config(DEMO, [parse_set("every_stage.steps=3")])
    assert loaded.sources["stage.1.steps"] == "--set"
    assert loaded.sources["stage.1.name"] == "demo.toml"


def test_all_settings_are_listed_by_dotted_name() -> None:
    listed = settings_of(load_config().config)
    assert listed["stage.2.steps"] == load_config().config.stage[1].steps
    assert listed["loss.clip_high"] == 0.28
    assert listed["stage.1.reward.accuracy"] == 1.0
    assert not any(isinstance(value, dict) and value for value in listed.values())
