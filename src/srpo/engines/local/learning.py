"""The training half of the local engine: micro-batches, and the clipped objective on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srpo.engines.local.network import AnyNetwork, Prefixes, Row
from srpo.types import Clip, Datum

MOST_PADDING = 0.05  # of a micro-batch's tokens: 1.3 times faster at 4096 of them, docs/log.md


@dataclass(frozen=True, slots=True)
class Chunk:
    """Prefixes that are held at once, and the micro-batches of rows that hang on them."""

    prefixes: tuple[tuple[int, ...], ...]
    micro_batches: tuple[tuple[Row, ...], ...]


def clipped_loss(
    logprobs_N: Tensor, sampler_logprobs_N: Tensor, advantages_N: Tensor, clip: Clip
) -> Tensor:
    """Minus the clipped objective (PPO, arXiv 1707.06347; asymmetric as in DAPO, 2503.14476).

    sum over tokens of -min(r A, clip(r, 1 - low, 1 + high) A), r = exp(logprob - sampler's).
    A token with advantage zero adds nothing.
    """
    ratio = torch.exp(logprobs_N - sampler_logprobs_N)
    clipped = ratio.clamp(1.0 - clip.low, 1.0 + clip.high)
    return -torch.minimum(ratio * advantages_N, clipped * advantages_N).sum()


def accumulate(
    network: AnyNetwork, data: Sequence[Datum], clip: Clip, max_tokens: int
) -> list[list[float]]:
    """Add the gradient of the summed loss over `data` to the weights; return new logprobs.

    At most `max_tokens` padded tokens of rows, and as many of prefixes, are held at once, and
    copies of prefixes that take no more than so many tokens of rows would (a single longer row
    still goes through alone). What has advantages of zero alone costs no backward pass.
    """
    logprobs = [[0.0] * len(datum.tokens) for datum in data]
    cost = network.column_cost
    for chunk in plan(data, max_tokens, share=network.shares_prefixes, column_cost=cost):
        batches = [(rows, _has_gradient(network, rows)) for rows in chunk.micro_batches]
        with torch.set_grad_enabled(any(has_gradient for _, has_gradient in batches)):
            prefixes = network.prefixes(chunk.prefixes)
        for rows, has_gradient in batches:
            if has_gradient:
                new = _add_gradient(network, rows, prefixes, clip).tolist()
            else:
                with torch.no_grad():
                    new = network.logprobs(rows, prefixes).tolist()
            place = 0
            for row in rows:
                count = len(row.tokens) - 1
                for i in range(count):
                    if row.datum.mask[row.start + 1 + i]:
                        logprobs[row.index][row.start + 1 + i] = new[place + i]
                place += count
        prefixes.backward()
    return logprobs


def _has_gradient(network: AnyNetwork, rows: Sequence[Row]) -> bool:
    """Whether there is a backward pass: for an advantage, or so that logprobs round as with one."""
    if not network.same_without_gradients:
        return True
    return any(
        advantage * mask
        for row in rows
        for advantage, mask in zip(row.datum.advantages, row.datum.mask, strict=True)
    )


def _add_gradient(
    network: AnyNetwork, rows: Sequence[Row], prefixes: Prefixes, clip: Clip
) -> Tensor:
    """Of one micro-batch; returns its new logprobs."""
    new = network.logprobs(rows, prefixes)
    flat = [
        (old, advantage * mask)
        for row in rows
        for old, advantage, mask in zip(
            row.datum.sampler_logprobs[row.start + 1 :],
            row.datum.advantages[row.start + 1 :],
            row.datum.mask[row.start + 1 :],
            strict=True,
        )
    ]
    old, advantages = torch.tensor(flat, device=new.device).unbind(dim=1)
    # an untrained token may carry any sampler logprob: take its own, so that its ratio is 1
    old = torch.where(advantages == 0, new.detach(), old)
    loss = clipped_loss(new, old, advantages, clip)
    loss.backward()  # type: ignore[no-untyped-call]
    return new.detach()


def plan(
    data: Sequence[Datum], max_tokens: int, *, share: bool, column_cost: float = 0.0
) -> Iterator[Chunk]:
    """Cut data into chunks by prefix and rows into micro-batches by length.

    With `share`, data with the same tokens before the first trained one (less the last, whose
    output predicts it) hang on one prefix. Data without trained tokens are left out.
    """
    by_prefix: dict[tuple[int, ...], list[tuple[int, Datum]]] = {}
    for index, datum in enumerate(data):
        if datum.num_trained:
            start = _first_trained(datum) - 1 if share else 0
            by_prefix.setdefault(datum.tokens[:start], []).append((index, datum))
    prefixes = sorted(by_prefix, key=len)
    while prefixes:
        taken = _take(prefixes, max_tokens)
        prefixes = prefixes[len(taken) :]
        rows = [
            Row(index, datum, len(prefix), number)
            for number, prefix in enumerate(taken)
            for index, datum in by_prefix[prefix]
        ]
        copied = len(taken[-1]) * column_cost  # by each row: its prefix's keys and values, padded
        most_rows = max(1, int(max_tokens / copied)) if copied else len(rows)
        yield Chunk(tuple(taken), tuple(_micro_batches(rows, max_tokens, most_rows)))


def _first_trained(datum: Datum) -> int:
    return next(i for i, value in enumerate(datum.mask) if value)


def _take(prefixes: Sequence[tuple[int, ...]], max_tokens: int) -> list[tuple[int, ...]]:
    """The most prefixes from the front (shortest first) that fit, padded, in `max_tokens`."""
    count = 1
    while count < len(prefixes) and (count + 1) * len(prefixes[count]) <= max_tokens:
        count += 1
    return list(prefixes[:count])


def _micro_batches(
    rows: Sequence[Row], max_tokens: int, most_rows: int
) -> Iterator[tuple[Row, ...]]:
    """Rows of similar length together: as many as fit, padding included, and little of that."""
    batch: list[Row] = []
    used = 0
    for row in sorted(rows, key=lambda row: len(row.tokens)):
        padded = (len(batch) + 1) * len(row.tokens)
        padding = padded - used - len(row.tokens)
        full = padded > max_tokens or len(batch) >= most_rows
        if batch and (full or padding > MOST_PADDING * padded):
            yield tuple(batch)
            batch, used = [], 0
        batch.append(row)
        used += len(row.tokens)
    if batch:
        yield tuple(batch)
