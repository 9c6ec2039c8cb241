"""What a plan costs, worked out by hand: work, operations, hours, devices, measured rates."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from srpo.config import Config
from srpo.engines.local.model_shape import ModelShape
from srpo.errors import ConfigError, RunDirectoryError
from srpo.planning.cost import (
    Assumptions,
    Cost,
    Rates,
    Work,
    cost_at_rates,
    cost_at_shares,
    devices_needed,
    forward_flops,
    read_rates,
    training_flops,
    work_of,
)
from srpo.planning.memory import micro_batch_bytes, sharded_bytes
from srpo.planning.plan import StageOutline

SHAPE = ModelShape(10**6, num_layers=4, width=64, mlp_width=128, kv_width=32, vocabulary=1000)
SEVEN = ModelShape(7 * 10**9, 1, 1, 1, 1, 1)  # so narrow that attention hardly adds to it


def config(stages: int = 1, **changes: Any) -> Config:
    """Stages of 5 steps x 2 problems x 4 rollouts; prompts up to 20 tokens, completions 100."""
    stage = {
        "sets": {"m": 1}, "steps": 5, "problems_per_step": 2, "group_size": 4,
        "max_prompt_tokens": 20, "max_completion_tokens": 100,
    }  # fmt: skip
    return Config.model_validate(
        {
            "sets": {"m": {"generate": "math", "count": 9}},
            "stage": [
                {"name": f"s{n}", **stage, **changes.pop("stage", {})} for n in range(stages)
            ],
            **changes,
        }
    )


def outlines(of: Config) -> list[StageOutline]:
    return [
        StageOutline(s.name, {"m": 2}, {"m": 9}, 5, 5, 2 * s.group_size, s.max_completion_tokens)
        for s in of.stage
    ]


def work(of: Config, share: float = 1.0) -> Work:
    return work_of(of, outlines(of), share)


def test_work_is_every_rollout_at_its_longest_and_every_prompt_once_a_group() -> None:
    # 5 x 2 x 4 = 40 rollouts of 100 tokens; 10 groups with a prompt of 20. A token of the answer
    # looks back on the prompt and, on average, half of the answer: 20 + 50
    assert work(config()) == Work(40, sampled=4000, trained=4000, prompts=200, context=70.0)
    # a quarter as long: 25 tokens, and 20 + 12.5 to look back on
    assert work(config(), 0.25) == Work(40, 1000, 1000, 200, 32.5)
    # two stages are twice that
    assert work(config(stages=2)) == Work(80, 8000, 8000, 400, 70.0)


def test_passes_and_subsets_change_what_is_trained_and_budgets_what_is_drawn() -> None:
    # 3 of 4 rollouts, two times: 4000 x 3/4 x 2
    both = config(loss={"subset": 3}, optimizer={"passes": 2})
    assert work(both) == Work(40, 4000, 6000, 200, 70.0)
    # the last step begins with 9 of 10 rollouts spent and draws 8: 17 of 40
    assert work(config(budget={"rollouts": 10})) == Work(17, 1700, 1700, 85, 70.0)
    # ... with 999 of 1000 tokens spent, and draws 800
    spent = work(config(budget={"tokens": 1000}))
    assert (spent.sampled, spent.rollouts) == (1799, 40)


def test_operations_are_two_a_weight_and_what_attention_adds() -> None:
    # 2 x 1e6, and for each of 4 layers and 70 tokens 4 x 64
    assert forward_flops(SHAPE, 70.0) == 2_000_000 + 4 * 4 * 64 * 70


@pytest.mark.parametrize(
    ("changes", "forwards"),
    [
        ({}, 3),  # one forward, and a backward pass of two
        ({"model": {"gradient_checkpointing": True}}, 4),  # and once more forward
        ({"model": {"lora_rank": 4}}, 2),  # no gradient of frozen weights
        ({"loss": {"kl_weight": 0.1}}, 4),  # and the reference's forward pass
        ({"loss": {"importance_cap": 2.0}}, 4),  # and the policy's before the update
        ({"loss": {"kl_weight": 0.1, "importance_cap": 2.0}}, 5),  # and both
        # compiled, both have a backward pass of nothing
        ({"loss": {"kl_weight": 0.1, "importance_cap": 2.0}, "model": {"compile": True}}, 9),
    ],
)
def test_training_is_so_many_forward_passes(changes: dict[str, Any], forwards: int) -> None:
    found = training_flops(Work(1, 900, 900, 100, 0.0), SHAPE, config(**changes))
    assert found == 1000 * 2_000_000 * forwards


def test_logprobs_before_the_first_update_are_taken_once_however_often_it_is_trained_on() -> None:
    # 900 tokens are 300, three times, each time with their prompts of 100: 1200 times 3 forward
    # passes, and once 400
    thrice = config(loss={"importance_cap": 2.0}, optimizer={"passes": 3})
    found = training_flops(Work(1, 900, 900, 100, 0.0), SHAPE, thrice)
    assert found == pytest.approx((1200 * 3 + 400) * 2_000_000)


def test_seven_billion_weights_and_a_billion_tokens_take_69_hours() -> None:
    # training: 6 x 7e9 x 1e9 = 4.2e19 operations; 0.4 of 989e12 a second: 106,168 s, 29.5 h
    # sampling: 2 x 7e9 x 1e9 = 1.4e19; 0.1 of it: 141,557 s, 39.3 h
    cost = cost_at_shares(Work(1, 10**9, 10**9, 0, 0.0), SEVEN, config(), Assumptions())
    assert cost.training_s == pytest.approx(106_168, rel=1e-5)
    assert cost.sampling_s == pytest.approx(141_557, rel=1e-5)
    assert cost.total_s / 3600 == pytest.approx(68.8, abs=0.05)
    # a device of half the peak takes twice as long
    half = Assumptions(peak_tflops=494.5)
    assert cost_at_shares(Work(1, 10**9, 10**9, 0, 0.0), SEVEN, config(), half).total_s == (
        pytest.approx(2 * cost.total_s)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device_gib", 0.0), ("peak_tflops", -1.0), ("peak_tflops", math.nan),
        ("peak_tflops", math.inf), ("training_share", 1.5), ("sampling_share", 0.0),
        ("length_share", math.nan), ("device_gib", 1e308), ("peak_tflops", 1e-300),
        ("training_share", 1e-320),
    ],
)  # fmt: skip
def test_numbers_that_no_device_has_are_refused(name: str, value: float) -> None:
    with pytest.raises(
        ConfigError, match=r"give a (share from 0.0001 to 1|number from .*000,000)$"
    ):
        Assumptions(**{name: value})


def test_what_is_sharded_is_16_bytes_a_weight_and_needs_so_many_devices() -> None:
    plain = config()
    assert sharded_bytes(plain, SHAPE) == 16 * 10**6
    assert sharded_bytes(config(optimizer={"moments": "8bit"}), SHAPE) == 10 * 10**6
    # a reference of 4 bytes a weight
    assert sharded_bytes(config(loss={"kl_weight": 0.1}), SHAPE) == 20 * 10**6
    # rank 2: 8192 numbers (tests/unit/test_plan.py); frozen weights in the compute precision
    adapted = config(model={"lora_rank": 2, "dtype": "bfloat16"})
    assert sharded_bytes(adapted, SHAPE) == 2 * 10**6 + 16 * 8192
    each = micro_batch_bytes(plain, SHAPE)
    for room, count in ((16_000_000, 1), (15_999_999, 2), (4_000_000, 4), (1_000_000, 16)):
        found = devices_needed(plain, SHAPE, (each + room) / 2**30)
        assert (found.count, found.each_bytes) == (count, each)
    assert devices_needed(plain, SHAPE, each / 2**30).count is None


def run_directory(folder: Path, *steps: dict[str, float], weights: int = 10**6) -> Path:
    """A run of 8 rollouts a step; a step's tokens, gradient tokens and seconds are given."""
    folder.mkdir()
    (folder / "config.toml").write_text("")
    (folder / "environment.json").write_text(json.dumps({"weights": weights, "device": "cpu"}))
    with (
        (folder / "metrics.jsonl").open("w") as metrics,
        (folder / "times.jsonl").open("w") as times,
    ):
        for number, step in enumerate(steps, start=1):
            counts = {"verdict/correct_count": 5, "verdict/wrong_count": 3, "all/groups": 2}
            row = {"step": number, "stage": 1, "epoch": 1, "tokens/step": step["tokens"], **counts}
            metrics.write(json.dumps(row | {"fate/gradient_tokens": step["gradient"]}) + "\n")
            seconds = {name: step[name] for name in ("sampling", "updating", "grading")}
            times.write(json.dumps({"step": number, **seconds}) + "\n")
    return folder


STEP = {"tokens": 100, "gradient": 60, "sampling": 2.0, "updating": 4.0, "grading": 1.0}


def test_rates_are_those_of_all_steps_of_a_run(tmp_path: Path) -> None:
    longer = STEP | {"tokens": 300, "gradient": 0, "updating": 0.0, "grading": 3.0}
    found = read_rates(run_directory(tmp_path / "r", STEP, longer), SHAPE)
    # 400 tokens in 4 s; 60 in 4 s; 4 s of grading over 16 rollouts; 400 tokens in 16 rollouts
    assert found == Rates(str(tmp_path / "r"), 2, "cpu", 100.0, 15.0, 0.25, 25.0)
    # 1000 tokens at 100 a second, 300 at 15, and 40 rollouts of a quarter of a second
    assert cost_at_rates(Work(40, 1000, 300, 7, 1.0), found) == Cost(10.0, 20.0, 10.0)


def test_a_run_without_rates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        read_rates(tmp_path, SHAPE)
    other = run_directory(tmp_path / "other", STEP, weights=5)
    with pytest.raises(ConfigError, match=r"another model .5 weights, and 1000000 here"):
        read_rates(other, SHAPE)
    for name, steps in (("empty", ()), ("still", (STEP | {"gradient": 0},))):
        with pytest.raises(ConfigError, match="no step of it trained on anything"):
            read_rates(run_directory(tmp_path / name, *steps), SHAPE)
