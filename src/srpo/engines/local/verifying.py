"""Drafts against the weights as they are now: how much of each is taken over, and what follows.

Speculative sampling (arXiv 2211.17192) with an earlier policy's completion as the draft, as in
SPEC-RL (arXiv 2509.23232). Of the earlier policy only its likeliest tokens at each place are
known; what is not known counts as zero, which costs acceptance and no exactness.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from srpo.engines.local.choosing import Chosen, draw_from, note, proposal, random_heights, scaled
from srpo.engines.local.completions import Completions
from srpo.types import Draft, Sampling


class Verification:
    """The drafts of B rows (empty where there is none), and what is found out about each."""

    def __init__(
        self,
        drafts: Sequence[Draft | None],
        how: Sampling,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.tokens = [_usable(draft, how) for draft in drafts]
        self._how, self._generator, self._device = how, generator, device
        B, L = len(drafts), max(1, *(len(tokens) for tokens in self.tokens))
        self._lengths_B = torch.tensor([len(tokens) for tokens in self.tokens], device=device)
        padded = [[*tokens, *[0] * (L - len(tokens))] for tokens in self.tokens]
        self._tokens_BL = torch.tensor(padded, device=device)
        self._old_ids_BLk, self._old_probs_BLk = _tables(drafts, self.tokens, L, device)
        self._random_BL = torch.rand(B, L, generator=generator, device=device, dtype=torch.float64)
        self._taken_BL = torch.zeros(B, L, dtype=torch.bool, device=device)
        self._made = Completions(B, how, device)

    def look(self, rows_N: Tensor, places_N: Tensor, logits_NV: Tensor) -> None:
        """Judge the draft tokens at these places, by the logits that the model gives there.

        Draft token x is taken over with probability min(1, lenience * p(x) / q(x)), p now and q
        then, if q is noted for it, else never. What p is at each place is kept.
        """
        logprobs = scaled(logits_NV, self._how)
        probs = proposal(logprobs, self._how)
        tokens = self._tokens_BL[rows_N, places_N][:, None]
        same = self._old_ids_BLk[rows_N, places_N] == tokens
        old = torch.where(same, self._old_probs_BLk[rows_N, places_N], 0.0).sum(dim=1)
        new = probs.gather(1, tokens)[:, 0]
        below = self._random_BL[rows_N, places_N] * old < self._how.lenience * new
        self._taken_BL[rows_N, places_N] = below & (old > 0)
        made = self._made
        made.tokens_BT[rows_N, places_N] = tokens[:, 0]
        made.logprobs_BT[rows_N, places_N] = logprobs.gather(1, tokens)[:, 0]
        if self._how.draft_top_k:
            made.note(rows_N, places_N, note(probs, self._how.draft_top_k))

    def taken_over(self) -> Completions:
        """Completions that hold what is taken over of each draft."""
        self._made.reused_B = self._taken_BL.long().cumprod(dim=1).sum(dim=1)
        self._made.lengths_B = self._made.reused_B.clone()
        return self._made

    def choose(self, logits: Tensor, rows: Tensor) -> Chosen:
        """The token after what was taken over, for `rows`, from the logits [N, V] there.

        Where a draft token was rejected: in proportion to p(z) - min(q(z), lenience * p(z)), so
        that at lenience 1 (and below) this place as a whole is a draw from p. Nothing left: by
        rounding only, as q is then p; drawn from p. Where the draft had ended: from p.
        """
        logprobs = scaled(logits, self._how)
        probs = proposal(logprobs, self._how)
        at = self._made.reused_B[rows]
        rejected = at < self._lengths_B[rows]
        at = at.clamp(max=self._tokens_BL.shape[1] - 1)
        old_ids = self._old_ids_BLk[rows, at]
        old = torch.where(rejected[:, None], self._old_probs_BLk[rows, at], 0.0)
        given = torch.minimum(old, self._how.lenience * probs.gather(1, old_ids))
        left = probs.scatter_add(1, old_ids, -given).clamp_(min=0.0)
        left = torch.where(left.sum(dim=1, keepdim=True) > 0, left, probs)
        tokens = draw_from(left, random_heights(len(left), self._generator))
        noted = note(probs, self._how.draft_top_k) if self._how.draft_top_k else None
        return Chosen(tokens, logprobs.gather(1, tokens[:, None])[:, 0], noted)


def _usable(draft: Draft | None, how: Sampling) -> tuple[int, ...]:
    """A draft's tokens up to the first stop, which it includes, and to the limit."""
    tokens = draft.tokens[: how.max_tokens] if draft is not None else ()
    ends = (i + 1 for i, token in enumerate(tokens) if token in how.stop_ids)
    return tokens[: next(ends, len(tokens))]


def _tables(
    drafts: Sequence[Draft | None], tokens: Sequence[tuple[int, ...]], L: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What the drafts note: ids and probabilities [B, L, k], probability zero where nothing is."""
    k = max((len(row) for draft in drafts if draft is not None for row in draft.top_ids), default=1)
    ids = torch.zeros(len(drafts), L, max(1, k), dtype=torch.long)
    logprobs = torch.full(ids.shape, float("-inf"))
    for i, (draft, used) in enumerate(zip(drafts, tokens, strict=True)):
        if draft is not None and used:
            counts = [len(row) for row in draft.top_ids[: len(used)]]
            noted = torch.arange(ids.shape[2]) < torch.tensor(counts)[:, None]
            places = slice(len(used))
            flat = [z for row in draft.top_ids[places] for z in row]
            ids[i, places][noted] = torch.tensor(flat, dtype=torch.long)
            flat_logprobs = [value for row in draft.top_logprobs[places] for value in row]
            logprobs[i, places][noted] = torch.tensor(flat_logprobs)
    return ids.to(device), logprobs.exp().to(device)
