"""Log-probabilities of tokens from hidden states, without a whole table of logits in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from srpo.engines.local.limits import CACHED_LOGITS, MAX_KEPT_LOGITS, MAX_LOGITS


def token_logprobs(hidden: Tensor, head: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    """Logprob of each target under softmax(logits / temperature); float32, in order.

    `hidden` [N, width], `head` [V, width], `targets` and `temperature` [N]. The table of logits is
    in the precision of `hidden`, and few rows of it at a time in float32. If it has at most
    `MAX_KEPT_LOGITS` entries it is kept for the backward pass, else there are at most `MAX_LOGITS`
    of them at once, and they are computed again there.
    """
    logprobs: Tensor = _TokenLogprobs.apply(hidden, head, targets, temperature)  # type: ignore[no-untyped-call]
    return logprobs


class _TokenLogprobs(torch.autograd.Function):
    """Written out, since autograd passes over the table of logits more often: docs/log.md."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, temperature: Tensor
    ) -> Tensor:
        N, V = len(hidden), len(head)
        logprobs = hidden.new_empty(N, dtype=torch.float32)
        sums = torch.empty_like(logprobs)
        keeps = N * V <= MAX_KEPT_LOGITS
        space = hidden.new_empty((N if keeps else min(N, _rows(V, MAX_LOGITS)), V))
        for part in _parts(N, len(space)):
            table = torch.mm(hidden[part], head.t(), out=space[: len(hidden[part])])
            logprobs[part], sums[part] = _to_residuals(table, targets[part], temperature[part])
        kept = space if keeps else None
        ctx.save_for_backward(hidden, head, targets, temperature, sums, kept)
        return logprobs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        """The gradient of a logit: 1 at the target, else 0, less its probability; over T."""
        hidden, head, targets, temperature, sums, kept = ctx.saved_tensors
        trained = ctx.needs_input_grad[1]  # beside adapters the head is not
        scale = (-grads / (temperature * sums))[:, None]
        scaled = (hidden * scale).to(hidden.dtype)
        if kept is not None:
            hidden_grad = (kept @ head * scale).to(hidden.dtype)
            return hidden_grad, kept.t() @ scaled if trained else None, None, None
        hidden_grad = torch.empty_like(hidden)
        head_grad = torch.zeros_like(head) if trained else None
        rows = _rows(len(head), MAX_LOGITS)
        space = hidden.new_empty((min(len(hidden), rows), len(head)))
        for part in _parts(len(hidden), rows):
            residuals = torch.mm(hidden[part], head.t(), out=space[: len(hidden[part])])
            _to_residuals(residuals, targets[part], temperature[part])
            hidden_grad[part] = residuals @ head * scale[part]
            if head_grad is not None:
                head_grad.addmm_(residuals.t(), scaled[part])
        return hidden_grad, head_grad, None, None


def _rows(vocabulary: int, most: int) -> int:
    """As many as have at most so many logits, and one at least."""
    return max(1, most // vocabulary)


def _parts(count: int, rows: int) -> list[slice]:
    return [slice(first, first + rows) for first in range(0, count, max(1, rows))]


def _to_residuals(table: Tensor, targets: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Turn logits [n, V], in place, into probabilities less 1 at the target.

    Returns logprobs of the targets [n] and sums [n], float32. The probabilities are `sums` times
    too large, which saves a pass over the table.
    """
    n, V = table.shape
    logprobs = table.new_empty(n, dtype=torch.float32)
    sums = torch.empty_like(logprobs)
    tempered = not bool((temperature == 1.0).all())
    rows = _rows(V, CACHED_LOGITS if table.device.type == "cpu" else MAX_LOGITS)
    for part in _parts(n, rows):
        logits, at = table[part].float(), targets[part, None]
        if tempered:
            logits.div_(temperature[part, None])
        largest = logits.amax(dim=1, keepdim=True)
        below = (logits.gather(1, at) - largest)[:, 0]
        exps = logits.sub_(largest).exp_()
        torch.sum(exps, dim=1, out=sums[part])
        logprobs[part] = below - sums[part].log()
        # by itself, for 1 - p is then exact where p is near 1
        exps.scatter_(1, at, (torch.expm1(logprobs[part]) * sums[part])[:, None])
        table[part] = exps
    return logprobs, sums
