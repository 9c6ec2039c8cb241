"""Shapes of well-known models, for planning where neither disk nor hub has their config.

The sizes are those of the configs that the models' authors published; a test builds each and
counts its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from srpo.engines.local.model_shape import ModelShape
from srpo.errors import ModelError


@dataclass(frozen=True, slots=True)
class Qwen2Sizes:
    """What the config of a Qwen2 model says about its shape."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int
    tied: bool  # embedding and head are one table

    def shape(self) -> ModelShape:
        """The shape, with its weights counted: no weight is allocated."""
        kv_width = self.kv_heads * (self.width // self.heads)
        biases = self.width + 2 * kv_width  # of query, key and value; no other layer has one
        attention = 2 * self.width * (self.width + kv_width) + biases
        block = attention + 3 * self.width * self.mlp_width + 2 * self.width  # and two norms
        tables = (1 if self.tied else 2) * self.vocabulary * self.width
        return ModelShape(
            num_weights=tables + self.layers * block + self.width,  # and the last norm
            num_layers=self.layers,
            width=self.width,
            mlp_width=self.mlp_width,
            kv_width=kv_width,
            vocabulary=self.vocabulary,
        )


KNOWN = {
    "Qwen/Qwen2.5-0.5B": Qwen2Sizes(896, 24, 14, 2, 4864, 151_936, tied=True),
    "Qwen/Qwen2.5-1.5B": Qwen2Sizes(1536, 28, 12, 2, 8960, 151_936, tied=True),
    "Qwen/Qwen2.5-3B": Qwen2Sizes(2048, 36, 16, 2, 11_008, 151_936, tied=True),
    "Qwen/Qwen2.5-7B": Qwen2Sizes(3584, 28, 28, 4, 18_944, 152_064, tied=False),
    "Qwen/Qwen2.5-14B": Qwen2Sizes(5120, 48, 40, 8, 13_824, 152_064, tied=False),
    "Qwen/Qwen2.5-32B": Qwen2Sizes(5120, 64, 40, 8, 27_648, 152_064, tied=False),
}
# Prompt and completion at most, as their model cards say; the Instruct forms have the shorter one.
CONTEXT_TOKENS = 32_768
LONGER_CONTEXTS = {f"Qwen/Qwen2.5-{size}": 131_072 for size in ("7B", "14B", "32B")}


def known_shape(name: str) -> ModelShape | None:
    """The shape of a well-known model by its hub name, its -Instruct form included; else None.

    >>> known_shape("Qwen/Qwen2.5-7B-Instruct").num_layers
    28
    >>> known_shape("./Qwen2.5-7B") is None
    True
    """
    sizes = KNOWN.get(name.removesuffix("-Instruct"))
    return sizes.shape() if sizes else None


def context_for_planning(name: str) -> int | None:
    """The most tokens, prompt and completion, that a model is made for; None: no limit is known.

    Read where `shape_for_planning` reads the shape. Raises `ModelError` as that does.
    """
    from srpo.engines.local.model_config import read_context

    try:
        return read_context(name)
    except ModelError:
        if known_shape(name) is None:
            raise
        return LONGER_CONTEXTS.get(name, CONTEXT_TOKENS)


def shape_for_planning(name: str) -> tuple[ModelShape, str]:
    """The shape of a model, and what is to be said of where it is from (often nothing).

    Read from the model's config; srpo's table is used only where that cannot be read. Raises
    `ModelError` if the table does not have the model either.
    """
    from srpo.engines.local.shapes import read_shape

    try:
        return read_shape(name), ""
    except ModelError:
        known = known_shape(name)
        if known is None:
            raise
        return known, f"{name} cannot be read here; shape from srpo's table"
