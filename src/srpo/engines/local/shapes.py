"""Sizes of a model that its memory depends on, read from its config: no weights are loaded."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM

from srpo.config import Config
from srpo.engines.local.adapters import no_targets, targets_of
from srpo.engines.local.decoder import NORMED_HEADS, Passes, fits
from srpo.engines.local.loading import check_passes, read_config
from srpo.engines.local.model_shape import ModelShape
from srpo.errors import ModelError, first_line

ROWS, LENGTH = 16, 2  # of a pass on no device; short, for attention keeps no table of its scores
MLP_TIMES = 4  # the width, where a config does not say how wide its MLP is
# Where a pass cannot be counted: values a layer keeps of a token, in units of width and MLP.
PLAIN_WIDTHS, PLAIN_MLPS = 24, 8
FLOAT32 = 4  # bytes


def read_shape(name: str) -> ModelShape:
    """The shape of a model, without loading its weights.

    Raises `ModelError` if there is no config to read.
    """
    config = read_config(name)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(f"--model {name}: cannot be read: {first_line(error)}") from None
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    if not heads:
        raise ModelError(
            f"--model {name}: {config.model_type} models have no attention heads, and srpo samples "
            "and plans only models with attention"
        )
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    plain = not fits(config)
    return ModelShape(
        num_weights=sum(weight.numel() for weight in model.parameters()),
        num_layers=text.num_hidden_layers,
        width=text.hidden_size,
        mlp_width=_mlp_width(text),
        kv_width=(getattr(text, "num_key_value_heads", None) or heads) * head_size,
        vocabulary=text.vocab_size,
        own_query_width=heads * head_size,
        plain_kept=_plain_kept(model, text) if plain else 0,
        plain_sides=_sides(model) if plain else 0,
        plain_head=plain and not _only_multiplies(model, text),
        normed_heads=config.model_type in NORMED_HEADS,
        model_type=config.model_type,
    )


def check_plain(config: Config, model_type: str, *, takes_adapters: bool) -> None:
    """Raise `ModelError`, as training does, if a model that goes through transformers cannot."""
    check_passes(model_type, Passes(config.model.gradient_checkpointing, config.model.compile))
    if config.model.lora_rank and not takes_adapters:
        raise ModelError(no_targets(model_type))


def _only_multiplies(model: Any, config: Any) -> bool:
    """Whether `OutputHead` will find that logits are a product alone; here there are no numbers."""
    names = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    head = model.get_output_embeddings()
    bias = head is None or getattr(head, "bias", None) is not None
    return not bias and all(getattr(config, name, None) in (None, 1.0) for name in names)


def _sides(model: Any) -> int:
    linear = [model.get_submodule(name) for name in targets_of(model)]
    return sum(each.in_features + each.out_features for each in linear)


def _mlp_width(config: Any) -> int:
    names = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
    found = (getattr(config, name, None) for name in names)
    return int(next((size for size in found if size), MLP_TIMES * config.hidden_size))


def _plain_kept(model: Any, config: Any) -> int:
    """Bytes that a token keeps for the backward pass, counted in a pass that computes nothing.

    Where the model cannot pass without numbers (experts are chosen by them) a guess from above.
    """
    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            held.append(tensor)  # so that no other takes its place
            kept[storage._cdata] = storage.nbytes()
        return tensor

    held: list[torch.Tensor] = []
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long, device="meta")
    # as the layers see it: from a mask of tokens models look at numbers to make it
    seen = torch.ones(ROWS, 1, LENGTH, LENGTH, dtype=torch.bool, device="meta")
    try:
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model(input_ids=ids, attention_mask=seen, use_cache=False, logits_to_keep=1)
    except Exception:  # noqa: BLE001 - of whichever model's own code
        experts = getattr(config, "num_experts_per_tok", None) or 1
        mlp = PLAIN_MLPS * experts * _mlp_width(config)
        layer: int = FLOAT32 * (PLAIN_WIDTHS * config.hidden_size + mlp)
        return layer * int(config.num_hidden_layers)
    return sum(kept.values()) // (ROWS * LENGTH)
