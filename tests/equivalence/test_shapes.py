"""Shapes read from a config against the model: which way it goes, and what may be asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from srpo.engines.local.adapters import add_adapters
from srpo.engines.local.model_shape import ModelShape
from srpo.engines.local.shapes import check_plain, read_shape
from srpo.errors import ModelError
from tests.models import tiny_model
from tests.short_runs import config_of


def shape_in(folder: Path, config: Any) -> ModelShape:
    config.save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return read_shape(str(folder))


def test_heads_of_a_size_of_their_own_are_read(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "qwen3", hidden_size=16, intermediate_size=32, num_hidden_layers=1, vocab_size=32,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    shape = shape_in(tmp_path, config)
    assert (shape.width, shape.query_width, shape.kv_width) == (16, 32, 16)
    assert (shape.normed_heads, shape.plain_kept) == (True, 0)


def test_what_a_model_of_transformers_keeps_is_counted_in_a_pass_without_numbers(
    tmp_path: Path,
) -> None:
    model = tiny_model("gpt2")
    shape = shape_in(tmp_path, model.config)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor
        return tensor

    ids = torch.zeros(16, 2, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / ids.numel()
    assert shape.plain_kept == pytest.approx(found, rel=0.15)


@pytest.mark.parametrize(
    "asked", [{"gradient_checkpointing": True}, {"compile": True}, {"lora_rank": 2}]
)
def test_a_plan_refuses_what_training_refuses(asked: dict[str, Any], tmp_path: Path) -> None:
    model = tiny_model("gpt2")
    shape = shape_in(tmp_path, model.config)
    config = config_of(tmp_path, model=asked)
    with pytest.raises(ModelError, match=f"model.{next(iter(asked))}: .*gpt2 models"):
        check_plain(config, shape.model_type, takes_adapters=shape.takes_adapters)
    if "lora_rank" in asked:
        with pytest.raises(ModelError, match="no linear layers"):
            add_adapters(model, 2, seed=1)
