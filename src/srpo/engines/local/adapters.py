"""LoRA (arXiv 2106.09685) through peft: small matrices beside frozen weights, and their merging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from srpo.errors import ModelError

ALPHA_OVER_RANK = 2  # the scale of what is added; ours
NAME = "default"  # peft's name of the one adapter
MARK = ".lora_"


def add_adapters(model: Any, rank: int, seed: int) -> None:
    """Put adapters of a rank beside every linear layer of the blocks, and freeze all else.

    They add nothing at first. Raises `ModelError` if peft is not installed, or there are no such
    layers.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ModelError(
            "model.lora_rank needs peft: pip install 'srpo[lora]', or set it to 0"
        ) from None
    targets = targets_of(model)
    if not targets:
        raise ModelError(no_targets(model.config.model_type))
    config = LoraConfig(r=rank, lora_alpha=ALPHA_OVER_RANK * rank, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=NAME)
    for name, weight in model.named_parameters():
        weight.requires_grad_(MARK in name)
        if MARK in name:
            weight.data = weight.data.float()


def no_targets(model_type: str) -> str:
    """What is said of a model that adapters do not fit."""
    return (
        f"model.lora_rank: {model_type} models have no linear layers that adapters fit; set it to 0"
    )


def targets_of(model: Any) -> list[str]:
    """Linear layers below the output head, by name; what peft calls all-linear."""
    head = model.get_output_embeddings()
    linear = torch.nn.Linear
    modules = model.named_modules()
    return sorted(n for n, each in modules if isinstance(each, linear) and each is not head)


def has_adapters(model: Any) -> bool:
    """Whether `add_adapters` was called on it."""
    return any(MARK in name for name, _ in model.named_parameters())


def weight_of(linear: Any) -> Tensor:
    """A linear layer's weight with what its adapter adds; gradients reach the adapter."""
    base = getattr(linear, "base_layer", None)
    if base is None:
        own: Tensor = linear.weight
        return own
    added: Tensor = linear.get_delta_weight(NAME)
    merged: Tensor = base.weight + added.to(base.weight.dtype)
    return merged


def bias_of(linear: Any) -> Tensor | None:
    """A linear layer's bias, which no adapter changes."""
    bias: Tensor | None = getattr(linear, "base_layer", linear).bias
    return bias


def merged_state(model: Any) -> dict[str, Tensor]:
    """The model's state dict as if it had never had adapters, with what they add added."""
    return dict(_merged(model))


@torch.no_grad()
def _merged(model: Any) -> Iterator[tuple[str, Tensor]]:
    modules = dict(model.named_modules())
    for name, value in model.state_dict().items():
        if MARK in name:
            continue
        layer, mark, kind = name.partition(".base_layer.")
        if not mark:
            yield name, value
        else:
            yield f"{layer}.{kind}", weight_of(modules[layer]) if kind == "weight" else value


def adapter_state(model: Any) -> dict[str, Tensor]:
    """The adapters alone, by the names of the model's parameters."""
    return {n: w.detach().cpu() for n, w in model.named_parameters() if MARK in n}


def load_adapters_into(model: Any, saved: Mapping[str, Tensor], origin: str) -> None:
    """Copy adapters back, in place. Raises `ModelError` if they are of another shape or rank."""
    own = {n: w for n, w in model.named_parameters() if MARK in n}
    if saved.keys() != own.keys() or any(own[n].shape != w.shape for n, w in saved.items()):
        raise ModelError(f"{origin}: adapters of another model or rank; see model.lora_rank")
    with torch.no_grad():
        for name, value in saved.items():
            own[name].copy_(value)
