"""Weights read from files in Hugging Face format: all of a model's, finite, in its own names.

transformers reads them, since the names in a file are often not those of the module (experts,
heads), and it alone knows both.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from srpo.errors import ModelError, first_line

# a table of weights that are missing or left over, of which a line of ours says what it means
logging.getLogger("transformers.modeling_utils").addFilter(
    lambda record: "LOAD REPORT" not in record.getMessage()
)


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A model with the weights of its files, and what is to be said of them (often nothing)."""

    model: Any
    note: str


def read_weights(kind: Any, place: str, begin: str, config: Any, dtype: torch.dtype) -> ReadModel:
    """A model of a transformers class (`kind`) with the weights in a folder or of a hub name.

    Raises `ModelError`, which begins with `begin`, if a weight is missing, has another shape than
    the config says, or is not finite.
    """
    try:
        model, found = kind.from_pretrained(
            place,
            config=config,
            dtype=dtype,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused below, in words of ours
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(f"{begin}: cannot be loaded: {first_line(error)}") from None
    _check_whole(begin, found)
    _check_finite(begin, model)
    extra = found["unexpected_keys"]
    said = f"the files hold {_listed(extra)} that config.json has no place for; left out"
    return ReadModel(model, said if extra else "")


def _check_whole(begin: str, found: Mapping[str, Any]) -> None:
    """Raise `ModelError` unless the files have every weight, in the shape of the config."""
    if found["mismatched_keys"]:
        name, there, here = min(found["mismatched_keys"])
        more = len(found["mismatched_keys"]) - 1
        raise ModelError(
            f"{begin}: the weights do not fit config.json: {name} is {_shape(there)} in the file "
            f"and {_shape(here)} by the config" + (f"; {more} more differ" if more else "")
        )
    if found["missing_keys"]:
        raise ModelError(
            f"{begin}: weights that config.json asks for are not in the files: "
            f"{_listed(found['missing_keys'])}; get the whole model, or mend config.json"
        )


def _check_finite(begin: str, model: Any) -> None:
    """Raise `ModelError` if a weight is not a number, or infinite."""
    bad = [name for name, weight in model.named_parameters() if not _is_finite(weight)]
    if bad:
        raise ModelError(
            f"{begin}: weights that are not finite numbers: {_listed(bad)}; the file is damaged, "
            "or its training had failed"
        )


@torch.no_grad()
def _is_finite(weight: torch.Tensor) -> bool:
    # by the extremes: a table of what is finite would be a quarter as large as the weights
    return not weight.numel() or all(bool(end.isfinite()) for end in torch.aminmax(weight))


def _listed(names: Collection[str]) -> str:
    """How many, and the first of them.

    >>> _listed(["b", "a"])
    '2 tensors (a, ...)'
    """
    first = min(names, default="")
    return f"{len(names)} tensors ({first}, ...)" if len(names) > 1 else f"1 tensor ({first})"


def _shape(sizes: Collection[int]) -> str:
    """As in 24 x 48."""
    return " x ".join(map(str, sizes))


def load_weights_into(model: Any, folder: Path) -> None:
    """Copy the weights of a saved checkpoint into `model`, in place.

    Raises `ModelError` if the folder has no weights or they are of another model.
    """
    if not any(folder.glob("model*.safetensors")):
        raise ModelError(f"{folder}: model.safetensors is missing; not a checkpoint of srpo")
    begin = f"{folder}: weights of another model"
    read = read_weights(type(model), str(folder), begin, model.config, model.dtype)
    if read.note:
        raise ModelError(f"{begin}: {read.note}")
    own = model.state_dict()
    with torch.no_grad():
        for name, value in read.model.state_dict().items():
            own[name].copy_(value)
