"""Where sampler and trainer round differently: the difference as a truncated importance weight.

Tokens are drawn by one program and trained on by another, whose log-probabilities of the same
weights differ a little, more so in bfloat16. The gradient of what the trainer computes is then
that of another policy than drew the tokens. A weight pi_trainer / pi_sampler makes up for it; it
is cut off at a cap, so that one unlucky token does not outweigh a batch (truncated importance
sampling: Ionides 2008; for rollouts of a separate sampler, Yao et al. 2025, "Your Efficient RL
Framework Secretly Brings You Off-Policy RL Training").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from srpo.types import Datum

LARGEST = 700.0  # exp of more is not a float


def importance_weights(
    trainer_logprobs: Sequence[float], sampler_logprobs: Sequence[float], cap: float
) -> list[float]:
    """min(pi_trainer / pi_sampler, cap) of each token.

    `cap` is at least 1. A logprob that is not finite gives a weight of NaN, which the engine
    counts as a gradient that is not finite.

    >>> [round(weight, 4) for weight in importance_weights([-1.0, 0.0], [-1.0, -3.0], 2.0)]
    [1.0, 2.0]
    """
    return [
        min(math.exp(min(new - old, LARGEST)), cap) if math.isfinite(new - old) else math.nan
        for new, old in zip(trainer_logprobs, sampler_logprobs, strict=True)
    ]


def corrected(
    data: Sequence[Datum], trainer_logprobs: Sequence[Sequence[float]], cap: float
) -> tuple[list[Datum], float]:
    """The data as the trainer sees them, and the share of trained tokens whose weight is the cap.

    `trainer_logprobs` are those before any update, a row for each datum. They take the place of
    the sampler's, so that the ratio that is clipped is of what training changes alone, and the
    advantages are multiplied by the weights. The share is 0.0 where nothing is trained on.
    """
    rows: list[Datum] = []
    capped = trained = 0
    for datum, logprobs in zip(data, trainer_logprobs, strict=True):
        weights = importance_weights(logprobs, datum.sampler_logprobs, cap)
        advantages = (
            weight * advantage if mask else 0.0
            for weight, advantage, mask in zip(weights, datum.advantages, datum.mask, strict=True)
        )
        rows.append(replace(datum, sampler_logprobs=tuple(logprobs), advantages=tuple(advantages)))
        trained += datum.num_trained
        capped += sum(w >= cap for w, mask in zip(weights, datum.mask, strict=True) if mask)
    return rows, capped / trained if trained else 0.0


def untrained(data: Sequence[Datum]) -> list[Datum]:
    """The same data with advantages of zero: an engine gives their logprobs and adds nothing."""
    return [replace(datum, advantages=(0.0,) * len(datum.advantages)) for datum in data]
