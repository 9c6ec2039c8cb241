"""Sampling and training rates on one GPU: `python -m benchmarks.on_gpu`.

A Qwen2.5-0.5B shape with random weights, in bfloat16, against transformers' generate on the same
card, in turn. Rates are tokens a second; training counts prompt and completion tokens.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from srpo.engines.local import LocalEngine
from srpo.types import Adam, Clip, Datum, Sample, Sampling

PROMPT_TOKENS, NEW_TOKENS, PROMPTS, GROUP = 128, 256, 16, 16
ROUNDS = 3


def qwen_half_billion() -> Any:
    """A model of Qwen2.5-0.5B's shape, random weights."""
    config = AutoConfig.for_model(
        "qwen2",
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    return AutoModelForCausalLM.from_config(config).to("cuda").eval()


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of `work`, the device's own included."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def data_of(prompts: list[list[int]], drawn: list[list[Sample]]) -> list[Datum]:
    """Every completion with an advantage, as a step would send them."""
    return [
        Datum(
            tokens=(*prompt, *sample.tokens),
            mask=(0.0,) * len(prompt) + (1.0,) * len(sample.tokens),
            sampler_logprobs=(0.0,) * len(prompt) + sample.logprobs,
            advantages=(0.0,) * len(prompt) + (1e-4,) * len(sample.tokens),
        )
        for prompt, samples in zip(prompts, drawn, strict=True)
        for sample in samples
    ]


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    model = qwen_half_billion()
    prompts = torch.randint(10, 150_000, (PROMPTS, PROMPT_TOKENS)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        engine = LocalEngine(model, Path(folder), dtype=torch.bfloat16, micro_batch_tokens=16_384)
        how = Sampling(max_tokens=NEW_TOKENS, stop_ids=(), seed=0)
        drawn = engine.sample(prompts, GROUP, how)
        data = data_of(prompts, drawn)
        rates: dict[str, list[float]] = {"sample": [], "generate": [], "train": []}
        twin = qwen_half_billion().to(torch.bfloat16)
        ids = torch.tensor(prompts, device="cuda").repeat_interleave(GROUP, dim=0)
        for _ in range(ROUNDS):
            new = PROMPTS * GROUP * NEW_TOKENS
            rates["sample"].append(new / timed(lambda: engine.sample(prompts, GROUP, how)))
            rates["generate"].append(
                new
                / timed(
                    lambda: twin.generate(
                        ids,
                        attention_mask=torch.ones_like(ids),
                        do_sample=True,
                        min_new_tokens=NEW_TOKENS,
                        max_new_tokens=NEW_TOKENS,
                    )
                )
            )
            tokens = sum(len(datum.tokens) for datum in data)
            rates["train"].append(tokens / timed(lambda: engine.forward_backward(data, Clip())))
            engine.optim_step(Adam(lr=1e-6))
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    for name, values in rates.items():
        print(f"{name:9} {statistics.median(values):12,.0f} tokens/s")
    print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
