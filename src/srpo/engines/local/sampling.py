"""Drawing completions: rows side by side; others take the place of those that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from srpo.engines import Drafts, check_drafts
from srpo.engines.local.choosing import Chosen, choose
from srpo.engines.local.completions import Completions
from srpo.engines.local.network import AnyNetwork, Cache
from srpo.engines.local.verifying import Verification
from srpo.engines.local.waiting import Waiting
from srpo.types import Draft, Sample, Sampling

KEEP_FRAC = 0.8  # finished rows are taken out once fewer than this share is still running


class Sampler(Protocol):
    """What draws a local engine's completions, always from the newest weights."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """See `Engine.sample`."""
        ...

    def weights_changed(self) -> None:
        """The trainer's weights are others than at the last draw."""
        ...


class OwnSampler:
    """Draws with the trainer's own network, so there is nothing to hand over."""

    def __init__(self, network: AnyNetwork, max_rows: int, device: torch.device) -> None:
        """At most `max_rows` completions are drawn side by side."""
        self._network = network
        self._max_rows = max_rows
        self._device = device

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """See `Engine.sample`."""
        generator = torch.Generator(device=self._device).manual_seed(how.seed)
        return draw(self._network, prompts, n, how, self._max_rows, generator, drafts)

    def weights_changed(self) -> None:
        """They are the same tensors."""


def draw(
    network: AnyNetwork,
    prompts: Sequence[Sequence[int]],
    n: int,
    how: Sampling,
    max_rows: int,
    generator: torch.Generator,
    drafts: Drafts | None = None,
) -> list[list[Sample]]:
    """`n` completions of each prompt, at most `max_rows` side by side, in order of the prompts.

    Rows that have to wait take the place of those that are finished; with drafts, or a network
    that cannot, batch follows on batch.
    Prompts of similar length are drawn together. Every draw comes from `generator`.
    """
    # a run with drafts notes much of each place: that is held for a batch, not for a whole step
    in_batches = drafts is not None and how.draft_top_k > 0
    drafts = [()] * len(prompts) if drafts is None else drafts
    check_drafts(drafts, len(prompts), n)
    in_batches |= any(draft is not None and draft.tokens for given in drafts for draft in given)
    if max_rows < n * len(prompts) and network.refills and not in_batches:
        return _draw_refilling(network, prompts, n, how, max_rows, generator)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    per_batch = max(1, max_rows // n)
    samples: list[list[Sample]] = [[] for _ in prompts]
    for first in range(0, len(order), per_batch):
        chosen = order[first : first + per_batch]
        for done in range(0, n, max_rows):  # more than one turn only for a single, larger group
            m = min(max_rows, n - done)
            given = [draft for i in chosen for draft in _filled(drafts[i][done : done + m], m)]
            rows = _draw_batch(network, [prompts[i] for i in chosen], given, how, generator)
            for place, i in enumerate(chosen):
                samples[i] += rows[place * m : (place + 1) * m]
    return samples


def _draw_refilling(
    network: AnyNetwork,
    prompts: Sequence[Sequence[int]],
    n: int,
    how: Sampling,
    max_rows: int,
    generator: torch.Generator,
) -> list[list[Sample]]:
    """Rows wait, those of the longest prompts first, for the places of finished ones."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    waiting = Waiting(network, [prompts[i] for i in order], n)
    made = Completions(n * len(order), how, generator.device)
    while begun := waiting.begin(max_rows, how.max_tokens):
        rows, chosen, cache = begun.rows, choose(begun.logits, how, generator), begun.cache
        del begun
        _go_on(network, made, rows, chosen, cache, how, generator, waiting)
        del cache  # before the next one is made: never two of full width
    drawn = made.samples()
    samples: list[list[Sample]] = [[] for _ in prompts]
    for place, i in enumerate(order):
        samples[i] = drawn[place * n : (place + 1) * n]
    return samples


def _filled(drafts: Sequence[Draft | None], n: int) -> list[Draft | None]:
    return [*drafts, *[None] * (n - len(drafts))]


def _draw_batch(
    network: AnyNetwork,
    prompts: Sequence[Sequence[int]],
    drafts: Sequence[Draft | None],
    how: Sampling,
    generator: torch.Generator,
) -> list[Sample]:
    """One completion for each of `drafts`, the same number for each prompt."""
    n = len(drafts) // len(prompts)
    if any(draft is not None and draft.tokens for draft in drafts):
        return _continue_drafts(network, prompts, drafts, how, generator)
    logits, cache = network.prefill(prompts, n, how.max_tokens)
    made = Completions(len(drafts), how, logits.device)
    rows = torch.arange(len(drafts), device=logits.device)
    chosen = choose(logits, how, generator)
    del logits  # as large as those of a decoding step, beside which they would lie
    _go_on(network, made, rows, chosen, cache, how, generator)
    return made.samples()


def _continue_drafts(
    network: AnyNetwork,
    prompts: Sequence[Sequence[int]],
    drafts: Sequence[Draft | None],
    how: Sampling,
    generator: torch.Generator,
) -> list[Sample]:
    """All drafts in one pass; then the rows that are not finished go on where theirs ended."""
    n = len(drafts) // len(prompts)
    verification = Verification(drafts, how, generator, generator.device)
    cache = network.verify(prompts, n, verification.tokens, how.max_tokens, verification.look)
    made = verification.taken_over()
    rows = made.unfinished()
    if len(rows):
        contexts = [
            (*prompts[row // n], *verification.tokens[row][:reused])
            for row, reused in zip(rows.tolist(), made.reused_B[rows].tolist(), strict=True)
        ]
        logits, cache = network.resume(contexts, rows, cache, how.max_tokens)
        chosen = verification.choose(logits, rows)
        del logits
        _go_on(network, made, rows, chosen, cache, how, generator)
    return made.samples()


def _go_on(
    network: AnyNetwork,
    made: Completions,
    rows: Tensor,
    chosen: Chosen,
    cache: Cache,
    how: Sampling,
    generator: torch.Generator,
    waiting: Waiting | None = None,
) -> None:
    """Draw `rows` of `made` to their ends. `chosen` is the next token of each, `cache` theirs.

    Those of `waiting` take the place of finished ones while any row is running.
    """
    running = made.take(rows, chosen, torch.ones_like(rows, dtype=torch.bool))
    tokens = chosen.tokens
    while num_running := int(running.sum()):
        if num_running < KEEP_FRAC * len(rows):
            begun = waiting.refill(len(rows) - num_running) if waiting else None
            if begun is None:
                kept = running.nonzero()[:, 0]
                cache.select(kept)
                rows, tokens, running = rows[kept], tokens[kept], running[kept]
            else:
                places = (~running).nonzero()[: len(begun.rows), 0]
                cache.replace(places, begun.cache)
                first = choose(begun.logits, how, generator)
                rows[places], tokens[places] = begun.rows, first.tokens
                all_new = torch.ones_like(places, dtype=torch.bool)
                running[places] = made.take(begun.rows, first, all_new)
            del begun
        chosen = choose(network.decode(tokens, cache), how, generator)
        running = made.take(rows, chosen, running)
        tokens = chosen.tokens
