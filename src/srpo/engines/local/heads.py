"""The output head of any causal LM of transformers, without a whole table of logits in memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from srpo.engines.local.limits import MAX_GRAD_LOGITS
from srpo.engines.local.logprobs import token_logprobs

SAME_PRODUCT = 1e-5  # in units of the largest: a matrix product alone, and no scale or soft cap
LARGE = 1000.0  # logits that a soft cap of tens changes much


class OutputHead:
    """What a model does with its last hidden states, apart from what it does before.

    The model's own forward pass is run for both, with a hook on its output embedding: what comes
    after that (a bias, a scale, a soft cap) is the model's own code, whatever it is. Of a model
    without such an embedding the "hidden states" are the logits themselves, all of them.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._embedding = model.get_output_embeddings()
        self._is_product = self._embedding is not None and self._only_multiplies()

    def hidden(self, ids_BT: Tensor, real_BT: Tensor) -> Tensor:
        """The hidden states [B, T, width] that enter the output embedding; few logits are made."""
        seen: list[Tensor] = []

        def keep(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor]:
            seen.append(given[0])
            return (given[0][:1, -1:].detach(),)

        logits = self._run(ids_BT, keep, attention_mask=real_BT.long())
        if not seen:  # the model multiplies in a way of its own
            self._embedding = None
            return logits
        return seen[0]

    def logits(self, hidden_NW: Tensor) -> Tensor:
        """Logits [N, V] as the model makes them of these hidden states."""
        if self._embedding is None:
            return hidden_NW

        def put(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor]:
            return (hidden_NW[None].to(given[0].dtype),)

        one = torch.zeros(1, 1, dtype=torch.long, device=hidden_NW.device)  # what it gives, is lost
        return self._run(one, put)[0]

    @property
    def vocabulary(self) -> int:
        """Logits of a token."""
        size: int = self._model.config.get_text_config().vocab_size
        return size

    def logprobs(self, hidden_NW: Tensor, targets_N: Tensor, temperature_N: Tensor) -> Tensor:
        """Logprob of each target, float32; the backward pass computes logits again where many."""
        if self._is_product:
            dtype = self._compute_dtype(hidden_NW)
            head = self._embedding.weight.to(dtype)
            return token_logprobs(hidden_NW.to(dtype), head, targets_N, temperature_N)
        rows = max(1, MAX_GRAD_LOGITS // self.vocabulary)
        if len(hidden_NW) <= rows:
            return self._part(hidden_NW, targets_N, temperature_N)
        given = (hidden_NW, targets_N, temperature_N)
        parts = zip(*(torch.split(each, rows) for each in given), strict=True)
        return torch.cat([checkpoint(self._part, *part, use_reentrant=False) for part in parts])

    def _part(self, hidden_NW: Tensor, targets_N: Tensor, temperature_N: Tensor) -> Tensor:
        logits = self.logits(hidden_NW).float() / temperature_N[:, None]
        logprobs: Tensor = -F.cross_entropy(logits, targets_N, reduction="none")
        return logprobs

    def _compute_dtype(self, hidden: Tensor) -> torch.dtype:
        kind = hidden.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype

    @torch.no_grad()
    def _only_multiplies(self) -> bool:
        """Whether logits are the product with the embedding's weight, found out by trying."""
        weight = self._embedding.weight
        if getattr(self._embedding, "bias", None) is not None:
            return False
        probe = torch.ones(2, weight.shape[1], dtype=weight.dtype, device=weight.device)
        probe[1, ::2] = -3.0
        probe *= LARGE / F.linear(probe, weight).abs().max()  # where a soft cap is seen
        product = F.linear(probe, weight)
        gap = (self.logits(probe) - product).abs().max()
        return float(gap) <= SAME_PRODUCT * float(product.abs().max())

    def _run(self, ids: Tensor, hook: Any, **given: Tensor) -> Tensor:
        """The model's forward pass, with something else put in before its output embedding."""
        handle = (
            self._embedding.register_forward_pre_hook(hook) if self._embedding is not None else None
        )
        try:
            logits: Tensor = self._model(input_ids=ids, use_cache=False, **given).logits
        finally:
            if handle:
                handle.remove()
        return logits
