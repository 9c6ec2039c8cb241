"""Opening the local engine for a config: model, tokenizer, device, threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache

from srpo.config import Config
from srpo.digests import file_digests
from srpo.engines import OpenModel
from srpo.engines.local.adapters import add_adapters
from srpo.engines.local.decoder import Passes
from srpo.engines.local.engine import LocalEngine
from srpo.engines.local.loading import (
    check_vocabulary,
    find_model,
    load_model,
    load_tokenizer,
    pick_device,
)
from srpo.engines.local.model_config import context_of, model_pads, model_stops
from srpo.engines.local.sampling import Sampler
from srpo.prefixes import longest_prompt
from srpo.rollouts import derive_seed

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WEIGHT_BYTES = 4  # of a checkpoint, at most
STATE_BYTES = 8  # of a trained weight: its two moments
# Below this size a second thread costs more than it gives: measured, docs/benchmarks.md.
ONE_THREAD_WEIGHTS = 3_000_000


def open_local(config: Config, folder: Path) -> OpenModel:
    """Load and check the model of a config; `folder` is where its engine will save.

    Raises `ModelError` if model or tokenizer are missing, incomplete or unfit.
    """
    device = pick_device(config.model.device)
    tokenizer = load_tokenizer(config.model.name)
    dtype, rank = DTYPES[config.model.dtype], config.model.lora_rank
    # weights that are trained stay in float32, where small steps are not rounded away
    read = load_model(config.model.name, device, dtype if rank else torch.float32)
    model = read.model
    check_vocabulary(config.model.name, model, tokenizer)
    num_weights = sum(weight.numel() for weight in model.parameters())
    if config.model.threads:
        torch.set_num_threads(config.model.threads)
    elif num_weights < ONE_THREAD_WEIGHTS:
        torch.set_num_threads(1)
    if rank:
        add_adapters(model, rank, derive_seed(config.seed, "adapters"))
    num_trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
    engine = LocalEngine(
        model,
        folder,
        dtype=dtype,
        sampler=_vllm(config, model, dtype) if config.model.sampler == "vllm" else None,
        micro_batch_tokens=config.model.micro_batch_tokens,
        sampler_rows=config.model.sampler_rows,
        training=Passes(config.model.gradient_checkpointing, config.model.compile),
        moments=config.optimizer.moments,
    )
    facts = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "weights": num_weights,
        "trained_weights": num_trained,
        "model_files": _digests(config.model.name),
    }
    return OpenModel(
        engine,
        tokenizer,
        checkpoint_bytes=WEIGHT_BYTES * num_weights + STATE_BYTES * num_trained,
        facts=facts,
        stop_ids=model_stops(model),
        pad_ids=model_pads(model),
        context_tokens=context_of(model.config),
        notes=tuple(note for note in (read.note, engine.note) if note),
    )


def _vllm(config: Config, model: Any, dtype: torch.dtype) -> Sampler:
    from srpo.engines.local.vllm_sampling import VllmSampler

    # prompts that are too long for the model are refused before anything is drawn
    longest = longest_drawn(config)
    longest = min(longest, context_of(model.config) or longest)
    return VllmSampler(
        model,
        dtype,
        rows=config.model.sampler_rows,
        longest=longest,
        cache_gib=config.model.sampler_cache_gib,
    )


def longest_drawn(config: Config) -> int:
    """The most tokens that a prompt and its completion have together, in whichever draw.

    A prompt may be followed by the start of an own answer; held-out problems of all stages are
    answered as in the last one.
    """
    trained = max(
        longest_prompt(config, number) + stage.max_completion_tokens
        for number, stage in enumerate(config.stage, start=1)
    )
    prompt = max(stage.max_prompt_tokens for stage in config.stage)
    return max(trained, prompt + config.stage[-1].max_completion_tokens)


def _digests(name: str) -> dict[str, str]:
    """What tells a model from another of its name: digests of its files, as far as they are here.

    A hub name is looked up in the cache that it was just loaded from.
    """
    place = Path(find_model(name))
    if not place.is_dir():
        cached = try_to_load_from_cache(name, "config.json")
        if not isinstance(cached, str):
            return {}
        place = Path(cached).parent
    told = (".md", ".png", ".txt") if name == "embedded" else (".md",)
    return file_digests(p for p in place.iterdir() if p.is_file() and p.suffix not in told)
