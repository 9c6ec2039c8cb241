"""What a model's own config says of the texts that it is made for: length, ends, padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from srpo.engines.local.loading import read_config

# Kinds of rotary scaling whose factor comes on top of the length in the config, which for the
# others (llama3, longrope) is the length that they were scaled to.
STRETCHED = ("linear", "dynamic", "yarn")


def context_of(config: Any) -> int | None:
    """The most tokens, prompt and completion together, that a model is made for; None: unknown.

    Learned positions end there; rotary ones go on, and were never trained beyond. `config` is
    that of transformers, which knows the other names of `max_position_embeddings`.
    """
    text = config.get_text_config(decoder=True)
    length = getattr(text, "max_position_embeddings", None)
    if not isinstance(length, int) or length < 1:
        return None
    return max(_covered(text, length))


def read_context(name: str) -> int | None:
    """As `context_of`, from the config alone. Raises `ModelError` if there is none to read."""
    return context_of(read_config(name))


def model_stops(model: Any) -> tuple[int, ...]:
    """Tokens that end a text by the model's config and generation config, which may disagree.

    Qwen2.5's base models end with another token than their tokenizer's EOS.
    """
    found: list[int] = []
    for config in (model.config, model.generation_config):
        ids = getattr(config, "eos_token_id", None)
        found += ids if isinstance(ids, list) else [] if ids is None else [ids]
    return tuple(dict.fromkeys(found))


def model_pads(model: Any) -> tuple[int, ...]:
    """Tokens for padding by the model's config and generation config, which may disagree."""
    configs = (model.config, model.generation_config)
    found = (getattr(config, "pad_token_id", None) for config in configs)
    return tuple(dict.fromkeys(token for token in found if isinstance(token, int)))


def _covered(text: Any, length: int) -> Iterator[int]:
    """The length itself, and those that rotary scaling covers; kinds of layers may differ."""
    yield length
    settings = getattr(text, "rope_parameters", None) or {}
    for each in (settings, *settings.values()):
        if isinstance(each, dict) and each.get("rope_type") in STRETCHED:
            trained = each.get("original_max_position_embeddings") or length
            yield int(trained * (each.get("factor") or 1))
