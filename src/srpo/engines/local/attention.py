"""Causal attention of new tokens to past ones and to themselves, with gradients.

Letters: B rows, T new tokens, P past columns, S = P + T columns, H query heads, K key-value heads,
G = H / K, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from srpo.engines.local.attention_blocks import attend_in_blocks, attend_to_cache, takes_blocks
from srpo.engines.local.limits import MAX_MASK

KeyValue = tuple[Tensor, Tensor]  # keys and values of one layer, each [B, K, columns, D]


@dataclass(frozen=True)
class Visible:
    """Which keys may be seen: past ones up to each row's length, and new ones up to one's own.

    Made once for all layers; each layer's attention asks for the one or the other.
    """

    lengths: Tensor  # [B]
    num_past: int
    num_new: int
    groups: int  # G
    dtype: torch.dtype

    @cached_property
    def past(self) -> Tensor:
        """Added to the scores of past columns, 0 or -inf: [B, 1, 1, P] in float32."""
        columns = torch.arange(self.num_past, device=self.lengths.device)
        unseen = columns[None] >= self.lengths[:, None]
        mask = torch.zeros(unseen.shape, device=unseen.device)
        return mask.masked_fill_(unseen, float("-inf"))[:, None, None]

    @cached_property
    def mask(self) -> Tensor:
        """Added to all scores: [B, 1, rows, P + T] in the dtype of queries.

        The query heads of one key head become its rows, G x T of them, which spares copies of keys
        for each head (docs/log.md); where that takes too large a mask there are T.
        """
        past = self.past.to(self.dtype).expand(-1, 1, self.num_new, -1)
        new = torch.full(
            (self.num_new, self.num_new), float("-inf"), dtype=self.dtype, device=past.device
        ).triu_(1)
        mask = torch.cat((past, new.expand(len(past), 1, -1, -1)), dim=-1)
        return mask.repeat(1, 1, self.groups, 1) if self._folds else mask

    @property
    def _folds(self) -> bool:
        rows = len(self.lengths) * self.groups * self.num_new
        return rows * (self.num_past + self.num_new) <= MAX_MASK


def attend_causal(q: Tensor, k: Tensor, v: Tensor, past: KeyValue, visible: Visible) -> Tensor:
    """New tokens attend to `past` keys and values and to themselves; [B, T, H, D] in and out."""
    (B, T, H, D), K = q.shape, k.shape[2]
    keys = torch.cat((past[0], k.transpose(1, 2)), dim=2)
    values = torch.cat((past[1], v.transpose(1, 2)), dim=2)
    if takes_blocks(q):
        return attend_in_blocks(q, keys, values, visible.past)
    groups = visible.mask.shape[2] // T
    if groups == 1:
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), keys, values, attn_mask=visible.mask, enable_gqa=True
        )
        return out.transpose(1, 2)
    rows = q.view(B, T, K, groups, D).permute(0, 2, 3, 1, 4).reshape(B, K, groups * T, D)
    out = F.scaled_dot_product_attention(rows, keys, values, attn_mask=visible.mask)
    return out.view(B, K, groups, T, D).permute(0, 3, 1, 2, 4).reshape(B, T, H, D)


def attend_cached(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """One new token a row attends to its cache: `q` [B, K, G, D], as is what is returned.

    Rounded as the training pass rounds, so that the sampler's logprobs are the trainer's.
    """
    if takes_blocks(q):
        return attend_to_cache(q, keys, values, mask)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)


def attend_to_self(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention without a past; [B, T, H, D] in and out. Right padding does no harm."""
    if takes_blocks(q):
        return attend_in_blocks(q, k.transpose(1, 2), v.transpose(1, 2))
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=True
    )
    return out.transpose(1, 2)
