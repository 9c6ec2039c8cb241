"""Llama-family decoders as plain functions over a transformers model's own parameters.

One block serves training, prefill and decoding, so sampler and trainer compute the same
numbers. The parameters stay those of the transformers model: it loads and saves them.
Letters: B rows, T tokens, P prompts, H query heads, K key-value heads, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from srpo.engines.local.adapters import bias_of, weight_of
from srpo.engines.local.attention import KeyValue
from srpo.engines.local.norms import rms_norm

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
NORMED_HEADS = frozenset({"qwen3"})  # queries and keys are normed
PLAIN_ROPE = frozenset({"default", "linear", "llama3", "yarn"})

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one layer, query, key and value joined, gate and up joined."""

    norm_in: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    query_norm: Tensor | None
    key_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights in the compute precision. With gradients, they lead back to the model's."""

    embedding: Tensor  # [V, model width]
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Tensor  # [V, model width]


@dataclass(frozen=True, slots=True)
class Passes:
    """How passes with gradients are computed; what they come to is the same.

    >>> Passes(checkpointed=True).compiled
    False
    """

    checkpointed: bool = False  # the backward pass computes a layer again, from its input alone
    compiled: bool = False  # what is around the attention goes through `torch.compile`


PLAIN = Passes()


def fits(config: Any) -> bool:
    """Whether a transformers config is of a family, and with options, that this module computes."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in FAMILIES
        and getattr(config, "hidden_act", "silu") == "silu"
        and rope.get("rope_type", "default") in PLAIN_ROPE
        and not getattr(config, "mlp_bias", False)
        and not _slides(config)
    )


def _slides(config: Any) -> bool:
    """Whether some layer attends to a sliding window only."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return any(kind != "full_attention" for kind in kinds)
    return bool(getattr(config, "sliding_window", None))


class Decoder:
    """The functions of one transformers model. Holds no weights of its own."""

    def __init__(self, model: Any, dtype: torch.dtype, training: Passes = PLAIN) -> None:
        config = model.config
        self._checkpointed = training.checkpointed
        self._before: Callable[..., tuple[Tensor, Tensor, Tensor]] = before_attention
        self._after: Callable[..., Tensor] = after_attention
        if training.compiled:  # for any size: those of micro-batches vary
            self._before = torch.compile(before_attention, dynamic=True)
            self._after = torch.compile(after_attention, dynamic=True)
        self._model = model
        self._dtype = dtype
        self.num_layers: int = config.num_hidden_layers
        self.num_heads: int = config.num_attention_heads
        self.num_kv: int = config.num_key_value_heads or config.num_attention_heads
        self.groups = self.num_heads // self.num_kv
        width = config.hidden_size // config.num_attention_heads
        self.head_size: int = getattr(config, "head_dim", None) or width
        self._eps: float = config.rms_norm_eps
        self._angles: KeyValue | None = None

    def weights(self) -> Weights:
        """The weights as they are now; inside autograd, joined ones pass gradients through."""
        model = self._model
        embedding = self._cast(model.get_input_embeddings().weight)
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        head = embedding if tied else self._cast(model.get_output_embeddings().weight)
        layers = tuple(self._layer(layer) for layer in model.model.layers)
        return Weights(embedding, layers, self._cast(model.model.norm.weight), head)

    def hidden(self, w: Weights, ids_BT: Tensor, positions_BT: Tensor, attend: Attend) -> Tensor:
        """Last hidden states [B, T, width], normed. `attend` does the attention of layer i."""
        cos, sin = self._rotation(positions_BT)
        x = F.embedding(ids_BT, w.embedding)
        for i, layer in enumerate(w.layers):
            if self._checkpointed and torch.is_grad_enabled():
                x = checkpoint(self._block, i, layer, x, cos, sin, attend, use_reentrant=False)
            else:
                x = self._block(i, layer, x, cos, sin, attend)
        return rms_norm(x, w.norm, self._eps)

    def _block(
        self, i: int, w: LayerWeights, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend
    ) -> Tensor:
        trains = torch.is_grad_enabled()  # sampling gains nothing by compiled code, docs/log.md
        before = self._before if trains else before_attention
        after = self._after if trains else after_attention
        heads = (self.num_heads, self.num_kv, self.head_size)
        q, k, v = before(w, x, cos, sin, heads, self._eps)
        return after(w, x, attend(i, q, k, v), self._eps)

    def _cast(self, weight: Tensor) -> Tensor:
        return weight.to(self._dtype)

    def _layer(self, layer: Any) -> LayerWeights:
        attention, mlp = layer.self_attn, layer.mlp
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases = [bias_of(part) for part in parts]
        query_norm, key_norm = (
            (self._cast(attention.q_norm.weight), self._cast(attention.k_norm.weight))
            if hasattr(attention, "q_norm")
            else (None, None)
        )
        out_bias = bias_of(attention.o_proj)
        return LayerWeights(
            norm_in=self._cast(layer.input_layernorm.weight),
            qkv=self._cast(torch.cat([weight_of(part) for part in parts])),
            qkv_bias=self._joined(biases),
            query_norm=query_norm,
            key_norm=key_norm,
            out=self._cast(weight_of(attention.o_proj)),
            out_bias=None if out_bias is None else self._cast(out_bias),
            norm_mlp=self._cast(layer.post_attention_layernorm.weight),
            gate_up=self._cast(torch.cat([weight_of(mlp.gate_proj), weight_of(mlp.up_proj)])),
            down=self._cast(weight_of(mlp.down_proj)),
        )

    def _joined(self, biases: Sequence[Tensor | None]) -> Tensor | None:
        """Biases of layers that are computed as one; a family has all of them or none."""
        there = [bias for bias in biases if bias is not None]
        return self._cast(torch.cat(there)) if there else None

    def _rotation(self, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B, T, 1, D] from a table that grows with the longest position."""
        longest = int(positions_BT.max()) + 1
        if self._angles is None or self._angles[0].shape[0] < longest:
            size = max(256, 1 << (longest - 1).bit_length())
            grid = torch.arange(size, device=positions_BT.device)[None]
            probe = torch.zeros(1, device=grid.device, dtype=torch.float32)
            with torch.no_grad():
                cos, sin = self._model.model.rotary_emb(probe, grid)
            self._angles = (cos[0].to(self._dtype), sin[0].to(self._dtype))
        cos, sin = self._angles
        return cos[positions_BT][:, :, None], sin[positions_BT][:, :, None]


def before_attention(
    w: LayerWeights,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    heads: tuple[int, int, int],
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys, both rotated, and values of one layer [B, T, heads, D]; `heads`: H, K, D."""
    (B, T, _), (H, K, D) = x.shape, heads
    qkv = F.linear(rms_norm(x, w.norm_in, eps), w.qkv, w.qkv_bias)
    q, k, v = torch.split(qkv.view(B, T, H + 2 * K, D), [H, K, K], dim=2)
    if w.query_norm is not None and w.key_norm is not None:
        q = rms_norm(q, w.query_norm, eps)
        k = rms_norm(k, w.key_norm, eps)
    return _rotate(q, cos, sin), _rotate(k, cos, sin), v


def after_attention(w: LayerWeights, x: Tensor, attended: Tensor, eps: float) -> Tensor:
    """The layer's output [B, T, width] from its input and what its heads attended to."""
    B, T, _ = x.shape
    x = x + F.linear(attended.reshape(B, T, -1), w.out, w.out_bias)
    gate_up = F.linear(rms_norm(x, w.norm_mlp, eps), w.gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * up, w.down)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
