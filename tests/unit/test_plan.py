"""What a config comes to at most: rollouts, tokens and memory, worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srpo.config import Config
from srpo.config.run import BudgetConfig
from srpo.engines.local.model_shape import ModelShape
from srpo.errors import ConfigError
from srpo.planning.memory import estimate_memory, fitting_tokens
from srpo.planning.plan import Most, StageOutline, count_problems, most_of, outline, parse_assumed
from tests.short_runs import config_of


def outlines(config: Config) -> list[StageOutline]:
    problems = count_problems(config, {}).train
    return [outline(stage, problems, config.selection) for stage in config.stage]


def counting_steps(number: int, **changes: Any) -> dict[str, Any]:
    return {"epochs": None, "steps": number, **changes}


@pytest.mark.parametrize(
    ("refills", "count", "rollouts"),
    [
        (0, 30, 3 * 4),  # three groups of four
        (2, 30, 9 * 4),  # and two rounds of three others
        (2, 7, 7 * 4),  # no problem comes twice in a step
    ],
)
def test_a_step_with_refills_is_bounded_by_all_of_them(
    tmp_path: Path, refills: int, count: int, rollouts: int
) -> None:
    rule = {"rule": "uniform", "refills": refills, "idle_epochs": 99}
    config = config_of(tmp_path, count=count, stage=counting_steps(2), selection=rule)
    (found,) = outlines(config)
    assert found.step_rollouts == rollouts
    # completions of at most 24 tokens
    assert most_of([found], config.budget) == Most(2 * rollouts, 2 * rollouts * 24)


@pytest.mark.parametrize("shares", ["declared", "in-play"])
def test_a_set_may_fill_the_whole_step_if_shares_follow_what_is_in_play(
    tmp_path: Path, shares: str
) -> None:
    file = config_of(tmp_path, count=30).sets["math"].files
    config = Config.model_validate(
        {
            "sets": {"large": {"files": file}, "small": {"generate": "math", "count": 2}},
            "stage": [{"name": "s", "sets": {"large": 1, "small": 3}, "steps": 1, "group_size": 4,
                       "problems_per_step": 8}],
            "selection": {"shares": shares},
        }
    )  # fmt: skip
    # declared: 2 of the large set, and of the small one's 6 places the 2 that it has
    assert outlines(config)[0].step_rollouts == (4 if shares == "declared" else 8) * 4


# two stages: 10 steps of 12 rollouts with at most 24 tokens, then 5 of 8 with at most 50:
# 120 + 40 rollouts; 120 * 24 + 40 * 50 = 4880 tokens
STAGES = [
    StageOutline("one", {"m": 3}, {"m": 9}, 3, 10, step_rollouts=12, max_completion_tokens=24),
    StageOutline("two", {"m": 2}, {"m": 9}, 5, 5, step_rollouts=8, max_completion_tokens=50),
]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, Most(160, 4880)),
        # the last step begins with 24 spent: 24 + 12, each of 50 tokens at most
        ({"rollouts": 25}, Most(36, 36 * 50)),
        ({"rollouts": 9999}, Most(160, 4880)),
        # the last step begins with 999 spent; it has 12 * 24 or 8 * 50 = 400 tokens. How many
        # rollouts that is depends on their length
        ({"tokens": 1000}, Most(160, 1399)),
        ({"tokens": 99999}, Most(160, 4880)),
        # both must be spent: a run of long answers goes on for its rollouts, and vice versa
        ({"rollouts": 25, "tokens": 1000}, Most(160, 4880)),
    ],
)
def test_a_budget_bounds_what_it_counts_but_for_the_last_step(
    budget: dict[str, int], expected: Most
) -> None:
    assert most_of(STAGES, BudgetConfig(**budget)) == expected


def test_the_reference_of_a_kl_term_is_part_of_the_memory(tmp_path: Path) -> None:
    # 1000 weights: 4 copies of 4 bytes; for the reference 1 more, or beside adapters its weights
    # and (2 x (4 + 4) + 2 x (4 + 4) + 3 x (4 + 8)) x 2 numbers of adapters
    shape = ModelShape(1000, num_layers=1, width=4, mlp_width=8, kv_width=4, vocabulary=10)
    plain = estimate_memory(config_of(tmp_path), shape)
    with_kl = estimate_memory(config_of(tmp_path, loss={"kl_weight": 0.001}), shape)
    # 16 bytes a weight; a copy of 48 + 64 joined weights; a gradient of 10 x 4 embeddings
    assert plain.weights == 16_000 + 112 * 4 + 160
    assert (plain.reference, with_kl.reference) == (0, 4_000)
    assert with_kl.peak == plain.peak + 4_000
    # compiled it has gradients, all zero
    compiled = config_of(tmp_path, loss={"kl_weight": 0.001}, model={"compile": True})
    assert estimate_memory(compiled, shape).reference == 8_000
    adapted = config_of(
        tmp_path, loss={"kl_weight": 0.001}, model={"lora_rank": 2, "dtype": "bfloat16"}
    )
    assert estimate_memory(adapted, shape).reference == 2_000 + 136 * 4


def test_evaluation_may_draw_more_rows_than_a_step(tmp_path: Path) -> None:
    def cache(**changes: Any) -> int:
        return estimate_memory(config_of(tmp_path, probe={"problems": 0}, **changes), SHAPE).cache

    def held_out(count: int) -> dict[str, Any]:
        files = [str(tmp_path / "p.jsonl")]
        return {"math": {"files": files, "domain": "math", "holdout": count}}

    few = cache(sets=held_out(1), evaluation={"samples": 2})
    many = cache(sets=held_out(50), evaluation={"samples": 2})
    # no more than 64 problems go to the sampler at once
    assert cache(sets=held_out(64), evaluation={"samples": 2}) == cache(
        sets=held_out(6400), evaluation={"samples": 2}
    )
    # 100 rows in place of a step's 3 x 4: 88 more of 512 + 24 columns of 2 x 32 numbers in 4 layers
    assert many - few >= 88 * 536 * 2 * 32 * 4 * 4
    assert cache(sets=held_out(50), evaluation={"samples": 0}) == few


def test_heads_wider_than_the_model_are_counted() -> None:
    wide = ModelShape(
        10**6, 1, width=8, mlp_width=16, kv_width=8, vocabulary=10, own_query_width=16
    )
    # query, key, value: 8 x (16 + 8 + 8); gate and up: 8 x 32; out: 16 x 8, down: 16 x 8
    assert (wide.joined_weights, wide.linear_weights) == (512, 768)
    # rank 1: q (8 + 16), k and v 2 x (8 + 8), out (16 + 8), and 3 x (8 + 16)
    assert wide.adapter_weights(1) == 152


def test_a_second_sampler_has_its_own_weights_and_cache_all_the_time(tmp_path: Path) -> None:
    # 1000 weights and a head of 10 x 4 that may have been tied, 4 bytes each; 0.5 GiB beside
    shape = ModelShape(1000, num_layers=1, width=4, mlp_width=8, kv_width=4, vocabulary=10)
    own = estimate_memory(config_of(tmp_path), shape)
    model = {"sampler": "vllm", "sampler_cache_gib": 0.5}
    vllm = estimate_memory(config_of(tmp_path, model=model), shape)
    assert vllm.weights == own.weights + 1040 * 4 + 2**29
    assert vllm.cache == 0


SHAPE = ModelShape(10**6, num_layers=4, width=64, mlp_width=128, kv_width=32, vocabulary=1000)


def test_what_saves_memory_is_counted(tmp_path: Path) -> None:
    # a GPU, whose pieces no heap of the C library keeps
    stage = {
        "problems_per_step": 1, "group_size": 4,
        "max_prompt_tokens": 64, "max_completion_tokens": 1024,
    }  # fmt: skip

    def estimate(**model: Any) -> Any:
        tokens = {"micro_batch_tokens": 4096, "device": "cuda"}
        return estimate_memory(config_of(tmp_path, stage=stage, model={**tokens, **model}), SHAPE)

    # a token keeps two norms of 2 x 64 numbers, and 3 x 64 + 2 x 32 + 4 x 128: 4096 bytes in each
    # of 4 layers; 64 tokens of the prompt and 4 x 1024 of answers, each of which copies 64 keys and
    # values of 32 numbers; the mask of 4096 x 1088 numbers for both query heads of a key head
    mask = 4096 * 1088 * 4 * 2
    assert estimate().activations == 4 * (4160 * 4096 + 4 * 64 * 256) + mask
    # its input in each layer, and the prompt's keys and values. One layer of the rows whole, with
    # gradients, takes more than the logits, 4096 x 1000, which are gone before it comes
    inputs = 4 * (4160 * 64 * 4 + 64 * 256)
    kept = estimate(gradient_checkpointing=True)
    one = 4096 * (4096 + 3 * 128 * 4 + 2 * 64 * 4) + 4 * 64 * 256 + 4 * 1088 * 256
    assert kept.logits == 4096 * 1000 * 4
    assert kept.activations == inputs + mask + one - kept.logits
    # rank 2: 2 x (4 x 64 + 2 x (64 + 32) + 3 x (64 + 128)) numbers in each of 4 layers
    assert SHAPE.adapter_weights(2) == 2 * 4 * 1024
    adapted = estimate(lora_rank=2, dtype="bfloat16").weights
    # of linear layers 4 x (64 x 64 x 2 + 64 x 64 + 3 x 64 x 128), merged and joined, twice
    assert adapted == 2 * 10**6 + 8192 * 16 + 2 * (2 * 147_456) * 2
    eight = config_of(tmp_path, optimizer={"moments": "8bit"})
    whole = estimate_memory(config_of(tmp_path), SHAPE).weights
    assert whole - estimate_memory(eight, SHAPE).weights == 6 * 10**6


def test_the_most_tokens_that_fit_are_found_or_what_would_help_is_said(tmp_path: Path) -> None:
    stage = {"problems_per_step": 64, "group_size": 64}
    model = {"device": "cuda", "sampler_rows": 1}  # so that large micro-batches take the most
    config = config_of(tmp_path, stage=stage, model=model)
    for tokens in (1024, 8192):
        room = estimate_memory(config, SHAPE, tokens).peak
        assert fitting_tokens(config, SHAPE, room) == tokens
        assert fitting_tokens(config, SHAPE, room - 1) == tokens // 2
    with pytest.raises(ConfigError) as caught:
        fitting_tokens(config, SHAPE, 10**6)
    # 16 bytes a weight, a copy of 98,304 joined ones, and a gradient of 1000 x 64 embeddings, all
    # in float32: 16,649,216, of which 4,256,000 of gradients are not there while 4096 tokens of
    # prompts go through the model, 4 x 128 + 6 x 64 numbers each: 14,680,064. A row of 536 and a
    # prompt of 512 for the next have 256 bytes in each of 4 layers: 28,146,432 in all
    assert str(caught.value).startswith(
        "this needs at least 26.8 MiB, but only 1.0 MiB are available: try model.gradient_"
    )
    # a mask of 10^6 x 1,000,512 numbers is 3,727.2 GiB, what 1,000,512 tokens keep 15.3, and one
    # layer's gradients 2.1
    huge = config_of(tmp_path, stage={"max_completion_tokens": 10**6})
    with pytest.raises(
        ConfigError, match=r"needs at least 3744\.6 GiB, but only 1\.0 GiB are available"
    ):
        fitting_tokens(huge, SHAPE, 2**30)
    assert "optimizer.moments=8bit" in str(caught.value)


def test_problems_are_counted_where_their_files_are_and_assumed_where_not(tmp_path: Path) -> None:
    config = config_of(tmp_path, count=6)
    gone = {"files": [str(tmp_path / "gone.jsonl")], "holdout": 64, "validation": 6}
    both = config.model_validate(
        config.model_dump()
        | {"sets": {**config.model_dump()["sets"], "code": gone, "unused": gone},
           "stage": [{**config.model_dump()["stage"][0], "sets": {"math": 1, "code": 1}}]}
    )  # fmt: skip
    found = count_problems(both, {})
    # 10,000 unless another number is given; 64 and 6 of them are held out
    assert found.train == {"math": 6, "code": 9930}
    assert found.test == {"math": 0, "code": 64}
    assert "code: 10,000 problems assumed, since" in found.notes[0]
    assert "gone.jsonl is not here" in found.notes[0]
    assert count_problems(both, {"code": 200}).train == {"math": 6, "code": 130}
    counted = count_problems(both, {"math": 200})
    assert counted.train["math"] == 6
    assert counted.notes[0] == "math: its problems are here and counted; --assume is not needed"
    for assumed, said in (
        ({"unused": 9}, "no stage uses a set of that name (known: math, code)"),
        ({"code": 70}, "--assume code=70: sets.code holds out 70; assume more"),
    ):
        with pytest.raises(ConfigError) as caught:
            count_problems(both, assumed)
        assert said in str(caught.value)


def test_an_assumed_count_is_a_set_and_a_whole_number() -> None:
    assert parse_assumed(["math=20000", "code = 8_000", "math=7"]) == {"math": 7, "code": 8000}
    for text in (
        "math",
        "=5",
        "math=",
        "math=0",
        "math=-3",
        "math=1.5",
        "math=1e9",
        "math=9_",
        "m=²",
    ):
        with pytest.raises(ConfigError, match="write it as SET=COUNT"):
            parse_assumed([text])
