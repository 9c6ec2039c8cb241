"""Drawing completions: rows side by side, each leaving the batch when it is finished."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from srpo.engines.local.network import AnyNetwork
from srpo.types import Sample, Sampling

KEEP_FRAC = 0.8  # finished rows are taken out once fewer than this share is still running


def draw(
    network: AnyNetwork,
    prompts: Sequence[Sequence[int]],
    n: int,
    how: Sampling,
    max_rows: int,
    generator: torch.Generator,
) -> list[list[Sample]]:
    """`n` completions of each prompt, at most `max_rows` side by side, in order of the prompts.

    Prompts of similar length are drawn together. Every draw comes from `generator`.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    per_batch = max(1, max_rows // n)
    samples: list[list[Sample]] = [[] for _ in prompts]
    for first in range(0, len(order), per_batch):
        chosen = order[first : first + per_batch]
        for done in range(0, n, max_rows):  # more than one turn only for a single, larger group
            m = min(max_rows, n - done)
            rows = _draw_batch(network, [prompts[i] for i in chosen], m, how, generator)
            for place, i in enumerate(chosen):
                samples[i] += rows[place * m : (place + 1) * m]
    return samples


def _draw_batch(
    network: AnyNetwork,
    prompts: Sequence[Sequence[int]],
    n: int,
    how: Sampling,
    generator: torch.Generator,
) -> list[Sample]:
    logits, cache = network.prefill(prompts, n, how.max_tokens)
    device = logits.device
    B = len(prompts) * n
    tokens_BT = torch.zeros(B, how.max_tokens, dtype=torch.long, device=device)
    logprobs_BT = torch.zeros(B, how.max_tokens, device=device)
    lengths_B = torch.zeros(B, dtype=torch.long, device=device)
    stop_ids = torch.tensor(how.stop_ids, dtype=torch.long, device=device)
    rows = torch.arange(B, device=device)  # which completion each row of the cache belongs to
    running = torch.ones(B, dtype=torch.bool, device=device)
    for step in range(how.max_tokens):
        tokens, logprobs = _choose(logits, how, generator)
        live = rows[running]
        tokens_BT[live, step] = tokens[running]
        logprobs_BT[live, step] = logprobs[running]
        lengths_B[live] = step + 1
        running &= ~torch.isin(tokens, stop_ids)
        num_running = int(running.sum())
        if num_running == 0 or step + 1 == how.max_tokens:
            break
        if num_running < KEEP_FRAC * len(rows):
            kept = running.nonzero()[:, 0]
            cache.select(kept)
            rows, tokens = rows[kept], tokens[kept]
            running = torch.ones(num_running, dtype=torch.bool, device=device)
        logits = network.decode(tokens, cache)
    return _as_samples(tokens_BT, logprobs_BT, lengths_B, how)


def _choose(logits: Tensor, how: Sampling, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One token a row and its logprob under softmax(logits / temperature)."""
    logprobs = torch.log_softmax(logits / (how.temperature or 1.0), dim=-1)
    if how.temperature == 0:
        tokens = logprobs.argmax(dim=-1)
    else:
        probs = logprobs.exp() if how.top_p >= 1 else _nucleus(logprobs.exp(), how.top_p)
        tokens = _draw_from(probs, generator)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


def _draw_from(probs: Tensor, generator: torch.Generator) -> Tensor:
    """One index a row, in proportion to `probs`: where the running sum passes a random height.

    One random number a row: a race of one a token costs a fifth of the sampling on a CPU. Heights
    lie in (0, 1], so an entry of probability zero is never drawn. float64, because the error of
    a running sum grows with the vocabulary.
    """
    heights = torch.cumsum(probs, dim=-1, dtype=torch.float64)
    random = 1.0 - torch.rand(
        len(probs), 1, generator=generator, device=probs.device, dtype=torch.float64
    )
    return torch.searchsorted(heights, random * heights[:, -1:])[:, 0]


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Zero outside the smallest set of tokens whose probabilities reach `top_p` together."""
    ordered, indices = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    return probs.scatter(1, indices, ordered.masked_fill(before >= top_p, 0.0))


def _as_samples(
    tokens_BT: Tensor, logprobs_BT: Tensor, lengths_B: Tensor, how: Sampling
) -> list[Sample]:
    stops = set(how.stop_ids)
    samples = []
    rows = zip(tokens_BT.tolist(), logprobs_BT.tolist(), lengths_B.tolist(), strict=True)
    for tokens, logprobs, length in rows:
        kept = tuple(tokens[:length])
        reason = "stop" if kept[-1] in stops else "length"
        samples.append(Sample(kept, tuple(logprobs[:length]), reason))  # type: ignore[arg-type]
    return samples
