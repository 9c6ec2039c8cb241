"""transformers' `generate`, the other side of sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

PAD = 0  # what left padding is filled with; masked, so any token would do


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    n: int,
    max_tokens: int,
    stop_ids: Sequence[int],
) -> list[int]:
    """`n` completions of each prompt by transformers; returns their lengths.

    Prompts are padded left and repeated, as TRL passes them. No `stop_ids`: all reach the limit.
    """
    longest = max(map(len, prompts))
    rows = [prompt for prompt in prompts for _ in range(n)]
    ids = torch.tensor([[PAD] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    stops = list(stop_ids)
    how = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=stops or None,
        pad_token_id=PAD,
    )
    model.generation_config.eos_token_id = how.eos_token_id
    with torch.no_grad():
        made = model.generate(input_ids=ids, attention_mask=mask, generation_config=how)
    return [_length(row, stops) for row in made[:, longest:].tolist()]


def _length(tokens: list[int], stops: list[int]) -> int:
    """Tokens up to the first stop, which counts."""
    return next((i for i, token in enumerate(tokens, start=1) if token in stops), len(tokens))
