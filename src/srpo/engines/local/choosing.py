"""One token a row: from logits to what is drawn from, to a draw, to what a draft notes of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from srpo.engines import DRAFT_MASS
from srpo.engines.local.limits import MAX_CHOSEN_LOGITS
from srpo.types import Sampling


@dataclass(frozen=True, slots=True)
class Noted:
    """The likeliest tokens of each row, likeliest first: ids and probabilities [N, k].

    Entries that a draft does not need (see DRAFT_MASS) have probability zero.
    """

    ids: Tensor
    probs: Tensor


@dataclass(frozen=True, slots=True)
class Chosen:
    """One token a row, its logprob, and what a draft notes of its place (if any are made)."""

    tokens: Tensor
    logprobs: Tensor
    noted: Noted | None


def choose(logits: Tensor, how: Sampling, generator: torch.Generator) -> Chosen:
    """One token a row, drawn from what `how` makes of the logits [N, V].

    Some rows at a time, for each step on the way makes a table of its own.
    """
    random = random_heights(len(logits), generator) if how.temperature else None
    rows = max(1, MAX_CHOSEN_LOGITS // logits.shape[1])
    parts = [slice(first, first + rows) for first in range(0, len(logits), rows)]
    chosen = [_choose(logits[p], how, None if random is None else random[p]) for p in parts]
    if len(chosen) == 1:
        return chosen[0]
    noted = [part.noted for part in chosen if part.noted is not None]
    return Chosen(
        torch.cat([part.tokens for part in chosen]),
        torch.cat([part.logprobs for part in chosen]),
        Noted(torch.cat([n.ids for n in noted]), torch.cat([n.probs for n in noted]))
        if noted
        else None,
    )


def _choose(logits: Tensor, how: Sampling, random: Tensor | None) -> Chosen:
    """As `choose`, of these rows alone; `random` [N, 1] is None where drawing is greedy."""
    logprobs = scaled(logits, how)
    if random is None:
        tokens = logprobs.argmax(dim=-1)
        probs = proposal(logprobs, how) if how.draft_top_k else logprobs
    else:
        probs = _cut(logprobs, how)
        tokens = draw_from(probs, random)
    noted = note(_summing_to_one(probs, how), how.draft_top_k) if how.draft_top_k else None
    return Chosen(tokens, logprobs.gather(1, tokens[:, None])[:, 0], noted)


def scaled(logits: Tensor, how: Sampling) -> Tensor:
    """Logprobs under softmax(logits / temperature), at temperature 1 where `how` is greedy."""
    return torch.log_softmax(logits / (how.temperature or 1.0), dim=-1)


def proposal(logprobs: Tensor, how: Sampling) -> Tensor:
    """The probabilities that tokens are drawn from, which sum to one in each row."""
    if how.temperature == 0:
        likeliest = logprobs.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(logprobs).scatter_(1, likeliest, 1.0)
    return _summing_to_one(_cut(logprobs, how), how)


def random_heights(count: int, generator: torch.Generator) -> Tensor:
    """A random number in (0, 1] for each row [N, 1], so that probability zero is never drawn."""
    return 1.0 - torch.rand(
        count, 1, generator=generator, device=generator.device, dtype=torch.float64
    )


def draw_from(probs: Tensor, random: Tensor) -> Tensor:
    """One index a row, in proportion to `probs`: where the running sum passes a random height.

    One random number a row, of `random_heights`: a race of one a token costs a fifth of the
    sampling on a CPU. float64, because the error of a running sum grows with the vocabulary.
    Where `probs` are not finite (of weights that training has spoilt), any index: the trainer
    meets the same numbers, and skips the update.
    """
    heights = torch.cumsum(probs, dim=-1, dtype=torch.float64)
    drawn = torch.searchsorted(heights, random * heights[:, -1:])[:, 0]
    return drawn.clamp_(max=probs.shape[-1] - 1)


def note(probs: Tensor, k: int) -> Noted:
    """The fewest likely tokens of each row that reach DRAFT_MASS together, at most `k`."""
    top, ids = probs.topk(min(k, probs.shape[-1]), dim=-1)
    before = top.cumsum(dim=-1) - top
    return Noted(ids, top.masked_fill(before >= DRAFT_MASS, 0.0))


def _cut(logprobs: Tensor, how: Sampling) -> Tensor:
    """Probabilities with what lies outside the nucleus set to zero; they may sum to less."""
    return logprobs.exp() if how.top_p >= 1 else _nucleus(logprobs.exp(), how.top_p)


def _summing_to_one(probs: Tensor, how: Sampling) -> Tensor:
    return probs if how.top_p >= 1 else probs / probs.sum(dim=-1, keepdim=True)


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Zero outside the smallest set of tokens whose probabilities reach `top_p` together."""
    ordered, indices = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return probs.scatter(1, indices, ordered.masked_fill(before >= top_p, 0.0))
