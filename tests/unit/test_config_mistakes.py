"""Mistakes in a config: one line each, with the setting, what is wrong and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from srpo.config.files import load_config, parse_set, resolve, settings_of
from srpo.errors import ConfigError
from tests.configs import GOOD, written


def mistakes(folder: Path, text: str) -> list[str]:
    """The lines of the error that this config gives, without the file's name."""
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_an_unknown_setting_is_named_with_its_nearest_known_one(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "sed = 3\n" + GOOD) == ["unknown setting sed; did you mean seed?"]
    assert mistakes(tmp_path, GOOD + "temprature = 1.0") == [
        "unknown setting stage.1.temprature; did you mean temperature?"
    ]
    assert mistakes(tmp_path, GOOD + "[optimizer]\nbeta_1 = 0.5") == [
        "unknown setting optimizer.beta_1; did you mean beta1?"
    ]
    assert mistakes(tmp_path, GOOD + "[stage.reward]\nformt = 0.5") == [
        "unknown setting stage.1.reward.formt; did you mean format?"
    ]
    assert mistakes(tmp_path, GOOD.replace("count = 8", "count = 8\nhold_out = 3")) == [
        "unknown setting sets.m.hold_out; did you mean holdout?"
    ]
    assert mistakes(tmp_path, GOOD + "[everystage]\nsteps = 3") == [
        "unknown setting everystage; did you mean every_stage?"
    ]


def test_a_setting_unlike_any_other_gets_the_list_of_known_ones(tmp_path: Path) -> None:
    assert mistakes(tmp_path, GOOD + "[loss]\nxyzzy = 1") == [
        "unknown setting loss.xyzzy; known here: "
        "clip_low, clip_high, scale_by_std, average, average_over, kl_weight, importance_cap, "
        "subset, mask_truncated, count_truncated"
    ]


def test_the_name_of_a_set_may_be_that_of_a_setting(tmp_path: Path) -> None:
    text = GOOD.replace("sets.m", "sets.files").replace("m = 1", "files = 1")
    assert mistakes(tmp_path, text.replace("count = 8", "count = 8\nhold_out = 3")) == [
        "unknown setting sets.files.hold_out; did you mean holdout?"
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("steps = 5", "steps = 0"), "stage.1.steps: must be at least 1"),
        (("steps = 5", 'steps = "five"'), "stage.1.steps: must be a whole number"),
        (("steps = 5", ""), "stage.1: give steps or epochs, so that the stage ends"),
        (("m = 1 ", "m = 0 "), "stage.1: the weights of sets sum to zero"),
        (("m = 1 ", ""), "stage.1: a stage without problems: sets is empty"),
        (("m = 1 ", "m = -1 "), "stage.1.sets.m: must be at least 0"),
        (("m = 1 ", "m = 1e300 "), "stage.1.sets.m: must be at most 1e+09"),
        (("m = 1 ", "n = 1, m = 1e-300 "), "stage.1: sets gives m 1e-300, less than a millionth"),
        (("m = 1 ", "n = 1 "), "stage.1.sets names 'n', which is not in [sets] (known: m)"),
        (('name = "one"', ""), "stage.1.name is missing; give it a value"),
        (("count = 8", ""), "sets.m: count must be at least 1 when problems are generated"),
        (('generate = "math"', ""), "sets.m: give either files or generate"),
        (("count = 8", 'count = 8\nfiles = ["a"]'), "sets.m: give either files or generate"),
        (("count = 8", "count = 8\nlevel_weights = [0, 0]"), "sets.m: level_weights sum to zero"),
        (("steps = 5", "steps = 5\ngroup_size = 1"), "stage.1.group_size: must be at least 2"),
        (("steps = 5", "steps = 5\ngroup_size = 2000000"),
         "stage.1.group_size: must be at most 1e+06"),
        (("steps = 5", f"steps = {10**400}"), "stage.1.steps: must be at most 1e+15"),
        (("[[stage]]", "[model]\nthreads = 1025\n[[stage]]"),
         "model.threads: must be at most 1024 (given: 1025)"),
        (("[[stage]]", "[model]\nsampler_cache_gib = 1e300\n[[stage]]"),
         "model.sampler_cache_gib: must be at most 1e+06"),
        (("steps = 5", "steps = 5\ntop_p = 0"), "stage.1.top_p: must be above 0"),
        (("steps = 5", "steps = 5\ntemperature = nan"), "stage.1.temperature: must be a finite"),
        (("steps = 5", "steps = 5\ntemperature = 1e-9"), "stage.1.temperature: must be at least"),
        (('"math"', '"science"'), "sets.m.generate: must be 'math' or 'code'"),
        (("[[stage]]", "[loss]\nclip_low = 1.0\n[[stage]]"), "loss.clip_low: must be below 1"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line_that_names_the_setting(
    tmp_path: Path, change: tuple[str, str], line: str
) -> None:
    assert change[0] in GOOD
    found = mistakes(tmp_path, GOOD.replace(*change))
    assert len(found) == 1
    assert found[0].startswith(line)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "seed = -1\nbeta = 2\n" + GOOD.replace("steps = 5", "steps = 0")
    assert len(mistakes(tmp_path, text)) == 3


def test_a_wrong_value_is_shown(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "seed = -1\n" + GOOD) == ["seed: must be at least 0 (given: -1)"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "sets is missing; give it a value"),
        ("[sets]\n", "a run needs at least one [[stage]]"),
        ("stage = 3\n", "write [every_stage] and [[stage]] as tables"),
        ("every_stage = 3\n", "write [every_stage] and [[stage]] as tables"),
        ("seed = \n", "not valid TOML: "),
    ],
)
def test_a_file_that_is_no_config_is_told_so(tmp_path: Path, text: str, line: str) -> None:
    assert mistakes(tmp_path, text)[0].startswith(line)


def test_files_that_cannot_be_read_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        load_config(tmp_path / "missing.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(path)


def test_the_vanilla_baseline_of_unlike_stages_is_one_line_too(tmp_path: Path) -> None:
    text = 'algorithm = "grpo"\n' + GOOD + "[[stage]]\nname='b'\nsets={m=1}\nepochs=2"
    assert mistakes(tmp_path, text) == [
        "algorithm grpo mixes the stages (mix_stages = true), so all of them must count steps, or "
        "all epochs"
    ]


def test_a_mistake_for_every_stage_is_told_once_and_one_of_a_stage_under_its_own_name() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(
            {
                "sets": {"m": {"generate": "math", "count": 8}},
                "every_stage": {"steps": 5, "sets": {"m": 1}, "top_p": 2, "tempreature": 1},
                "stage": [{"name": "one"}, {"name": "two", "steps": "x"}],
            },
            "test",
        )
    assert str(caught.value).splitlines() == [
        "test: every_stage.top_p: must be at most 1 (given: 2)",
        "test: unknown setting every_stage.tempreature; did you mean temperature?",
        "test: stage.2.steps: must be a whole number (given: 'x')",
    ]


STAGES = """
[sets.m]
generate = "math"
count = 8

[every_stage]
steps = 5
sets = { m = 1 }

[[stage]]
name = "one"

[[stage]]
name = "two"
"""


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        (
            "every_stage.stepz=3",
            "--set every_stage.stepz=3: unknown setting every_stage.stepz; did you mean steps?",
        ),
        (
            "every_stage.reward.accurcy=3",
            "--set every_stage.reward.accurcy=3: unknown setting every_stage.reward.accurcy; "
            "did you mean accuracy?",
        ),
        ("every_stage.steps={a=1}", "--set every_stage.steps={a=1}: steps is 5, not a section"),
        ("seed=true", "--set seed=true: must be a number (given: true)"),
        ('seed="1"', "--set seed=\"1\": must be a number (given: '1')"),
        ("stage.1.steps=true", "--set stage.1.steps=true: must be a number (given: true)"),
        ("stage.1.reward={format=true}", "--set stage.1.reward={format=true}: must be a number"),
        (
            'model.compile="yes"',
            "--set model.compile=\"yes\": must be true or false (given: 'yes')",
        ),
        ("modle.name=x", "--set modle.name=x: unknown setting modle; did you mean model?"),
        ("every_stge.steps=2", "--set every_stge.steps=2: unknown setting every_stge; did you"),
        ("sets.foo.count=3", "--set sets.foo.count=3: sets.foo: give either files or generate"),
        ("every_stage=3", "--set every_stage=3: write [every_stage] and [[stage]] as tables"),
        ("stage.01.steps=2", "--set stage.01.steps=2: 01 is not a stage; stages are 1 to 2"),
        ("every_stage.steps.x=3", "--set every_stage.steps.x=3: steps is 5, not a section"),
        ("seed=1\nmodel.name=2", "--set seed=1 model.name=2: more than one line"),
        ("stage.1.steps=" + "x" * 200, f"--set stage.1.steps={'x' * 66}...: must be a whole"),
        (
            "every_stage.group_size=2",
            "{path} with --set every_stage.group_size=2: selection.pilot is",
        ),
    ],
)
def test_a_mistake_of_the_command_line_is_one_line_with_its_flag(
    tmp_path: Path, flag: str, line: str
) -> None:
    path = written(tmp_path, "selection = { pilot = 4 }\n" + STAGES if "group" in flag else STAGES)
    with pytest.raises(ConfigError) as caught:
        load_config(path, [parse_set(flag)])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(line.replace("{path}", str(path)))


def test_a_table_on_the_command_line_sets_what_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, "loss = { clip_high = 0.3 }\n" + STAGES)
    flags = ["every_stage={group_size=4}", "loss={mask_truncated=false}", "optimizer={}"]
    loaded = load_config(path, [parse_set(flag) for flag in flags])
    before, after = settings_of(load_config(path).config), settings_of(loaded.config)
    assert {name for name in after if after[name] != before[name]} == {
        "stage.1.group_size", "stage.2.group_size", "loss.mask_truncated",
    }  # fmt: skip
    assert loaded.sources["loss.clip_high"] == "run.toml"
    assert loaded.sources["loss.mask_truncated"] == "--set"
    assert loaded.sources["optimizer.passes"] == "default"


def test_a_mix_for_every_stage_on_the_command_line_takes_the_place_of_each_stages_own() -> None:
    config = load_config(settings=[parse_set("every_stage.sets.math=2")]).config
    assert [stage.sets for stage in config.stage] == [{"math": 2}, {"math": 2}]


def test_evaluation_is_greedy_or_warm_enough(tmp_path: Path) -> None:
    assert mistakes(tmp_path, GOOD + "[evaluation]\ntemperature = 0.001") == [
        "evaluation: temperature is 0.001; it must be 0 (greedy) or at least 0.01"
    ]
    for allowed in (0, 0.01):
        load_config(written(tmp_path, GOOD + f"[evaluation]\ntemperature = {allowed}"))
