"""Model folders that are not whole, and how that is said. All are made from one tiny model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from srpo.engines.local.loading import load_model, load_tokenizer, read_config
from srpo.engines.local.shapes import read_shape
from srpo.errors import ModelError
from tests.models import SIZES, model_of

CPU = torch.device("cpu")
DOWN = "model.layers.1.mlp.down_proj.weight"
Tensors = dict[str, torch.Tensor]


def saved(folder: Path, kind: str = "llama", **changed: Any) -> Path:
    model_of(kind, {**SIZES, **changed}).save_pretrained(folder)
    return folder


def with_weights(folder: Path, change: Callable[[Tensors], object]) -> str:
    path = saved(folder) / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return str(folder)


def with_config(folder: Path, **changed: Any) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}), encoding="utf-8")
    return str(folder)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_a_whole_model_has_nothing_to_be_said(tmp_path: Path) -> None:
    read = load_model(str(saved(tmp_path)), CPU)
    assert read.note == ""
    assert not read.model.training


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    folder = saved(tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    model = load_model(str(folder), CPU).model
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_weight_that_is_missing_is_refused_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = with_weights(tmp_path, lambda tensors: tensors.pop(DOWN))
    with caplog.at_level(logging.WARNING):
        said = refused(lambda: load_model(name, CPU))
    assert f"--model {name}: " in said
    assert f"1 tensor ({DOWN})" in said
    assert "LOAD REPORT" not in caplog.text


def test_layers_that_are_missing_are_counted(tmp_path: Path) -> None:
    # a layer of llama has nine: q, k, v, o, gate, up, down and two norms
    name = with_config(saved(tmp_path), num_hidden_layers=3)
    assert "9 tensors (model.layers.2.input_layernorm.weight" in refused(
        lambda: load_model(name, CPU)
    )


def test_weights_that_are_left_over_are_counted(tmp_path: Path) -> None:
    name = with_config(saved(tmp_path), num_hidden_layers=1)
    assert load_model(name, CPU).note == (
        "the files hold 9 tensors (model.layers.1.input_layernorm.weight, ...) that config.json "
        "has no place for; left out"
    )


def test_a_weight_of_another_shape_is_refused_with_both(tmp_path: Path) -> None:
    # 4 heads of width 4 in place of 2: keys are 16 wide and not 8; values too, in both layers
    name = with_config(saved(tmp_path), num_key_value_heads=4)
    said = refused(lambda: load_model(name, CPU))
    assert "self_attn.k_proj.weight is 8 x 16 in the file and 16 x 16 by the config" in said
    assert said.endswith("3 more differ")
    assert "ignore_mismatched_sizes" not in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors[DOWN][3, 5] = value

    name = with_weights(tmp_path, spoil)
    assert f"not finite numbers: 1 tensor ({DOWN})" in refused(lambda: load_model(name, CPU))


@pytest.mark.parametrize("kind", ["llama", "something-else"])
def test_code_that_comes_with_a_model_is_never_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def asked(_: str = "") -> str:
        raise AssertionError("the user was asked")

    monkeypatch.setattr("builtins.input", asked)
    code = {"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z"}
    name = with_config(saved(tmp_path), auto_map=code, model_type=kind)
    if kind == "llama":  # transformers knows it without that code
        assert load_model(name, CPU).model.config.model_type == "llama"
    else:
        for call in (load_tokenizer, read_config, read_shape):
            assert "code of its own (auto_map" in refused(lambda call=call: call(name))  # type: ignore[misc]


def test_a_model_that_reads_from_both_sides_is_refused(tmp_path: Path) -> None:
    name = str(saved(tmp_path, "bert"))
    for call in (read_shape, lambda n: load_model(n, CPU)):
        assert "bert models read a text from both sides" in refused(lambda call=call: call(name))  # type: ignore[misc]


def test_planning_needs_attention(tmp_path: Path) -> None:
    saved(tmp_path)
    AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=1).save_pretrained(tmp_path)
    assert "mamba models have no attention" in refused(lambda: read_shape(str(tmp_path)))


def test_the_shape_of_a_text_model_within_another(tmp_path: Path) -> None:
    saved(tmp_path)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    AutoConfig.for_model(
        "gemma3",
        text_config={**SIZES, "head_dim": 8},
        vision_config={**vision, "num_attention_heads": 2, "image_size": 28, "patch_size": 14},
    ).save_pretrained(tmp_path)
    shape = read_shape(str(tmp_path))
    assert (shape.vocabulary, shape.num_layers, shape.width) == (32, 2, 16)
    assert shape.kv_width == 2 * 8  # key-value heads x head size
