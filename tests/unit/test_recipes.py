"""The recipes for real models: every value says how well it is known, and each can be planned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from srpo.config.files import CONFIGS, load_config
from srpo.planning.cost import devices_needed
from srpo.planning.known_models import known_shape
from srpo.planning.memory import estimate_memory, fitting_tokens
from tests.command_line import run_here

RECIPES = sorted(CONFIGS.glob("srpo-*.toml"))
TAG = re.compile(r"\[(V|S2|S|R|U|ours)\]")
KEY = re.compile(r"^\w+ = (?P<value>.*)$")


def recipe(size: str) -> Path:
    return CONFIGS / f"srpo-qwen2.5-{size}.toml"


def test_there_is_a_recipe_for_each_of_three_sizes() -> None:
    assert sorted(map(recipe, ("0.5b", "7b", "32b"))) == RECIPES


def comment_of(line: str) -> str:
    """What follows the value: the part after the first # that leaves valid TOML before it."""
    for place in (found.start() for found in re.finditer("#", line)):
        try:
            tomllib.loads(line[:place])
        except tomllib.TOMLDecodeError:
            continue
        return line[place:]
    return ""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_value_says_how_well_it_is_known(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if KEY.match(line)]
    assert len(lines) > 40
    assert [line for line in lines if not TAG.search(comment_of(line))] == []
    # what is unknown or only remembered is nowhere called the paper's
    loose = [line for line in lines if TAG.findall(line)[0] in "RU" and "the paper's" in line]
    assert loose == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_all_that_makes_the_method_itself(path: Path) -> None:
    loaded = load_config(path)
    own = [
        name
        for name in loaded.sources
        if re.match(r"(model\.(name|dtype)|prompt|loss|optimizer|stage\.\d)\.?", name)
        and not re.search("subset|moments|epochs|plateau_steps|overlong_|lora", name)
    ]
    assert [name for name in own if loaded.sources[name] != path.name] == []
    one, two = loaded.config.stage
    assert (dict(one.sets), dict(two.sets)) == ({"math": 1}, {"math": 1, "code": 1})
    assert loaded.config.selection.rule == "resampling"


def test_the_32b_recipe_has_what_the_paper_is_said_to_have() -> None:
    config = load_config(recipe("32b")).config
    assert config.model.name == "Qwen/Qwen2.5-32B"
    for stage in config.stage:
        assert (stage.problems_per_step, stage.group_size, stage.learning_rate) == (256, 32, 1e-6)
    assert (config.optimizer.beta1, config.optimizer.beta2) == (0.9, 0.95)
    assert (config.loss.average, config.loss.kl_weight, config.optimizer.warmup_steps) == (
        "token", 0, 0,
    )  # fmt: skip


def test_the_half_billion_recipe_fits_into_24_gb_with_room_for_what_is_not_estimated() -> None:
    config = load_config(recipe("0.5b")).config
    shape = known_shape(config.model.name)
    assert shape is not None
    assert config.stage[0].max_completion_tokens == 4096
    # 24 GB is 22.35 GiB. A masked attention may keep tables of 4096 x 5120 numbers for each of
    # 14 heads of the one row: 1.2 GB each in float32, some four of them; and CUDA's own 0.5 GB
    unestimated = 4 * 4096 * 5120 * 14 * 4 + 500_000_000
    assert estimate_memory(config, shape).peak + unestimated < 24e9
    assert fitting_tokens(config, shape, int(24e9)) >= config.model.micro_batch_tokens == 5120


def test_the_7b_recipe_fits_where_its_header_says() -> None:
    config = load_config(recipe("7b")).config
    shape = known_shape(config.model.name)
    assert shape is not None
    eight = config.optimizer.model_copy(update={"moments": "8bit"})
    adapters = config.model.model_copy(update={"lora_rank": 32})
    assert estimate_memory(config, shape).peak > 141e9
    assert estimate_memory(config.model_copy(update={"optimizer": eight}), shape).peak < 135e9
    assert estimate_memory(config.model_copy(update={"model": adapters}), shape).peak < 76e9


def test_the_32b_recipe_needs_seven_devices_of_80_gib() -> None:
    config = load_config(recipe("32b")).config
    shape = known_shape(config.model.name)
    assert shape is not None
    found = devices_needed(config, shape, 80)
    # 16 x 32.764e9 bytes are 488.2 GiB. A row of 10,240 tokens keeps the input of 64 layers and
    # one layer whole: 64 x 5120 x 2 bytes a token, and (2 norms of 2 x 5120 + 3 x 5120 +
    # 2 x 1024 + 4 x 27,648) x 2: 9.08 GiB; logits 2^25 x 6 bytes, 0.19. 488.2 / (80 - 9.27) = 6.90
    assert found.state_bytes / 2**30 == pytest.approx(488.2, abs=0.05)
    assert found.each_bytes / 2**30 == pytest.approx(9.27, abs=0.01)
    assert found.count == 7


@pytest.mark.parametrize(
    ("size", "devices", "rollouts", "hours"),
    [
        # 1000 x 256 x 32 rollouts; sampling (67.1e9 + 0.5e9) x (2 x 32.764e9 + 4 x 64 x 5120 x
        # 6144) / (0.1 x 989e12) s are 14 k hours; training, at 4 times the rate, is 4 times the
        # work, and a fifth time for importance weights: 17 k
        ("32b", "at least 7, if fully sharded", "<= 8.2 M", "31 k GPU-hours"),
        # 600 x 128 x 16; (10.07e9 + 0.16e9) x (2 x 7.616e9 + 4 x 28 x 3584 x 6144): 508 h, twice
        ("7b", "at least 2, if fully sharded", "<= 1.2 M", "1.0 k GPU-hours"),
        # 400 x 32 x 8; (419e6 + 13e6) x (2 x 0.494e9 + 4 x 24 x 896 x 3072): 1.5 h, twice
        ("0.5b", "at least 1 (", "<= 102 k", "3.0 GPU-hours"),
    ],
)
def test_a_recipe_is_planned_without_its_problems_and_without_a_hub(
    size: str, devices: str, rollouts: str, hours: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    done = run_here(monkeypatch, capsys, "plan", recipe(size), "--assume", "math=2000")
    said = done.out
    assert done.code == 0
    assert "* math: 2,000 problems assumed, since data/math.jsonl is not here" in said
    assert "* code: 10,000 problems assumed" in said
    assert "shape from srpo's table" in said
    for part in (devices, rollouts, f"cost, at most: {hours}", "memory, estimated", "tokens, at"):
        assert part in said
    assert "Rates assumed, none measured: 0.1 of a peak of 989 TFLOP/s" in said


def test_what_does_not_fit_on_one_device_is_planned_first_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_here(monkeypatch, capsys, "plan", recipe("7b"), "--memory", "130")
    assert done.code == 2
    # 16 x 7.616e9 bytes are 113.5 GiB, and 4.8 of activations: one device if nothing is copied;
    # srpo's own engine keeps beside them copies of 2 x 7.616e9 bytes, a gradient of 152,064 x 3584
    # x 4 (14.2 and 2.0 GiB), and 4.7 GiB of one prompt and one row, the least there can be
    assert "devices, of 130 GiB (--memory): at least 1 (113 GiB" in done.out
    assert "GPU-hours" in done.out
    needed = "srpo: this needs at least 134.4 GiB, but only 130.0 GiB are available: try "
    assert done.err.startswith(needed)
    assert "optimizer.moments=8bit" in done.err
