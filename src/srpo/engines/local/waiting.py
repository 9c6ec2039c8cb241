"""Prompts that wait for a place among the rows that are drawn side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srpo.engines.local.network import AnyNetwork, Cache


@dataclass(frozen=True, slots=True)
class Begun:
    """Rows whose turn has come: their numbers [N], the logits after their prompts, their cache."""

    rows: Tensor
    logits: Tensor
    cache: Cache


class Waiting:
    """Rows in the order of their turn: `n` of each prompt, those of the longest prompts first.

    Longest first, because a cache has no room for longer prompts than it began with.
    """

    def __init__(self, network: AnyNetwork, prompts: Sequence[Sequence[int]], n: int) -> None:
        self._network = network
        self._prompts = prompts
        self._n = n
        self._next = 0  # row
        self._longest = 0  # prompt of the cache that was begun last

    def begin(self, places: int, room: int) -> Begun | None:
        """Rows for a new cache with `room` free columns; None if none is left."""
        self._longest = 0
        return self._take(places, room)

    def refill(self, places: int) -> Begun | None:
        """Rows for the places of finished ones; None if none is left that fits well.

        Prompts of less than half the cache's width wait for a cache of their own: in this one
        they would look past so many columns at every step.
        """
        return self._take(places, room=0)

    def _take(self, places: int, room: int) -> Begun | None:
        """Whole prompts as far as they have places, or a part of the next one's rows."""
        first, done = divmod(self._next, self._n)
        whole = 0 if done else places // self._n
        prompts = self._prompts[first : first + max(1, whole)]
        if not prompts or 2 * len(prompts[0]) < self._longest:
            return None
        rows_each = self._n if whole else min(places, self._n - done)
        logits, cache = self._network.prefill(prompts, rows_each, room)
        self._longest = self._longest or len(prompts[0])
        count = len(prompts) * rows_each
        rows = torch.arange(self._next, self._next + count, device=logits.device)
        self._next += count
        return Begun(rows, logits, cache)
