"""The root mean square norm (arXiv 1910.07467), with a backward pass that keeps its input alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.autograd.function import once_differentiable

CACHED = 1 << 17  # numbers in float32 that stay in a processor's cache, with those made of them


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`x` [..., width] over its root mean square, times `weight`; computed in float32.

    With gradients on a CPU torch makes it of eight functions, each of which keeps its input and
    passes over memory (docs/log.md); elsewhere, and in compiled code, it is one.
    """
    own = x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if own:
        normed: Tensor = _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
        return normed
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        rows, factor = x.reshape(-1, x.shape[-1]), weight.float()
        normed = torch.empty_like(rows)
        scales = rows.new_empty((len(rows), 1), dtype=torch.float32)
        for part in _parts(rows):
            given = rows[part].float()
            scales[part] = given.pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
            normed[part] = (given * scales[part]).mul_(factor)
        ctx.save_for_backward(x, weight, scales)
        return normed.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight, scales = ctx.saved_tensors
        rows, factor = x.reshape(-1, x.shape[-1]), weight.float()
        flat = grads.reshape(rows.shape)
        grad = torch.empty_like(rows)
        weight_grad = torch.zeros_like(factor)
        for part in _parts(rows):
            quotient = rows[part].float() * scales[part]
            through = flat[part].float()
            weight_grad += (through * quotient).sum(0)
            through = through * factor
            mean = (through * quotient).mean(-1, keepdim=True)
            grad[part] = through.sub_(quotient.mul_(mean)).mul_(scales[part])
        trained = weight_grad.to(weight.dtype) if ctx.needs_input_grad[1] else None
        return grad.view(x.shape), trained, None


def _parts(rows: Tensor) -> Iterator[slice]:
    most = max(1, CACHED // rows.shape[1])
    return (slice(first, first + most) for first in range(0, len(rows), most))
