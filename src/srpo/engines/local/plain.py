"""Any causal LM of transformers through its own forward pass: slower, and right for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from srpo.engines.local.heads import OutputHead
from srpo.engines.local.limits import MAX_LOGITS, VERIFY_TOKENS
from srpo.engines.local.network import Look, Row, padded


class PlainCache:
    """A transformers cache with the mask and positions that left-padded prompts need."""

    def __init__(self, keys_values: Any, mask: Tensor) -> None:
        self.keys_values = keys_values
        self.mask = mask  # [B, columns filled]; 1 where a token is real

    def select(self, rows: Tensor) -> None:
        """Keep only these rows."""
        self.keys_values.batch_select_indices(rows)
        self.mask = self.mask[rows]

    def replace(self, rows: Tensor, other: PlainCache) -> None:
        """Not every model's cache has a place for each row."""
        raise NotImplementedError


class NoPrefixes:
    """Nothing is shared: each row carries its whole datum."""

    def backward(self) -> None:
        """Nothing gathered, nothing to carry back."""


class PlainNetwork:
    """A causal LM through `model(...)`."""

    shares_prefixes = False
    refills = False
    column_cost = 0.0
    same_without_gradients = True

    def __init__(
        self, model: Any, dtype: torch.dtype, device: torch.device, note: str = ""
    ) -> None:
        self.note = note
        self._model = model
        self._device = device
        self._autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
        self._head = OutputHead(model)

    @torch.no_grad()
    def prefill(
        self, prompts: Sequence[Sequence[int]], n: int, room: int
    ) -> tuple[Tensor, PlainCache]:
        """Each prompt once; its keys and values are then repeated for its n rows."""
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, prompt in enumerate(prompts):
            ids[i, longest - len(prompt) :] = torch.tensor(prompt)
            mask[i, longest - len(prompt) :] = 1
        mask = mask.to(self._device)
        cache = DynamicCache(config=self._model.config)
        logits = self._forward(ids.to(self._device), mask, _positions(mask), cache)
        cache.batch_repeat_interleave(n)
        repeated = PlainCache(cache, mask.repeat_interleave(n, dim=0))
        return logits.repeat_interleave(n, dim=0), repeated

    @torch.no_grad()
    def decode(self, tokens_B: Tensor, cache: PlainCache) -> Tensor:
        """One token a row."""
        cache.mask = torch.cat((cache.mask, cache.mask.new_ones(len(tokens_B), 1)), dim=1)
        positions = cache.mask.sum(dim=1, keepdim=True) - 1
        return self._forward(tokens_B[:, None], cache.mask, positions, cache.keys_values)

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        with self._autocast:
            logits: Tensor = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits
        return logits[:, -1].float()

    @torch.no_grad()
    def verify(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        drafts: Sequence[Sequence[int]],
        room: int,
        look: Look,
    ) -> PlainCache:
        """Whole rows, a few at a time, without a cache: not every model's can be wound back."""
        order = [i for i in range(len(drafts)) if drafts[i]]
        order.sort(key=lambda i: len(prompts[i // n]) + len(drafts[i]))
        longest = max(len(prompts[i // n]) + len(drafts[i]) - 1 for i in order)
        at_once = max(1, VERIFY_TOKENS // longest)
        for first in range(0, len(order), at_once):
            rows = order[first : first + at_once]
            self._look_at([(i, prompts[i // n], drafts[i]) for i in rows], look)
        return PlainCache(None, torch.empty(0))

    def _look_at(
        self, rows: Sequence[tuple[int, Sequence[int], Sequence[int]]], look: Look
    ) -> None:
        """Forward pass of (row, prompt, draft), padded right; place j is predicted just before."""
        contexts = [(*prompt, *draft[:-1]) for _, prompt, draft in rows]
        places = [
            (b, i, j, len(prompt))
            for b, (i, prompt, draft) in enumerate(rows)
            for j in range(len(draft))
        ]
        table = torch.tensor(places, device=self._device)
        with self._autocast:
            hidden_BTW = self._head.hidden(*self._padded(contexts))
            for part in torch.split(table, max(1, MAX_LOGITS // self._head.vocabulary)):
                batch_N, rows_N, places_N, starts_N = part.unbind(dim=1)
                logits_NV = self._head.logits(hidden_BTW[batch_N, starts_N - 1 + places_N])
                look(rows_N, places_N, logits_NV.float())

    def resume(
        self, contexts: Sequence[Sequence[int]], rows: Tensor, cache: PlainCache, room: int
    ) -> tuple[Tensor, PlainCache]:
        """The contexts as prompts: their keys and values are computed a second time."""
        return self.prefill(contexts, 1, room)

    def prefixes(self, prefixes: Sequence[Sequence[int]]) -> NoPrefixes:
        """Nothing to run ahead."""
        return NoPrefixes()

    def logprobs(self, rows: Sequence[Row], prefixes: NoPrefixes) -> Tensor:
        """Whole rows, padded right, through the model's own forward pass."""
        ids_BT, real_BT = self._padded([row.tokens[:-1] for row in rows])
        targets = torch.tensor([t for row in rows for t in row.tokens[1:]], device=self._device)
        each = [row.datum.temperature for row in rows for _ in row.tokens[1:]]
        temperature = torch.tensor(each, device=self._device)
        with self._autocast:
            hidden_BTW = self._head.hidden(ids_BT, real_BT)
            return self._head.logprobs(hidden_BTW[real_BT], targets, temperature)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] padded right, and which of them are real."""
        ids_BT, lengths_B = padded(rows, self._device)
        places_T = torch.arange(ids_BT.shape[1], device=self._device)
        return ids_BT, places_T < lengths_B[:, None]


def _positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
