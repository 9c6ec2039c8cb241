"""Which part of the gain comes from what: srpo's measures switched off one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.generating import generate
from benchmarks.measuring import Section, in_turn, median_ratio, seconds
from benchmarks.workload import (
    CLIP,
    GROUP_SIZE,
    MAX_TOKENS,
    NO_FOLDER,
    Work,
    every_datum,
    graded,
)
from srpo.batching import training_data
from srpo.engines.local import fused, learning, logprobs
from srpo.engines.local import sampling as drawing
from srpo.engines.local.engine import LocalEngine
from srpo.engines.local.fused import FusedNetwork
from srpo.engines.local.network import Row
from srpo.engines.local.plain import PlainNetwork
from srpo.prompts import Prompter
from srpo.rollouts import sample_groups
from srpo.types import Datum, Sampling

Part = tuple[str, Callable[[], object]]
CPU = torch.device("cpu")
DEFAULTS = inspect.signature(LocalEngine).parameters
MAX_ROWS: int = DEFAULTS["sampler_rows"].default
MICRO_BATCH_TOKENS: int = DEFAULTS["micro_batch_tokens"].default


class WholeRows(FusedNetwork):
    """The fused network without shared prompts; the head on every token."""

    shares_prefixes = False


class TrainedHead(WholeRows):
    """Without shared prompts, the head on trained tokens only."""

    def logprobs(self, rows: Sequence[Any], prefixes: Any) -> Tensor:
        """As its parent's, with zeros where nothing is trained."""
        trained = [value > 0 for row in rows for value in row.datum.mask[row.start + 1 :]]
        keep = torch.tensor(trained).nonzero()[:, 0]
        every = logprobs.token_logprobs

        def some(hidden: Tensor, head: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
            made = every(hidden[keep], head, targets[keep], temperature[keep])
            return torch.zeros(len(targets)).index_put((keep,), made)

        with mock.patch.object(fused, "token_logprobs", some):
            return super().logprobs(rows, prefixes)


def measure_sampling_parts(work: Work, rounds: int) -> Section:
    """The parts of the sampling gain."""
    prompts, stops = work.prompts(0), work.prompter.stop_ids
    model = work.model()
    how = Sampling(MAX_TOKENS, stops, seed=0)
    ours, plain = FusedNetwork(model, torch.float32, CPU), PlainNetwork(model, torch.float32, CPU)
    each = [prompt for prompt in prompts for _ in range(GROUP_SIZE)]

    def draw(network: Any, rows: Sequence[Sequence[int]], keep_frac: float) -> None:
        generator = torch.Generator().manual_seed(how.seed)
        with mock.patch.object(drawing, "KEEP_FRAC", keep_frac):
            drawing.draw(
                network, rows, GROUP_SIZE * len(prompts) // len(rows), how, MAX_ROWS, generator
            )

    as_is = drawing.KEEP_FRAC
    parts: list[Part] = [
        ("srpo as it is", lambda: draw(ours, prompts, as_is)),
        ("rows that are done stay", lambda: draw(ours, prompts, 0.0)),
        ("and each row runs its own prompt", lambda: draw(ours, each, 0.0)),
        ("and transformers' forward pass", lambda: draw(plain, each, 0.0)),
        ("transformers' generate", lambda: generate(model, prompts, GROUP_SIZE, MAX_TOKENS, stops)),
    ]
    text = (
        "256 completions of the embedded model with natural stops. Each line switches one more "
        "thing off; CPU-seconds, and how many times those of the first line."
    )
    return _section("Where the sampling gain comes from", text, parts, rounds)


def measure_update_parts(work: Work, rounds: int) -> Section:
    """The parts of the gain in forward and backward."""
    model = work.model()
    groups = _groups(work, model)
    some, every = training_data(groups, 1.0), every_datum(groups)
    if not some:
        raise RuntimeError("no group has a signal; this model cannot show what an update takes")
    shared, plain = FusedNetwork(model, torch.float32, CPU), PlainNetwork(model, torch.float32, CPU)
    whole, trained = WholeRows(model, torch.float32, CPU), TrainedHead(model, torch.float32, CPU)

    def learn(network: Any, data: Sequence[Datum], plan: Callable[..., Any]) -> None:
        with mock.patch.object(learning, "plan", plan):
            learning.accumulate(network, data, CLIP, MICRO_BATCH_TOKENS)
        model.zero_grad()

    by_length = learning.plan
    parts: list[Part] = [
        ("srpo as it is", lambda: learn(shared, some, by_length)),
        ("groups without a signal sent too", lambda: learn(shared, every, by_length)),
        ("and each row runs its own prompt", lambda: learn(trained, every, by_length)),
        ("and the head on prompt tokens too", lambda: learn(whole, every, by_length)),
        ("and micro-batches not sorted by length", lambda: learn(whole, every, _as_it_comes)),
        ("and transformers' forward pass", lambda: learn(plain, every, _as_it_comes)),
    ]
    text = (
        f"Forward and backward of one step: {len(every)} completions, of which {len(some)} are in "
        "groups with a signal. Each line switches one more thing off; CPU-seconds, and how many "
        "times those of the first line. What TRL takes beyond the last line is padding of every "
        "row to the longest of the step, entropies and metrics."
    )
    return _section("Where the update gain comes from", text, parts, rounds)


def _groups(work: Work, model: Any) -> list[Any]:
    """Graded groups of one step."""
    prompter: Prompter = work.prompter
    how = Sampling(MAX_TOKENS, prompter.stop_ids, seed=0)
    engine = LocalEngine(model, NO_FOLDER)
    return graded(sample_groups(engine, prompter, work.steps[0], GROUP_SIZE, how, 0))


def _as_it_comes(
    data: Sequence[Datum], max_tokens: int, *, share: bool
) -> Iterator[learning.Chunk]:
    """Whole rows in the order of the data, cut where padding would exceed `max_tokens`."""
    assert not share
    rows = [Row(i, datum, 0, 0) for i, datum in enumerate(data)]
    longest = max(len(row.tokens) for row in rows)
    size = max(1, max_tokens // longest)
    batches = [tuple(rows[i : i + size]) for i in range(0, len(rows), size)]
    yield learning.Chunk(((),), tuple(batches))


def _section(title: str, text: str, parts: Sequence[Part], rounds: int) -> Section:
    costs = list(zip(*in_turn([action for _, action in parts], rounds), strict=True))
    rows = tuple(
        (name, seconds(cost), f"{median_ratio(cost, costs[0]):.1f}")
        for (name, _), cost in zip(parts, costs, strict=True)
    )
    return Section(title, text, ("what is switched off", "CPU time", "times the first"), rows)
