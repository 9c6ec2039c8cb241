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
    """Prompts in the order of their turn, longest first; `n` rows each, numbered in that order.

    Longest first, because a cache has no room for longer prompts than it began with.
    """

    def __init__(self, network: AnyNetwork, prompts: Sequence[Sequence[int]], n: int) -> None:
        self._network = network
        self._prompts = prompts
        self._n = n
        self._next = 0

    @property
    def left(self) -> int:
        """How many prompts still wait."""
        return len(self._prompts) - self._next

    def take(self, places: int, room: int) -> Begun | None:
        """As many prompts as fill at most so many places; None if it is none.

        `room`: free columns of their cache, as in `Network.prefill`.
        """
        first, n = self._next, self._n
        prompts = self._prompts[first : first + places // n]
        if not prompts:
            return None
        self._next += len(prompts)
        logits, cache = self._network.prefill(prompts, n, room)
        rows = torch.arange(first * n, self._next * n, device=logits.device)
        return Begun(rows, logits, cache)
