"""Models and tokenizers: found, checked and loaded, with one clear line when they are unfit."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from srpo.embedded import MODEL_DIR
from srpo.engines.local.decoder import FAMILIES, PLAIN, Passes, fits
from srpo.engines.local.fused import FusedNetwork
from srpo.engines.local.network import AnyNetwork
from srpo.engines.local.plain import PlainNetwork
from srpo.errors import ModelError

FILE_TYPES = frozenset({".safetensors", ".gguf", ".bin", ".pt", ".pth", ".json"})
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
# Largest difference, in units of the largest logit, at which the fused pass counts as the model's
# own: rounding of float32, and of weights that are kept in fewer bits.
SAME_LOGITS = {torch.float32: 2e-3, torch.bfloat16: 3e-2}
HUB_TIMEOUT_S = 10.0
logger = logging.getLogger(__name__)
transformers_logging.disable_progress_bar()  # ours is the only progress shown
# retries, of which the error says it all; and what torchao says when transformers looks for it
for noisy in ("huggingface_hub", "torchao", "torch.utils._pytree"):
    logging.getLogger(noisy).setLevel(logging.ERROR)


def find_model(name: str) -> str:
    """The folder or hub name that `name` stands for; "embedded" is the bundled model.

    Raises `ModelError` for a folder without config or weights, naming what is missing, and for a
    name that the hub does not have or cannot be asked for.
    """
    if name == "embedded":
        return str(MODEL_DIR)
    folder = Path(name)
    if not folder.is_dir():
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
            f"{begin} the hub has no model of this name, or only for those who may: hf auth login"
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
    try:
        tokenizer = AutoTokenizer.from_pretrained(find_model(name))
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(
            f"--model {name}: the tokenizer cannot be loaded: {first_line(error)}"
        ) from None
    if not tokenizer.is_fast:
        raise ModelError(f"--model {name}: the tokenizer is not a fast one (no tokenizer.json)")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"--model {name}: the tokenizer has no EOS token, so completions would never end; "
            "set eos_token in tokenizer_config.json"
        )
    return tokenizer


def load_model(name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """The model on `device`, in evaluation mode (no dropout), gradients on.

    Raises `ModelError` if it cannot be loaded.
    """
    place = find_model(name)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            place, config=AutoConfig.from_pretrained(place), dtype=dtype
        )
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(f"--model {name}: cannot be loaded: {first_line(error)}") from None
    return model.to(device).eval()


def check_vocabulary(name: str, model: Any, tokenizer: Any) -> None:
    """Raise `ModelError` if the tokenizer has ids that the model has no embedding for."""
    highest = max(tokenizer.get_vocab().values())
    if highest >= model.config.vocab_size:
        raise ModelError(
            f"--model {name}: the tokenizer has token {highest}, and the model only "
            f"{model.config.vocab_size}; they do not belong together"
        )


def model_stops(model: Any) -> tuple[int, ...]:
    """Tokens that end a text by the model's config and generation config, which may disagree.

    Qwen2.5's base models end with another token than their tokenizer's EOS.
    """
    found: list[int] = []
    for config in (model.config, model.generation_config):
        ids = getattr(config, "eos_token_id", None)
        found += ids if isinstance(ids, list) else [] if ids is None else [ids]
    return tuple(dict.fromkeys(found))


def read_shape(name: str) -> dict[str, int]:
    """Sizes of a model, read from its config alone: no weights are loaded.

    Raises `ModelError` if there is no config to read.
    """
    try:
        config = AutoConfig.from_pretrained(find_model(name))
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - transformers raises all kinds; each ends the run
        raise ModelError(f"--model {name}: cannot be read: {first_line(error)}") from None
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return {
        "num_weights": sum(weight.numel() for weight in model.parameters()),
        "num_layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "mlp_width": getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        "kv_width": (getattr(config, "num_key_value_heads", None) or heads) * head_size,
        "vocabulary": config.vocab_size,
    }


def load_weights_into(model: Any, folder: Path) -> None:
    """Copy the weights of a saved checkpoint into `model`, in place.

    Raises `ModelError` if the folder has no weights or they are of another model.
    """
    files = sorted(folder.glob("*.safetensors"))
    files = [file for file in files if file.name.startswith("model")]
    if not files:
        raise ModelError(f"{folder}: model.safetensors is missing; not a checkpoint of srpo")
    saved: dict[str, torch.Tensor] = {}
    for file in files:
        saved |= load_file(file)
    known = dict(model.named_parameters()) | dict(model.named_buffers())
    unknown = sorted(set(saved) - set(known))
    missing = sorted(set(dict(model.named_parameters())) - set(saved))
    if unknown or missing:
        raise ModelError(f"{folder}: weights of another model (differs: {(unknown + missing)[0]})")
    with torch.no_grad():
        for name, value in saved.items():
            known[name].copy_(value)


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

    The choice is checked on a short probe, and a fused pass that differs is said aloud. Raises
    `ModelError` if a model without a fused one is to be trained with gradient checkpointing or
    compiled, or if nothing can be compiled here.
    """
    device = next(model.parameters()).device
    if training.compiled:
        _check_compiler(device)
    if not fits(model.config):
        logger.info("%s: sampled and trained through transformers", model.config.model_type)
        return _plain(model, dtype, device, training)
    fused = FusedNetwork(model, torch.float32, device)
    ids = [i % model.config.vocab_size for i in range(3, 40, 4)]
    with torch.no_grad():
        own = model(torch.tensor([ids], device=device)).logits[0, -1].float()
    gap = float((fused.prefill([ids], 1, 1)[0][0] - own).abs().max())
    if not gap <= SAME_LOGITS[model.dtype] * max(1.0, float(own.abs().max())):
        logger.warning(
            "%s: the fused pass differs from transformers by %.2g in a logit; using transformers",
            model.config.model_type,
            gap,
        )
        return _plain(model, dtype, device, training)
    return FusedNetwork(model, dtype, device, training)


def _plain(model: Any, dtype: torch.dtype, device: torch.device, training: Passes) -> PlainNetwork:
    """Raises `ModelError` if what only the fused network has is asked for."""
    asked = {"gradient_checkpointing": training.checkpointed, "compile": training.compiled}
    for name, wanted in asked.items():
        if wanted:
            raise ModelError(
                f"model.{name}: not for {model.config.model_type} models (only for "
                f"{', '.join(sorted(FAMILIES))}); set it to false"
            )
    return PlainNetwork(model, dtype, device)


def _check_compiler(device: torch.device) -> None:
    """Raise `ModelError` if `torch.compile` does not work on this machine, before a run starts."""
    try:
        torch.compile(torch.sin)(torch.ones(3, device=device))
    except RuntimeError as error:
        raise ModelError(
            f"model.compile: torch.compile does not work here ({first_line(error)}); it needs a "
            "C++ compiler on a CPU; set it to false"
        ) from None


def first_line(error: Exception) -> str:
    """The first line of an error's text, without its trace."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
