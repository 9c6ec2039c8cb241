"""Models of random weights in the shapes of others: what a model costs does not depend on them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def random_model(kind: str, **sizes: int) -> Any:
    """A model of transformers' `kind` with tied embeddings; `sizes` as its config names them."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, tie_word_embeddings=True, **sizes)
    return AutoModelForCausalLM.from_config(config).eval()


def llama_28m() -> Any:
    """A Llama of 28 million weights."""
    return random_model(
        "llama",
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
    )


def smollm2_135m() -> Any:
    """SmolLM2-135M's shape."""
    return random_model(
        "llama",
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
    )


def qwen25_half_billion() -> Any:
    """Qwen2.5-0.5B's shape."""
    return random_model(
        "qwen2",
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=32_768,
    )
