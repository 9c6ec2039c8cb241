"""AdamW on the weights that are trained: its step, and its moments as tensors to save."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from srpo.errors import ModelError
from srpo.types import Adam

Precision = Literal["float32", "8bit"]
MOMENTS = ("exp_avg", "exp_avg_sq")


class Optimizer:
    """torch's AdamW; or torchao's, whose moments take a byte a weight (arXiv 2110.02861)."""

    def __init__(self, parameters: Mapping[str, Tensor], precision: Precision = "float32") -> None:
        """`parameters`: those that are trained, by name.

        Raises `ModelError` if 8 bits are asked for and torchao is not installed.
        """
        self._parameters = parameters
        self._adamw = _adamw_of(precision)(list(parameters.values()), lr=0.0)

    def step(self, how: Adam) -> float:
        """One step with the gradients that are there; returns their norm before clipping.

        If the norm is not finite no weight changes. Gradients stay until `clear`.
        """
        limit = how.max_grad_norm or float("inf")
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters.values(), limit))
        if math.isfinite(norm):
            for group in self._adamw.param_groups:
                group.update(betas=how.betas, eps=how.eps, weight_decay=how.weight_decay)
                if isinstance(group["lr"], Tensor):  # torchao's: compiled, so it must stay one
                    group["lr"].fill_(how.lr)
                else:
                    group["lr"] = how.lr
            self._adamw.step()
        return norm

    def clear(self) -> None:
        """Forget the gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The moments and steps of all weights that have some, as `load` takes them."""
        found = {}
        for name, weight in self._parameters.items():
            for kind, value in self._adamw.state.get(weight, {}).items():
                if isinstance(value, Tensor):
                    for part, tensor in _parts(value):
                        key = f"{name}.{kind}{part}"
                        found[key] = tensor.detach().cpu().contiguous()
        return found

    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave; weights that had no moments have none."""
        self.clear()
        self._adamw.state.clear()
        for name, weight in self._parameters.items():
            if f"{name}.step" in saved:
                state = {"step": saved[f"{name}.step"].cpu().clone()}
                state |= {kind: _joined(saved, f"{name}.{kind}", weight) for kind in MOMENTS}
                self._adamw.state[weight] = state


def _adamw_of(precision: Precision) -> Any:
    if precision == "float32":
        return torch.optim.AdamW
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise ModelError(
            "optimizer.moments is \"8bit\", which needs torchao: pip install 'srpo[quantized]', "
            'or set it to "float32"'
        ) from None
    return AdamW8bit


def _parts(value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor, or what a quantized one is made of."""
    flatten = getattr(value, "__tensor_flatten__", None)
    if flatten is None:
        yield "", value
        return
    for name in flatten()[0]:
        yield f".{name}", getattr(value, name)


def _joined(saved: Mapping[str, Tensor], key: str, weight: Tensor) -> Tensor:
    """A moment of `weight` from its parts."""
    if key in saved:
        return saved[key].to(weight.device)
    from torchao.optim.subclass_8bit import OptimState8bit

    signed = key.endswith(MOMENTS[0])  # the second moment is a square
    empty: Tensor = OptimState8bit.zeros(weight.shape, signed=signed, device=weight.device)
    for name, _ in _parts(empty):
        if f"{key}{name}" not in saved:
            raise ModelError(f"the optimizer's moments lack {key}{name}; see optimizer.moments")
        getattr(empty, name.removeprefix(".")).copy_(saved[f"{key}{name}"])
    return empty
