"""Models of a few thousand random weights, of many families; torch is loaded where one is made."""

from __future__ import annotations

from typing import Any

SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SIZES,
    "gpt_neox": SIZES,  # its head is named otherwise
    "mixtral": {**SIZES, "num_local_experts": 4},  # experts: many weights in a file, one in memory
    "qwen3_moe": {
        **SIZES,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 8,
        "head_dim": 8,
    },
    "gemma3": {"text_config": {**SIZES, "head_dim": 8}, "vision_config": VISION},
}


def model_of(kind: str, sizes: dict[str, Any], seed: int = 0) -> Any:
    """As transformers begins it, by `seed`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval()


def tiny_model(kind: str, **changed: Any) -> Any:
    """Far from uniform in what it says, so that a wrong logprob shows."""
    import torch

    sizes = {"vocab_size": 32, "max_position_embeddings": 64, "eos_token_id": 2, **changed}
    if kind == "gpt2":
        own: dict[str, Any] = {
            "n_embd": 16, "n_layer": 2, "n_head": 2,
            "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0,
        }  # fmt: skip
    else:
        own = {
            "hidden_size": 16, "head_dim": 8, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2,
            "tie_word_embeddings": kind == "qwen3",
        }  # fmt: skip
    model = model_of(kind, {**own, **sizes})
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0 if weight.dim() == 2 else 1.0)
    return model
