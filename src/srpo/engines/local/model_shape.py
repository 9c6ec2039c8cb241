"""The sizes of a model that its memory and its cost depend on."""

from __future__ import annotations

from dataclasses import dataclass


def kept_bytes(
    widths: tuple[int, int, int, int], compute: int, *, normed_heads: bool = False
) -> int:
    """Bytes that a token keeps in one layer of a Llama-family model for the backward pass.

    `widths`: of the model, of all queries, of all keys, of the MLP; `compute`: bytes of a number.
    Two norms keep input and output; queries, what they attended to, and that in another order; keys
    and values; gate, up, silu, product. Norms of heads keep queries, keys and values as they were.
    """
    width, query, kv, mlp = widths
    heads = query + 2 * kv if normed_heads else 0
    return (4 * width + heads + 3 * query + 2 * kv + 4 * mlp) * compute


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model that memory depends on."""

    num_weights: int
    num_layers: int
    width: int
    mlp_width: int
    kv_width: int  # key-value heads x head size
    vocabulary: int
    own_query_width: int = 0  # query heads x head size; 0: as the width
    # Bytes that a token keeps for the backward pass in all layers of a model that goes through
    # transformers' own forward pass; 0: one that srpo computes itself.
    plain_kept: int = 0
    normed_heads: bool = False  # queries and keys, as in qwen3
    model_type: str = ""
    plain_head: bool = False  # such a model does more to its logits than to multiply by the head
    plain_sides: int = 0  # of such a model: inputs and outputs of linear layers that adapters fit

    @property
    def takes_adapters(self) -> bool:
        """Whether `model.lora_rank` may be set."""
        return not self.plain_kept or self.plain_sides > 0

    @property
    def query_width(self) -> int:
        """Query heads x head size."""
        return self.own_query_width or self.width

    @property
    def joined_weights(self) -> int:
        """Of query, key and value, and of gate and up, which are computed as one."""
        qkv = self.width * (self.query_width + 2 * self.kv_width)
        return self.num_layers * (qkv + 2 * self.width * self.mlp_width)

    @property
    def linear_weights(self) -> int:
        """Of the seven linear layers of each block."""
        out = self.query_width * self.width
        return self.joined_weights + self.num_layers * (out + self.width * self.mlp_width)

    def adapter_weights(self, rank: int) -> int:
        """Of adapters beside the seven linear layers of each block, or whichever there are."""
        if self.plain_kept:
            return rank * self.plain_sides
        sides = 2 * (self.width + self.query_width) + 2 * (self.width + self.kv_width)
        return rank * self.num_layers * (sides + 3 * (self.width + self.mlp_width))

    def kept_bytes(self, compute: int) -> int:
        """Bytes that a token keeps in one layer for the backward pass; numbers of `compute`."""
        widths = (self.width, self.query_width, self.kv_width, self.mlp_width)
        return kept_bytes(widths, compute, normed_heads=self.normed_heads)
