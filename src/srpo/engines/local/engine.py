"""The five verbs on one transformers model.

All weights are trained, or adapters beside them (`adapters`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from srpo.engines import Drafts
from srpo.engines.local.adapters import (
    adapter_state,
    has_adapters,
    load_adapters_into,
    merged_state,
)
from srpo.engines.local.decoder import PLAIN, Passes
from srpo.engines.local.learning import accumulate
from srpo.engines.local.loading import network_of
from srpo.engines.local.network import AnyNetwork
from srpo.engines.local.optimizing import Optimizer, Precision
from srpo.engines.local.sampling import OwnSampler, Sampler
from srpo.engines.local.weights import load_weights_into
from srpo.errors import ModelError
from srpo.types import Adam, Clip, Datum, Sample, Sampling

OPTIMIZER_FILE = "optimizer.safetensors"
ADAPTER_FILE = "adapter.safetensors"


class LocalEngine:
    """Training and sampling with one set of weights.

    `folder` is where `save` writes. Its own sampler computes in the same `dtype` on the same
    weights as the trainer, so it is never stale; another one is told when they change.
    """

    def __init__(
        self,
        model: Any,
        folder: Path,
        *,
        dtype: torch.dtype = torch.float32,
        micro_batch_tokens: int = 1024,
        sampler_rows: int = 512,
        training: Passes = PLAIN,
        moments: Precision = "float32",
        sampler: Sampler | None = None,
    ) -> None:
        """`sampler` draws in place of the engine's own, for which `sampler_rows` is meant.

        Raises `ModelError` if that, or `moments`, cannot be had for this model.
        """
        self.model = model
        self._folder = folder
        self._micro_batch_tokens = micro_batch_tokens
        self._network: AnyNetwork = network_of(model, dtype, training)
        device = next(model.parameters()).device
        self._sampler = sampler or OwnSampler(self._network, sampler_rows, device)
        self._adapted = has_adapters(model)
        trained = {name: w for name, w in model.named_parameters() if w.requires_grad}
        self._optimizer = Optimizer(trained, moments)
        self._finite = True  # all logprobs of trained tokens since the last step

    @property
    def note(self) -> str:
        """What a user should know of how the model is computed; often nothing."""
        return self._network.note

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """See `Engine.sample`."""
        return self._sampler.sample(prompts, n, how, drafts)

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        """See `Engine.forward_backward`."""
        logprobs = accumulate(self._network, data, clip, self._micro_batch_tokens)
        self._finite &= all(map(math.isfinite, chain.from_iterable(logprobs)))
        return logprobs

    def optim_step(self, how: Adam) -> dict[str, float]:
        """See `Engine.optim_step`. Parameters without a gradient stay as they are."""
        norm = self._optimizer.step(how) if self._finite else math.nan
        self._sampler.weights_changed()
        self._clear()
        return {"grad_norm": norm}

    def save(self, name: str) -> str:
        """Write `folder/name`: the model in Hugging Face format, and the optimizer's moments.

        Adapters are merged into the model, and written beside it as they are.
        """
        target = self._folder / name
        target.mkdir(parents=True, exist_ok=True)
        if self._adapted:
            self.model.save_pretrained(target, state_dict=merged_state(self.model))
            save_file(adapter_state(self.model), target / ADAPTER_FILE)
        else:
            self.model.save_pretrained(target)
        save_file(self._optimizer.tensors(), target / OPTIMIZER_FILE)
        return str(target)

    def load(self, ref: str) -> None:
        """See `Engine.load`. Raises `ModelError` if `ref` is not a checkpoint of this model."""
        folder = Path(ref)
        if self._adapted:
            if not (folder / ADAPTER_FILE).is_file():
                raise ModelError(f"{folder}: {ADAPTER_FILE} is missing; see model.lora_rank")
            load_adapters_into(self.model, load_file(folder / ADAPTER_FILE), str(folder))
        else:
            load_weights_into(self.model, folder)
        self._sampler.weights_changed()
        self._clear()
        if not (folder / OPTIMIZER_FILE).is_file():
            raise ModelError(f"{folder}: {OPTIMIZER_FILE} is missing; not a checkpoint of srpo")
        self._optimizer.load(load_file(folder / OPTIMIZER_FILE))

    def _clear(self) -> None:
        self._optimizer.clear()
        self._finite = True
