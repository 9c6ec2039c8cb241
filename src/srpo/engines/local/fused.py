"""Llama-family models: prompts prefilled once and shared by their group, in both passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from srpo.engines.local.adapters import has_adapters
from srpo.engines.local.attention import (
    KeyValue,
    Visible,
    attend_cached,
    attend_causal,
    attend_to_self,
)
from srpo.engines.local.decoder import (
    NORMED_HEADS,
    PLAIN,
    Decoder,
    Passes,
    Weights,
)
from srpo.engines.local.limits import MAX_LOGITS, PREFILL_TOKENS, VERIFY_TOKENS
from srpo.engines.local.logprobs import token_logprobs
from srpo.engines.local.model_shape import kept_bytes
from srpo.engines.local.network import Look, Row, padded


class FusedCache:
    """Keys and values in place: prompt columns first (padded right), then one a decoded token.

    Rows write side by side into one column, until `rewind` gives each a column of its own.
    """

    def __init__(
        self, weights: Weights, layers: list[KeyValue], lengths_B: Tensor, num_filled: int
    ) -> None:
        self.weights = weights  # of the policy version that began this batch
        self.layers = layers  # each [B, K, columns, D]
        self.prompt_lengths_B = lengths_B
        self.num_prompt = num_filled
        self.next_positions_B = lengths_B.clone()
        self.num_filled = num_filled
        self.ragged = False
        columns = torch.arange(layers[0][0].shape[2], device=lengths_B.device)
        padding = (columns[None] >= lengths_B[:, None]) & (columns[None] < num_filled)
        dtype = layers[0][0].dtype
        self.mask = torch.zeros(padding.shape, dtype=dtype, device=lengths_B.device)
        self.mask = self.mask.masked_fill_(padding, float("-inf"))[:, None, None]

    def select(self, rows: Tensor) -> None:
        """Keep only these rows; copies the filled columns only."""
        self.prompt_lengths_B = self.prompt_lengths_B[rows]
        self.next_positions_B = self.next_positions_B[rows]
        self.mask = self.mask[rows]
        for i, (keys, values) in enumerate(self.layers):  # never two of all layers
            self.layers[i] = (self._kept(keys, rows), self._kept(values, rows))
        if self.ragged:
            self.num_filled = self._num_filled()

    def rewind(self, rows: Tensor, positions_B: Tensor) -> None:
        """Keep only these rows, and go on from these positions: what lies there is forgotten."""
        self.ragged = True
        self.select(rows)
        columns = torch.arange(self.mask.shape[-1], device=positions_B.device)[None]
        lengths, P = self.prompt_lengths_B[:, None], self.num_prompt
        places = torch.where(columns < P, columns, columns - P + lengths)
        real = (columns >= P) | (columns < lengths)
        unseen = ~(real & (places < positions_B[:, None]))
        self.mask = torch.zeros_like(self.mask).masked_fill_(unseen[:, None, None], float("-inf"))
        self.next_positions_B = positions_B
        self.num_filled = self._num_filled()

    def replace(self, rows: Tensor, other: FusedCache) -> None:
        """Put the rows of `other`, just prefilled with no longer prompts, in the place of these.

        Each row has a column of its own from now on.
        """
        if not self.ragged:  # what is not written yet is looked past
            self.mask[..., self.num_filled :] = float("-inf")
            for table in (table for layer in self.layers for table in layer):
                table[:, :, self.num_filled :] = 0.0
            self.ragged = True
        length = other.num_prompt
        for mine, its in zip(self.layers, other.layers, strict=True):
            for table, new in zip(mine, its, strict=True):
                table[rows, :, :length] = new[:, :, :length]
        self.mask[rows] = float("-inf")
        self.mask[rows, :, :, :length] = other.mask[..., :length]
        self.prompt_lengths_B[rows] = other.prompt_lengths_B
        self.next_positions_B[rows] = other.next_positions_B
        self.num_filled = self._num_filled()

    def columns(self) -> Tensor:
        """Where each row writes next. A finished row that has no room left stays in its last."""
        decoded = self.next_positions_B - self.prompt_lengths_B
        columns = torch.where(decoded < 0, self.next_positions_B, decoded + self.num_prompt)
        return columns.clamp(max=self.mask.shape[-1] - 1)

    def _num_filled(self) -> int:
        """No row writes further right than here."""
        return max(int(self.columns().max()), self.num_prompt - 1)

    def _kept(self, table: Tensor, rows: Tensor) -> Tensor:
        shape = (len(rows), *table.shape[1:])
        # rows of their own lengths look past columns they have not written: no NaN may lie there
        kept = table.new_zeros(shape) if self.ragged else table.new_empty(shape)
        filled = slice(self.num_filled)
        torch.index_select(table[:, :, filled], 0, rows, out=kept[:, :, filled])
        return kept


class FusedPrefixes:
    """Prefix keys and values as leaves that gather gradients, and the graph behind them."""

    def __init__(self, weights: Weights, graph: list[KeyValue], lengths_P: Tensor) -> None:
        self.weights = weights
        self.lengths_P = lengths_P
        self._graph = graph
        self.leaves = [(k.detach().requires_grad_(), v.detach().requires_grad_()) for k, v in graph]

    def backward(self) -> None:
        """One backward pass through all prefixes of the chunk."""
        pairs = [
            (made, leaf.grad)
            for whole, leaves in zip(self._graph, self.leaves, strict=True)
            for made, leaf in zip(whole, leaves, strict=True)
            if leaf.grad is not None and made.requires_grad
        ]
        if pairs:
            torch.autograd.backward([made for made, _ in pairs], [grad for _, grad in pairs])


class FusedNetwork:
    """A Llama-family model through `Decoder`."""

    note = ""
    shares_prefixes = True
    refills = True

    def __init__(
        self, model: Any, dtype: torch.dtype, device: torch.device, training: Passes = PLAIN
    ) -> None:
        self._decoder = Decoder(model, dtype, training)
        self._device = device
        # what adapters add is computed: the first backward pass through it takes its graph away
        self._merges = has_adapters(model)
        # compiled code without gradients keeps other numbers in bfloat16 on its way
        self.same_without_gradients = not training.compiled
        config = model.config
        kv = self._decoder.num_kv * self._decoder.head_size
        query = self._decoder.num_heads * self._decoder.head_size
        widths = (config.hidden_size, query, kv, config.intermediate_size)
        normed = config.model_type in NORMED_HEADS
        own = kept_bytes(widths, dtype.itemsize, normed_heads=normed)
        self.column_cost = 2 * kv * dtype.itemsize / own

    @torch.no_grad()
    def prefill(
        self, prompts: Sequence[Sequence[int]], n: int, room: int
    ) -> tuple[Tensor, FusedCache]:
        """Each prompt once, a few at a time; its keys and values are copied to its n rows."""
        ids_PT, lengths_P = padded(prompts, self._device)
        weights = self._decoder.weights()
        P, longest = ids_PT.shape
        shape = (P * n, self._decoder.num_kv, longest + room, self._decoder.head_size)
        layers = [
            (weights.embedding.new_empty(shape), weights.embedding.new_empty(shape))
            for _ in weights.layers
        ]
        lasts = []
        at_once = max(1, PREFILL_TOKENS // longest)
        for first in range(0, P, at_once):
            part = slice(first, first + at_once)
            rows = slice(first * n, (first + at_once) * n)

            def attend(i: int, q: Tensor, k: Tensor, v: Tensor, rows: slice = rows) -> Tensor:
                for table, new in zip(layers[i], (k, v), strict=True):
                    each = table[rows].view(-1, n, *table.shape[1:])[:, :, :, :longest]
                    each.copy_(new.transpose(1, 2)[:, None])
                return attend_to_self(q, k, v)

            positions = torch.arange(longest, device=self._device).expand(len(ids_PT[part]), -1)
            hidden = self._decoder.hidden(weights, ids_PT[part], positions, attend)
            places = torch.arange(len(hidden), device=self._device)
            lasts.append(hidden[places, lengths_P[part] - 1])
        logits = F.linear(torch.cat(lasts), weights.head).float().repeat_interleave(n, dim=0)
        return logits, FusedCache(weights, layers, lengths_P.repeat_interleave(n), longest)

    @torch.no_grad()
    def decode(self, tokens_B: Tensor, cache: FusedCache) -> Tensor:
        """One token a row, written into the cache's next column, or each into its own."""
        decoder, B = self._decoder, len(tokens_B)
        filled = min(cache.num_filled + 1, cache.mask.shape[-1])
        write = _writer(cache)
        mask = cache.mask[..., :filled]

        def attend(i: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = cache.layers[i]
            write(keys, k)
            write(values, v)
            # the query heads of one key head become its rows: no copy of keys for each head
            rows = q.reshape(B, decoder.num_kv, decoder.groups, decoder.head_size)
            return attend_cached(rows, keys[:, :, :filled], values[:, :, :filled], mask)

        hidden = decoder.hidden(
            cache.weights, tokens_B[:, None], cache.next_positions_B[:, None], attend
        )
        cache.num_filled = filled
        cache.next_positions_B += 1
        return F.linear(hidden[:, 0], cache.weights.head).float()

    @torch.no_grad()
    def verify(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        drafts: Sequence[Sequence[int]],
        room: int,
        look: Look,
    ) -> FusedCache:
        """Prompts once each, then drafts after them, a few rows at a time, into the cache."""
        logits, cache = self.prefill(prompts, n, room)
        begun = torch.tensor([i for i, draft in enumerate(drafts) if draft], device=self._device)
        look(begun, torch.zeros_like(begun), logits[begun])
        width = max(len(draft) for draft in drafts) - 1
        for table in (table for layer in cache.layers for table in layer):
            table[:, :, cache.num_prompt : cache.num_prompt + width] = 0.0  # see `_kept`
        order = sorted(range(len(drafts)), key=lambda i: -len(drafts[i]))
        while order and len(drafts[order[0]]) > 1:  # alike in length, so that little is padding
            at_once = max(1, VERIFY_TOKENS // (len(drafts[order[0]]) - 1))
            rows, order = order[:at_once], order[at_once:]
            self._extend(rows, [drafts[i][:-1] for i in rows], cache, look)
        cache.num_filled += width
        return cache

    def _extend(
        self, which: list[int], drafts: Sequence[Sequence[int]], cache: FusedCache, look: Look
    ) -> None:
        """Drafts of some rows, into the columns after the prompts."""
        ids_BT, lengths_B = padded(drafts, self._device)
        T, num_prompt = ids_BT.shape[1], cache.num_prompt
        rows = torch.tensor(which, device=self._device)
        past_lengths_B = cache.prompt_lengths_B[rows]
        dtype, groups = cache.mask.dtype, self._decoder.groups
        visible = Visible(past_lengths_B, num_prompt, T, groups, dtype)

        def attend(i: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = cache.layers[i]
            past = (keys[rows, :, :num_prompt], values[rows, :, :num_prompt])
            keys[rows, :, num_prompt : num_prompt + T] = k.transpose(1, 2)
            values[rows, :, num_prompt : num_prompt + T] = v.transpose(1, 2)
            return attend_causal(q, k, v, past, visible)

        steps_T = torch.arange(T, device=self._device)
        hidden = self._decoder.hidden(
            cache.weights, ids_BT, past_lengths_B[:, None] + steps_T, attend
        )
        at_N, places_N = (steps_T < lengths_B[:, None]).nonzero(as_tuple=True)
        head = cache.weights.head
        for at, places in zip(
            *(torch.split(x, max(1, MAX_LOGITS // head.shape[0])) for x in (at_N, places_N)),
            strict=True,
        ):
            look(rows[at], places + 1, F.linear(hidden[at, places], head).float())

    def resume(
        self, contexts: Sequence[Sequence[int]], rows: Tensor, cache: FusedCache, room: int
    ) -> tuple[Tensor, FusedCache]:
        """The cache wound back to before the last token of each context, which is run again."""
        lengths = [len(context) for context in contexts]
        cache.rewind(rows, torch.tensor(lengths, device=self._device) - 1)
        last = torch.tensor([context[-1] for context in contexts], device=self._device)
        return self.decode(last, cache), cache

    def prefixes(self, prefixes: Sequence[Sequence[int]]) -> FusedPrefixes:
        """Keys and values of all prefixes, padded right, with the graph kept for `backward`."""
        ids_PT, lengths_P = padded(prefixes, self._device)
        layers: list[KeyValue] = []

        def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            layers.append((k.transpose(1, 2), v.transpose(1, 2)))
            return attend_to_self(q, k, v)

        positions_PT = torch.arange(ids_PT.shape[1], device=self._device).expand(len(prefixes), -1)
        weights = self._decoder.weights()
        self._decoder.hidden(weights, ids_PT, positions_PT, attend)
        # a copy: checkpointed layers call `attend` again in the backward pass
        return FusedPrefixes(weights, list(layers), lengths_P)

    def logprobs(self, rows: Sequence[Row], prefixes: FusedPrefixes) -> Tensor:
        """The rows' own tokens, attending to their prefix and to themselves."""
        ids_BT, lengths_B = padded([row.tokens[:-1] for row in rows], self._device)
        which_B = torch.tensor([row.prefix for row in rows], device=self._device)
        past_lengths_B = prefixes.lengths_P[which_B]
        num_past, num_new = prefixes.leaves[0][0].shape[2], ids_BT.shape[1]
        weights = self._decoder.weights() if self._merges else prefixes.weights
        dtype, groups = weights.embedding.dtype, self._decoder.groups
        visible = Visible(past_lengths_B, num_past, num_new, groups, dtype)

        def attend(i: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = prefixes.leaves[i]
            return attend_causal(q, k, v, (keys[which_B], values[which_B]), visible)

        steps_T = torch.arange(num_new, device=self._device)
        positions_BT = past_lengths_B[:, None] + steps_T
        hidden = self._decoder.hidden(weights, ids_BT, positions_BT, attend)
        real_BT = steps_T < lengths_B[:, None]
        targets = [token for row in rows for token in row.tokens[1:]]
        temperature = [row.datum.temperature for row in rows for _ in row.tokens[1:]]
        return token_logprobs(
            hidden[real_BT],
            weights.head,
            torch.tensor(targets, device=self._device),
            torch.tensor(temperature, device=self._device),
        )


def _writer(cache: FusedCache) -> Callable[[Tensor, Tensor], None]:
    """What puts the new keys or values [B, 1, K, D] of all rows in their place."""
    if not cache.ragged:
        column = cache.num_filled

        def write(table: Tensor, new: Tensor) -> None:
            table[:, :, column] = new[:, 0]

        return write
    columns = cache.columns()
    rows = torch.arange(len(columns), device=columns.device)
    cache.mask[rows, :, :, columns] = 0.0

    def write_each(table: Tensor, new: Tensor) -> None:
        table[rows, :, columns] = new[:, 0]

    return write_each
