"""The table of shapes against models built from the published sizes, without any memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from srpo.engines.local.shapes import read_shape
from srpo.errors import ModelError
from srpo.planning.known_models import KNOWN, context_for_planning, known_shape, shape_for_planning

# as their model cards say, in billions, to the million
BILLIONS = {"0.5B": 0.494, "1.5B": 1.544, "3B": 3.086, "7B": 7.616, "14B": 14.770, "32B": 32.764}


@pytest.mark.parametrize("size", BILLIONS)
def test_the_weights_are_as_many_as_those_of_the_model_that_is_built(size: str) -> None:
    of = KNOWN[f"Qwen/Qwen2.5-{size}"]
    config = Qwen2Config(
        hidden_size=of.width, num_hidden_layers=of.layers, num_attention_heads=of.heads,
        num_key_value_heads=of.kv_heads, intermediate_size=of.mlp_width,
        vocab_size=of.vocabulary, tie_word_embeddings=of.tied,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = of.shape().num_weights
    assert found == sum(weight.numel() for weight in model.parameters())
    assert round(found / 1e9, 3) == BILLIONS[size]
    assert set(KNOWN) == {f"Qwen/Qwen2.5-{name}" for name in BILLIONS}


def test_the_table_is_asked_only_where_no_config_can_be_read(tmp_path: Path) -> None:
    name = "Qwen/Qwen2.5-0.5B"
    shape, said = shape_for_planning(name)  # the tests have no network
    assert shape == known_shape(name) == known_shape(f"{name}-Instruct")
    # 2 key-value heads of 896 / 14 = 64
    assert shape.kv_width == 128
    assert said == f"{name} cannot be read here; shape from srpo's table"
    assert shape_for_planning("embedded") == (read_shape("embedded"), "")
    for unknown in ("Qwen/Qwen2.5-8B", "./Qwen2.5-7B", str(tmp_path)):
        with pytest.raises(ModelError):
            shape_for_planning(unknown)
        with pytest.raises(ModelError):
            context_for_planning(unknown)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("embedded", 512),
        ("Qwen/Qwen2.5-0.5B", 32_768),
        ("Qwen/Qwen2.5-32B", 131_072),
        ("Qwen/Qwen2.5-32B-Instruct", 32_768),
    ],
)
def test_the_context_is_that_of_the_config_or_of_the_model_card(name: str, tokens: int) -> None:
    assert context_for_planning(name) == tokens


def test_a_folder_of_a_models_name_is_read_and_not_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Qwen" / "Qwen2.5-0.5B"
    folder.mkdir(parents=True)
    sizes = {
        "model_type": "qwen2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 10,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(sizes))
    (folder / "model.safetensors").write_text("")
    monkeypatch.chdir(tmp_path)
    shape, said = shape_for_planning("Qwen/Qwen2.5-0.5B")
    assert (shape.width, shape.vocabulary, said) == (8, 10, "")
