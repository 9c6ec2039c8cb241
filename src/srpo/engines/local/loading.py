"""Models and tokenizers: found, checked and loaded, with one clear line when they are unfit."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from srpo.embedded import MODEL_DIR
from srpo.engines.local.decoder import FAMILIES, PLAIN, Passes, fits
from srpo.engines.local.fused import FusedNetwork
from srpo.engines.local.network import AnyNetwork
from srpo.engines.local.plain import PlainNetwork
from srpo.engines.local.weights import ReadModel, read_weights
from srpo.errors import ModelError, first_line

FILE_TYPES = frozenset({".safetensors", ".gguf", ".bin", ".pt", ".pth", ".json"})
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
# Largest difference, in units of the largest logit, at which the fused pass counts as the model's
# own: rounding of float32, and of weights that are kept in fewer bits.
SAME_PASSES = {torch.float32: 2e-3, torch.bfloat16: 3e-2}
HUB_TIMEOUT_S = 10.0
transformers_logging.disable_progress_bar()  # ours is the only progress shown
# retries, of which the error says it all; and what torchao says when transformers looks for it
for noisy in ("huggingface_hub", "torchao", "torch.utils._pytree"):
    logging.getLogger(noisy).setLevel(logging.ERROR)


def find_model(name: str) -> str:
    """The folder or hub name that `name` stands for; "embedded" is the bundled model.

    Raises `ModelError` for a folder without config or weights, naming what is missing, and for a
    name that the hub does not have or cannot be asked for.
    """
    if not name.strip():
        raise ModelError('--model is empty; give "embedded", a folder, or a hub name (OWNER/NAME)')
    if name == "embedded":
        return str(MODEL_DIR)
    folder = Path(name)
    if not folder.is_dir():
        hub_name = _meant_of_hub(name)
        if hub_name:
            raise ModelError(
                f"--model {name}: no such folder; if you mean a model on the hub, write {hub_name}"
            )
        path = name.startswith((".", "/", "~")) or name.count("/") > 1  # OWNER/NAME is of the hub
        if path or folder.suffix in FILE_TYPES:
            raise ModelError(f"--model {name}: no such folder")
        _ask_hub(name)
        return name
    if not (folder / "config.json").is_file():
        raise ModelError(f"--model {name}: config.json is missing; not a model in HF format")
    if not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise ModelError(f"--model {name}: no weights there (model.safetensors)")
    return name


def _meant_of_hub(name: str) -> str:
    """The hub name in an address of the hub, or in one with a slash behind it; else nothing.

    >>> _meant_of_hub("https://huggingface.co/Qwen/Qwen2.5-0.5B/tree/main")
    'Qwen/Qwen2.5-0.5B'
    >>> _meant_of_hub("Qwen/Qwen2.5-0.5B/"), _meant_of_hub("Qwen/Qwen2.5-0.5B")
    ('Qwen/Qwen2.5-0.5B', '')
    """
    found = re.match(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)", name)
    found = found or re.fullmatch(r"([\w-][\w.-]*/[\w.-]+)/+", name)
    return found[1] if found else ""


@cache
def _ask_hub(name: str) -> None:
    """One short question, unless the model was fetched before: libraries would ask for a minute."""
    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    begin = f"--model {name}: no such folder here, and"
    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
    except RepositoryNotFoundError:
        raise ModelError(
            f"{begin} the hub has no model of this name, or it is gated or private: hf auth login"
        ) from None
    except Exception as error:  # noqa: BLE001 - of whichever library speaks to the hub
        raise ModelError(
            f"{begin} the hub cannot be asked ({first_line(error)}): give a folder; where there is "
            f"a network, hf download {name} --local-dir FOLDER makes one"
        ) from None


def load_tokenizer(name: str) -> Any:
    """The fast tokenizer of a model, checked to have an end-of-sequence token.

    Raises `ModelError` if it cannot be loaded, is not a fast one, or has no EOS token.
    """
    read_config(name)  # which transformers reads as well, but would not say so
    place = find_model(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(
            f"--model {name}: the tokenizer cannot be loaded: {_unfit(error)}"
        ) from None
    if not tokenizer.is_fast:
        raise ModelError(f"--model {name}: the tokenizer is not a fast one (no tokenizer.json)")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"--model {name}: the tokenizer has no EOS token, so completions would never end; "
            "set eos_token in tokenizer_config.json"
        )
    return tokenizer


def read_config(name: str) -> Any:
    """The config of a model that can be a causal LM. Code that comes with a model is not run.

    Raises `ModelError` if it cannot be read, or if the model reads a text from both sides.
    """
    place = find_model(name)
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(f"--model {name}: cannot be loaded: {_unfit(error)}") from None
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", True):
        raise ModelError(
            f"--model {name}: {config.model_type} models read a text from both sides and cannot "
            "continue one; take a causal LM"
        )
    return config


def load_model(name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> ReadModel:
    """The model on `device`, in evaluation mode (no dropout), gradients on.

    Raises `ModelError` if it cannot be loaded, or not whole.
    """
    config, place = read_config(name), find_model(name)
    read = read_weights(AutoModelForCausalLM, place, f"--model {name}", config, dtype)
    return replace(read, model=read.model.to(device).eval())


def check_vocabulary(name: str, model: Any, tokenizer: Any) -> None:
    """Raise `ModelError` if the tokenizer has ids that the model has no embedding for."""
    highest = max(tokenizer.get_vocab().values())
    vocabulary = model.config.get_text_config().vocab_size
    if highest >= vocabulary:
        raise ModelError(
            f"--model {name}: the tokenizer has token {highest}, and the model only {vocabulary}; "
            "they do not belong together"
        )


def pick_device(wanted: str) -> torch.device:
    """The device for a setting: auto takes a GPU if there is one.

    Raises `ModelError` if a GPU is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError("model.device is cuda, and PyTorch sees no GPU; set it to cpu or auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def network_of(model: Any, dtype: torch.dtype, training: Passes = PLAIN) -> AnyNetwork:
    """The fused network where it computes what the model computes, else the plain one.

    The choice is checked on a short text, and the plain one's `note` says why. Raises `ModelError`
    if the model computes numbers that are not finite or cannot be sampled, if a model without a
    fused one is to be trained with gradient checkpointing or compiled, or if nothing can be
    compiled here.
    """
    device = next(model.parameters()).device
    if training.compiled:
        _check_compiler(device)
    kind = model.config.model_type
    ids = [i % model.config.get_text_config().vocab_size for i in range(3, 40, 4)]
    own = _last_logits(model, ids, device)
    if not fits(model.config):
        plain = _plain(model, dtype, device, training, f"this {kind} model")
        _check_sampling(plain, ids, kind)
        return plain
    fused = FusedNetwork(model, torch.float32, device)
    with torch.no_grad():
        gap = float((fused.prefill([ids], 1, 1)[0][0] - own).abs().max())
    if not gap <= SAME_PASSES[model.dtype] * max(1.0, float(own.abs().max())):
        begin = f"srpo's own passes differ by {gap:.2g} in a logit, so this {kind} model"
        return _plain(model, dtype, device, training, begin)
    return FusedNetwork(model, dtype, device, training)


@torch.no_grad()
def _last_logits(model: Any, ids: list[int], device: torch.device) -> torch.Tensor:
    """Logits [V] after a text, through transformers. Raises `ModelError` if there are none."""
    kind = model.config.model_type
    try:
        logits: torch.Tensor = model(torch.tensor([ids], device=device)).logits[0, -1].float()
    except Exception as error:  # noqa: BLE001 - the model's own code raises all kinds
        raise ModelError(f"this {kind} model cannot be run: {first_line(error)}") from None
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"this {kind} model computes logits that are not finite, from weights that are: its "
            "weights or its config are damaged"
        )
    return logits


def _check_sampling(network: PlainNetwork, ids: list[int], kind: str) -> None:
    """Raise `ModelError` if the model's memory of a text cannot be kept row by row."""
    try:
        _, cache = network.prefill([ids[:-1], ids[:3]], 2, 1)
        cache.select(torch.tensor([0, 3]).to(cache.mask.device))
        network.decode(torch.tensor([ids[-1], ids[3]]).to(cache.mask.device), cache)
    except Exception as error:  # noqa: BLE001 - the model's own code raises all kinds
        raise ModelError(
            f"{kind} models cannot be sampled row by row (transformers says: {first_line(error)}): "
            "take a model whose every layer, or all but a few, is attention"
        ) from None


def _plain(
    model: Any, dtype: torch.dtype, device: torch.device, training: Passes, begin: str
) -> PlainNetwork:
    """Its note starts with `begin`. Raises `ModelError` if what only the other has is asked for."""
    check_passes(model.config.model_type, training)
    note = (
        f"{begin} is sampled and trained through transformers: right, but slower; no shared "
        "prefixes, no refill of rows that are done, no gradient_checkpointing, no compile"
    )
    return PlainNetwork(model, dtype, device, note)


def check_passes(model_type: str, training: Passes) -> None:
    """Raise `ModelError` if a model without a fused network is to be trained as only that can."""
    asked = {"gradient_checkpointing": training.checkpointed, "compile": training.compiled}
    for name, wanted in asked.items():
        if wanted:
            raise ModelError(
                f"model.{name}: not for {model_type} models (only for "
                f"{', '.join(sorted(FAMILIES))}); set it to false"
            )


def _check_compiler(device: torch.device) -> None:
    """Raise `ModelError` if `torch.compile` does not work on this machine, before a run starts."""
    try:
        torch.compile(torch.sin)(torch.ones(3, device=device))
    except RuntimeError as error:
        raise ModelError(
            f"model.compile: torch.compile does not work here ({first_line(error)}); it needs a "
            "C++ compiler on a CPU; set it to false"
        ) from None


def _unfit(error: Exception) -> str:
    """What a user should read of an error of transformers while it opens a model."""
    if "trust_remote_code" in str(error):
        return (
            "it comes with code of its own (auto_map in a config), and srpo does not run such "
            "code; take a model that transformers itself knows"
        )
    return first_line(error)
