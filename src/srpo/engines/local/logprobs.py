"""Log-probabilities of tokens from hidden states, without a whole table of logits in memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.autograd.function import once_differentiable

from srpo.engines.local.limits import MAX_KEPT_LOGITS, MAX_LOGITS


def token_logprobs(hidden: Tensor, head: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    """Logprob of each target under softmax(logits / temperature); float32, in order.

    `hidden` [N, width], `head` [V, width], `targets` and `temperature` [N]. At most `MAX_LOGITS`
    logits exist in float32. What the backward pass needs of them is kept in the precision of
    `hidden` if they are at most `MAX_KEPT_LOGITS`, else they are computed again there.
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
        kept = hidden.new_empty((N if N * V <= MAX_KEPT_LOGITS else 0, V))
        for part in _parts(N, V):
            rows = hidden[part], head, targets[part], temperature[part]
            residuals, logprobs[part], sums[part] = _residuals(*rows)
            if len(kept):
                kept[part] = residuals
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
        if len(kept):
            hidden_grad = (kept @ head * scale).to(hidden.dtype)
            return hidden_grad, kept.t() @ scaled if trained else None, None, None
        hidden_grad = torch.empty_like(hidden)
        head_grad = torch.zeros_like(head) if trained else None
        for part in _parts(len(hidden), len(head)):
            residuals, *_ = _residuals(hidden[part], head, targets[part], temperature[part])
            residuals = residuals.to(hidden.dtype)
            hidden_grad[part] = residuals @ head * scale[part]
            if head_grad is not None:
                head_grad.addmm_(residuals.t(), scaled[part])
        return hidden_grad, head_grad, None, None


def _parts(count: int, vocabulary: int) -> list[slice]:
    rows = max(1, MAX_LOGITS // vocabulary)
    return [slice(first, first + rows) for first in range(0, count, rows)]


def _residuals(
    hidden: Tensor, head: Tensor, targets: Tensor, temperature: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities less 1 at the target [n, V], logprobs of the targets [n], and sums [n].

    All float32. The probabilities are `sums` times too large, which saves a pass over the table.
    """
    logits = F.linear(hidden, head).float()
    if not bool((temperature == 1.0).all()):
        logits.div_(temperature[:, None])
    largest = logits.amax(dim=1, keepdim=True)
    below = (logits.gather(1, targets[:, None]) - largest)[:, 0]
    exps = logits.sub_(largest).exp_()
    sums = exps.sum(dim=1)
    logprobs = below - sums.log()
    # by itself, for 1 - p is then exact where p is near 1
    exps.scatter_(1, targets[:, None], (torch.expm1(logprobs) * sums)[:, None])
    return exps, logprobs, sums
