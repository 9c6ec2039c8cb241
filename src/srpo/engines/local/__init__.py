"""The local engine: any causal LM of transformers, on the CPU or one GPU, all weights trained."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from srpo.engines import Drafts
from srpo.engines.local.learning import accumulate
from srpo.engines.local.loading import load_weights_into, network_of
from srpo.engines.local.network import AnyNetwork
from srpo.engines.local.sampling import draw
from srpo.errors import ModelError
from srpo.types import Adam, Clip, Datum, Sample, Sampling

OPTIMIZER_FILE = "optimizer.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")


class LocalEngine:
    """The five verbs on one transformers model.

    `folder` is where `save` writes. Sampler and trainer compute in the same `dtype` on the same
    weights, so there is never a stale sampler.
    """

    def __init__(
        self,
        model: Any,
        folder: Path,
        *,
        dtype: torch.dtype = torch.float32,
        micro_batch_tokens: int = 1024,
        sampler_rows: int = 512,
    ) -> None:
        self.model = model
        self._folder = folder
        self._micro_batch_tokens = micro_batch_tokens
        self._sampler_rows = sampler_rows
        self._device: torch.device = next(model.parameters()).device
        self._network: AnyNetwork = network_of(model, dtype)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
        self._finite = True  # all logprobs of trained tokens since the last step

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """See `Engine.sample`."""
        generator = torch.Generator(device=self._device).manual_seed(how.seed)
        return draw(self._network, prompts, n, how, self._sampler_rows, generator, drafts)

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        """See `Engine.forward_backward`."""
        logprobs = accumulate(self._network, data, clip, self._micro_batch_tokens)
        self._finite &= all(map(math.isfinite, chain.from_iterable(logprobs)))
        return logprobs

    def optim_step(self, how: Adam) -> dict[str, float]:
        """See `Engine.optim_step`. Parameters without a gradient stay as they are."""
        limit = how.max_grad_norm or float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        if not self._finite or not math.isfinite(norm):
            self._clear()
            return {"grad_norm": math.nan if math.isfinite(norm) else norm}
        for group in self._optimizer.param_groups:
            group.update(lr=how.lr, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay)
        self._optimizer.step()
        self._clear()
        return {"grad_norm": norm}

    def save(self, name: str) -> str:
        """Write `folder/name`: the model in Hugging Face format, and the optimizer's moments.

        Written aside and renamed, so `folder/name` is whole or absent.
        """
        target, aside = self._folder / name, self._folder / f".{name}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        self.model.save_pretrained(aside)
        save_file(self._moments(), aside / OPTIMIZER_FILE)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        return str(target)

    def load(self, ref: str) -> None:
        """See `Engine.load`. Raises `ModelError` if `ref` is not a checkpoint of this model."""
        folder = Path(ref)
        load_weights_into(self.model, folder)
        self._clear()
        self._optimizer.state.clear()
        if not (folder / OPTIMIZER_FILE).is_file():
            raise ModelError(f"{folder}: {OPTIMIZER_FILE} is missing; not a checkpoint of srpo")
        moments = load_file(folder / OPTIMIZER_FILE, device=str(self._device))
        for name, weight in self.model.named_parameters():
            if f"{name}.step" in moments:
                self._optimizer.state[weight] = {
                    "step": moments[f"{name}.step"].cpu(),
                    **{kind: moments[f"{name}.{kind}"] for kind in MOMENTS},
                }

    def _clear(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._finite = True

    def _moments(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for name, weight in self.model.named_parameters():
            state = self._optimizer.state.get(weight)
            if state:
                for kind in ("step", *MOMENTS):
                    tensors[f"{name}.{kind}"] = state[kind].detach().cpu().contiguous()
        return tensors
