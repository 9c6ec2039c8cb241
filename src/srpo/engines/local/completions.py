"""Completions that are being drawn: one row each, of its own length."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from srpo.engines.local.choosing import Chosen, Noted
from srpo.types import Draft, Sample, Sampling


class Completions:
    """Tokens of B completions so far, their logprobs, and what drafts note of each place."""

    def __init__(self, num_rows: int, how: Sampling, device: torch.device) -> None:
        B, T, k = num_rows, how.max_tokens, how.draft_top_k
        self._how = how
        self._stop_ids = torch.tensor(how.stop_ids, dtype=torch.long, device=device)
        self.tokens_BT = torch.zeros(B, T, dtype=torch.long, device=device)
        self.logprobs_BT = torch.zeros(B, T, device=device)
        self.lengths_B = torch.zeros(B, dtype=torch.long, device=device)
        self.reused_B = torch.zeros(B, dtype=torch.long, device=device)
        self.top_ids_BTk = torch.zeros(B, T, k, dtype=torch.long, device=device)
        self.top_probs_BTk = torch.zeros(B, T, k, device=device)

    def take(self, rows: Tensor, chosen: Chosen, running: Tensor) -> Tensor:
        """Add what was chosen to those of `rows` that are running; which of them go on."""
        self._append(rows[running], chosen, running)
        return running & ~self._ended(rows, chosen.tokens)

    def unfinished(self) -> Tensor:
        """Rows that neither ended with a stop nor reached the limit."""
        last = self.tokens_BT.gather(1, (self.lengths_B - 1).clamp(min=0)[:, None])[:, 0]
        ended = self._ended(torch.arange(len(last), device=last.device), last)
        return (~(ended & (self.lengths_B > 0))).nonzero()[:, 0]

    def _ended(self, rows: Tensor, last: Tensor) -> Tensor:
        """Whether each of `rows`, whose newest token is in `last`, is complete."""
        stopped = torch.isin(last, self._stop_ids)
        return stopped | (self.lengths_B[rows] >= self._how.max_tokens)

    def _append(self, rows: Tensor, chosen: Chosen, which: Tensor) -> None:
        """Add to each of `rows` the token that `chosen` has for it, where `which` is true."""
        at = self.lengths_B[rows]
        self.tokens_BT[rows, at] = chosen.tokens[which]
        self.logprobs_BT[rows, at] = chosen.logprobs[which]
        if chosen.noted is not None:
            self.note(rows, at, Noted(chosen.noted.ids[which], chosen.noted.probs[which]))
        self.lengths_B[rows] = at + 1

    def note(self, rows: Tensor, at: Tensor, noted: Noted) -> None:
        """Keep what drafts note of place `at` of `rows`."""
        k = noted.ids.shape[1]  # the vocabulary may be smaller than what is asked for
        self.top_ids_BTk[rows, at, :k] = noted.ids
        self.top_probs_BTk[rows, at, :k] = noted.probs

    def samples(self) -> list[Sample]:
        """All completions, finished."""
        stops = set(self._how.stop_ids)
        lengths = self.lengths_B.tolist()
        tables = (self.tokens_BT.tolist(), self.logprobs_BT.tolist(), self.reused_B.tolist())
        drafts = (
            self._drafts(lengths, tables[0]) if self._how.draft_top_k else [None] * len(lengths)
        )
        samples = []
        for length, draft, tokens, logprobs, reused in zip(lengths, drafts, *tables, strict=True):
            kept = tuple(tokens[:length])
            reason = "stop" if kept[-1] in stops else "length"
            samples.append(Sample(kept, tuple(logprobs[:length]), reason, reused, draft))  # type: ignore[arg-type]
        return samples

    def _drafts(self, lengths: list[int], tokens: list[list[int]]) -> list[Draft]:
        places = torch.arange(self.tokens_BT.shape[1], device=self.lengths_B.device)
        real_BT = places < self.lengths_B[:, None]
        probs_Nk = self.top_probs_BTk[real_BT]
        noted_Nk = probs_Nk > 0
        counts = iter(noted_Nk.sum(dim=1).tolist())
        ids = iter(self.top_ids_BTk[real_BT][noted_Nk].tolist())
        logprobs = iter(probs_Nk[noted_Nk].log().tolist())
        drafts = []
        for length, row in zip(lengths, tokens, strict=True):
            own = list(islice(counts, length))
            top_ids = tuple(tuple(islice(ids, count)) for count in own)
            top_logprobs = tuple(tuple(islice(logprobs, count)) for count in own)
            drafts.append(Draft(tuple(row[:length]), top_ids, top_logprobs))
        return drafts
