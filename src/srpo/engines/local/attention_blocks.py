"""Causal attention in bfloat16 on a CPU, a block of queries at a time that fits in its cache.

torch's own kernel for it is 1.4 to 4 times slower there (docs/log.md): it computes the scores of
columns that a block of queries cannot see, and in ways that do not use bfloat16 products fully.
Letters as in attention.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_SCORES = 1 << 18  # in float32, of all heads together: of whole rows
LONG_BLOCK_SCORES = 4 * BLOCK_SCORES  # of a part of a row, whose keys are read again for each
CACHE_NUMBERS = 1 << 22  # of keys that exist in float32 while one token is decoded
MOST_LENGTHS, LEAST_LENGTH = 16, 32  # parts of a row whose blocks see as far as the part's end


def takes_blocks(q: Tensor) -> bool:
    """Whether attention of these queries is quicker here than in torch's own kernel."""
    return (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def attend_in_blocks(q: Tensor, keys: Tensor, values: Tensor, past: Tensor | None = None) -> Tensor:
    """Attention of the last T of S positions to those before them and to themselves.

    `q` [B, T, H, D], as is what is returned; `keys` and `values` [B, K, S, D]. `past` [B, 1, 1, P]
    is added to the scores of the first columns: 0, or -inf where a row has none.
    """
    # each block's product would else copy what is not contiguous
    given = q, keys.contiguous(), values.contiguous(), past
    out: Tensor = _BlockAttention.apply(*given)  # type: ignore[no-untyped-call]
    return out


def attend_to_cache(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """One new token a row attends to all that its cache holds, rounded as in training.

    `q` [B, K, G, D], as is what is returned; `keys` and `values` [B, K, columns, D]; `mask`
    [B, 1, 1, columns] is added to the scores.
    """
    out = torch.empty_like(q)
    rows = max(1, CACHE_NUMBERS // keys[0].numel())
    for first in range(0, len(q), rows):
        part = slice(first, first + rows)
        scores = _product(q[part], keys[part].float()).mul_(q.shape[-1] ** -0.5).add_(mask[part])
        out[part] = torch.matmul(torch.softmax(scores, dim=-1).to(q.dtype), values[part])
    return out


@dataclass(frozen=True, slots=True)
class _Block:
    """Some rows, and some of their new tokens, which see none beyond the first `columns`."""

    rows: slice
    tokens: slice
    columns: int
    first_own: int  # the column of the first of these tokens
    num_tokens: int

    def queries(self, grouped: Tensor) -> Tensor:
        """Those of the block, G x T rows of each key head, of all [B, K, G, T, D]."""
        part = grouped[self.rows, :, :, self.tokens]
        return part.reshape(*part.shape[:2], -1, part.shape[-1])

    def put(self, grouped: Tensor, part: Tensor) -> None:
        """The reverse of `queries`."""
        there = grouped[self.rows, :, :, self.tokens]
        there.copy_(part.view(there.shape))


class _BlockAttention(torch.autograd.Function):
    """Scores are never kept: the backward pass computes a block's again (arXiv 2205.14135)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, keys: Tensor, values: Tensor, past: Tensor | None) -> Tensor:
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        queries, outs = _grouped(q, keys.shape[1]), _grouped(out, keys.shape[1])
        wide_keys = keys.float()
        for block in _blocks(queries.shape, keys.shape[2]):
            shares = _softmax(block, block.queries(queries), wide_keys, past)
            seen = values[block.rows, :, : block.columns]
            block.put(outs, torch.matmul(shares.to(q.dtype), seen))
        ctx.save_for_backward(q, keys, values, past, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, keys, values, past, out = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        q_grad = torch.empty_like(out)
        key_grad = torch.zeros(keys.shape, dtype=torch.float32)
        value_grad = torch.zeros_like(key_grad)
        queries, outs, out_grads, q_grads = (
            _grouped(each, keys.shape[1]) for each in (q, out, grads, q_grad)
        )
        wide_keys, wide_values = keys.float(), values.float()
        for block in _blocks(queries.shape, keys.shape[2]):
            seen = block.rows, slice(None), slice(block.columns)
            mine, theirs = block.queries(queries), block.queries(out_grads)
            shares = _softmax(block, mine, wide_keys, past)
            # of a score: its share, times how far its value's gain is above the mean of all
            mean = (theirs.float() * block.queries(outs)).sum(dim=-1, keepdim=True)
            by_score = _product(theirs, wide_values[seen]).sub_(mean).mul_(shares).mul_(scale)
            by_score = by_score.to(q.dtype)
            value_grad[seen] += torch.matmul(shares.to(q.dtype).transpose(-1, -2), theirs)
            key_grad[seen] += torch.matmul(by_score.transpose(-1, -2), mine)
            block.put(q_grads, torch.matmul(by_score, keys[seen]))
        return q_grad, key_grad.to(keys.dtype), value_grad.to(values.dtype), None


def _grouped(each: Tensor, num_kv: int) -> Tensor:
    """[B, T, H, D] as [B, K, G, T, D], without a copy."""
    B, T, H, D = each.shape
    return each.view(B, T, num_kv, H // num_kv, D).permute(0, 2, 3, 1, 4)


def _blocks(shape: torch.Size, num_columns: int) -> Iterator[_Block]:
    """Whole rows if their scores fit, several where they are small, else parts of one row."""
    B, K, G, T, _ = shape
    num_past = num_columns - T
    rows = BLOCK_SCORES // (K * G * T * num_columns)
    if rows:
        for first in range(0, B, rows):
            yield _Block(slice(first, first + rows), slice(0, T), num_columns, num_past, T)
        return
    # few different sizes: for each, oneDNN makes code that it keeps, some 300 KB
    length = max(LEAST_LENGTH, -(-T // MOST_LENGTHS))
    for row in range(B):
        for first in range(0, T, length):
            last = min(T, first + length)
            columns = num_past + last
            most = max(1, LONG_BLOCK_SCORES // (K * G * columns))
            for start in range(first, last, most):
                end = min(last, start + most)
                yield _Block(
                    slice(row, row + 1), slice(start, end), columns, num_past + start, end - start
                )


def _softmax(block: _Block, queries: Tensor, wide_keys: Tensor, past: Tensor | None) -> Tensor:
    """What share each column has, [rows, K, G x T, columns] in float32."""
    scores = _product(queries, wide_keys[block.rows, :, : block.columns])
    scores.mul_(queries.shape[-1] ** -0.5)
    if past is not None:
        scores[..., : past.shape[-1]] += past[block.rows]
    n, num_own = block.num_tokens, block.columns - block.first_own
    if num_own > 1:
        own = scores.view(*scores.shape[:2], -1, n, block.columns)[..., block.first_own :]
        own += torch.full((n, num_own), float("-inf")).triu_(1)
    return torch.softmax(scores, dim=-1)


def _product(left: Tensor, wide: Tensor) -> Tensor:
    """left @ wide^T in float32: rounded to bfloat16, scores of 10 would be off by .02.

    The numbers of `wide` are those of bfloat16, in float32.
    """
    with _bfloat16_inside():
        return torch.matmul(left.float(), wide.transpose(-1, -2))


@contextmanager
def _bfloat16_inside() -> Iterator[None]:
    """Products of float32 are computed from bfloat16, which these are: twice as fast, and exact."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # of a later stub
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before
