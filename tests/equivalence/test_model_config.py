"""What is read of a model's config: how long a text may be, what ends one, and what pads one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import (
    Gemma3Config,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from srpo.engines.local.model_config import context_of, model_pads, model_stops


def stretched(kind: str, **more: Any) -> PreTrainedConfig:
    rope = {"rope_type": kind, "rope_theta": 10_000.0, **more}
    return Qwen2Config(max_position_embeddings=32_768, rope_parameters=rope)


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (GPT2Config(n_positions=256), 256),  # learned
        (LlamaConfig(max_position_embeddings=512), 512),  # rotary
        (MambaConfig(), None),  # none at all
        # pictures beside a text model, whose limit it is
        (Gemma3Config(text_config={"max_position_embeddings": 640}), 640),
        # as Qwen2.5's card says to write it for long texts: 4 x 32,768
        (stretched("yarn", factor=4.0, original_max_position_embeddings=32_768), 131_072),
        (stretched("linear", factor=2.0), 65_536),
        # the config's length is the scaled one: 8 x 4096
        (stretched("llama3", factor=8.0, original_max_position_embeddings=4096,
                   low_freq_factor=1.0, high_freq_factor=4.0), 32_768),
        (stretched("yarn", factor=8.0, original_max_position_embeddings=4096), 32_768),
    ],
)  # fmt: skip
def test_the_context_is_the_number_of_positions_and_what_scaling_adds(
    config: PreTrainedConfig, tokens: int | None
) -> None:
    assert context_of(config) == tokens


@pytest.mark.parametrize(
    ("in_config", "in_generation", "pads"),
    [(0, 0, (0,)), (0, 1, (0, 1)), (None, 7, (7,)), (None, None, ())],
)
def test_the_pads_of_both_configs_count(
    in_config: int | None, in_generation: int | None, pads: tuple[int, ...]
) -> None:
    model = SimpleNamespace(
        config=SimpleNamespace(pad_token_id=in_config),
        generation_config=SimpleNamespace(pad_token_id=in_generation),
    )
    assert model_pads(model) == pads


@pytest.mark.parametrize(
    ("in_config", "in_generation", "stops"),
    [
        (7, 7, (7,)),
        (151643, [151645, 151643], (151643, 151645)),  # as Qwen2.5's instruct models
        (None, 5, (5,)),
        (None, None, ()),
    ],
)
def test_the_ends_of_both_configs_count(
    in_config: Any, in_generation: Any, stops: tuple[int, ...]
) -> None:
    model = SimpleNamespace(
        config=SimpleNamespace(eos_token_id=in_config),
        generation_config=SimpleNamespace(eos_token_id=in_generation),
    )
    assert model_stops(model) == stops
