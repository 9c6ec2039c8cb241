"""Two ways, one result: the local engine against itself, cut otherwise, and against plain code."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srpo.engines.local.engine import LocalEngine
from srpo.engines.local.fused import FusedNetwork
from srpo.engines.local.learning import accumulate
from srpo.engines.local.loading import network_of
from srpo.engines.local.network import AnyNetwork
from srpo.engines.local.plain import PlainNetwork
from srpo.engines.local.sampling import draw
from srpo.types import Adam, Clip, Datum, Sample, Sampling
from tests.models import tiny_model

KINDS = ["llama", "qwen2", "qwen3", "gpt2"]
STOP = 2
PROMPTS = [(5, 6, 7), (8, 9), (3,), (4, 4, 10, 11, 12, 30, 31), (9, 1, 9)]
HOW = Sampling(max_tokens=9, stop_ids=(STOP, 17, 23), seed=11)
CPU = torch.device("cpu")
CLIP = Clip()


def engine_of(kind: str, folder: Path, *, micro_batch_tokens: int = 4096) -> LocalEngine:
    return LocalEngine(tiny_model(kind), folder, micro_batch_tokens=micro_batch_tokens)


def drawn(engine: LocalEngine, how: Sampling = HOW, n: int = 3) -> list[tuple[Any, Sample]]:
    found = engine.sample(PROMPTS, n, how)
    return [(p, s) for p, samples in zip(PROMPTS, found, strict=True) for s in samples]


def some_data(kind: str, folder: Path) -> list[Datum]:
    """Rollouts of all prompts; the sampler a little off, so that ratios are not all one."""
    data = []
    for i, (prompt, sample) in enumerate(drawn(engine_of(kind, folder))):
        before, count = len(prompt), len(sample.tokens)
        shift = (-0.3, -0.1, 0.1, 0.3)[i % 4]
        data.append(
            Datum(
                tokens=prompt + sample.tokens,
                mask=(0.0,) * before + (1.0,) * count,
                sampler_logprobs=(0.0,) * before + tuple(x + shift for x in sample.logprobs),
                advantages=(0.0,) * before + (0.1 * (i % 5 - 2),) * count,
                temperature=(1.0, 0.7)[i % 2],
            )
        )
    return data


def gradients(model: Any) -> dict[str, Tensor]:
    return {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}


def gradient_through(network_kind: str, kind: str, data: Sequence[Datum], max_tokens: int) -> Any:
    model = tiny_model(kind)
    network: AnyNetwork
    if network_kind == "fused":
        network = FusedNetwork(model, torch.float32, CPU)
    else:
        network = PlainNetwork(model, torch.float32, CPU)
    accumulate(network, data, CLIP, max_tokens)
    return gradients(model)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Every parameter's gradient, up to the rounding of float32 sums."""
    assert set(one) == set(other)
    largest = max(float(grad.abs().max()) for grad in one.values())
    assert largest > 1e-3
    for name, grad in one.items():
        gap = float((grad - other[name]).abs().max())
        assert gap <= 2e-5 * largest, f"{name}: differs by {gap:.3g} of {largest:.3g}"


# --- training -----------------------------------------------------------------------------------


def plain_gradient(kind: str, data: Sequence[Datum]) -> dict[str, Tensor]:
    """The definition: each datum alone through `model(...)`, and torch's own derivative."""
    model = tiny_model(kind)
    loss = torch.zeros(())
    for datum in data:
        logits = model(torch.tensor([datum.tokens])).logits[0, :-1] / datum.temperature
        chosen = torch.tensor(datum.tokens[1:])[:, None]
        logprobs = torch.log_softmax(logits, dim=-1).gather(1, chosen)[:, 0]
        mask, advantages = torch.tensor(datum.mask[1:]), torch.tensor(datum.advantages[1:])
        ratio = torch.exp(logprobs - torch.tensor(datum.sampler_logprobs[1:]))
        clipped = torch.clamp(ratio, 1 - CLIP.low, 1 + CLIP.high)
        loss = loss - (mask * torch.minimum(ratio * advantages, clipped * advantages)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return gradients(model)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_plain_definition(kind: str, tmp_path: Path) -> None:
    data = some_data(kind, tmp_path)
    engine = engine_of(kind, tmp_path)
    engine.forward_backward(data, CLIP)
    assert_same(plain_gradient(kind, data), gradients(engine.model))


@pytest.mark.parametrize("micro_batch_tokens", [1, 16, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_micro_batches_does_not_matter(
    kind: str, micro_batch_tokens: int, tmp_path: Path
) -> None:
    data = some_data(kind, tmp_path)
    whole, cut = (
        engine_of(kind, tmp_path, micro_batch_tokens=m) for m in (10**6, micro_batch_tokens)
    )
    one, other = whole.forward_backward(data, CLIP), cut.forward_backward(data, CLIP)
    for first, second in zip(one, other, strict=True):
        assert first == pytest.approx(second, abs=1e-5)
    assert_same(gradients(whole.model), gradients(cut.model))


@pytest.mark.parametrize("max_tokens", [24, 10**6])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_shared_prefixes_give_what_whole_rows_give(
    kind: str, max_tokens: int, tmp_path: Path
) -> None:
    data = some_data(kind, tmp_path)
    fused = gradient_through("fused", kind, data, max_tokens)
    assert_same(fused, gradient_through("plain", kind, data, max_tokens))


def test_the_families_that_can_share_prefixes_do() -> None:
    kinds = {kind: type(network_of(tiny_model(kind), torch.float32)).__name__ for kind in KINDS}
    assert kinds == {
        "llama": "FusedNetwork",
        "qwen2": "FusedNetwork",
        "qwen3": "FusedNetwork",
        "gpt2": "PlainNetwork",
    }


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_datum_has_the_same_logprobs_alone_and_padded_among_others(
    kind: str, tmp_path: Path
) -> None:
    data = some_data(kind, tmp_path)
    engine = engine_of(kind, tmp_path)
    together = engine.forward_backward(data, CLIP)
    for datum, logprobs in zip(data, together, strict=True):
        (alone,) = engine.forward_backward([datum], CLIP)
        assert alone == pytest.approx(logprobs, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_order_of_the_data_does_not_matter(kind: str, tmp_path: Path) -> None:
    data = some_data(kind, tmp_path)
    one, other = (engine_of(kind, tmp_path, micro_batch_tokens=40) for _ in range(2))
    forwards = one.forward_backward(data, CLIP)
    backwards = other.forward_backward(data[::-1], CLIP)
    for first, second in zip(forwards, backwards[::-1], strict=True):
        assert first == pytest.approx(second, abs=1e-5)
    assert_same(gradients(one.model), gradients(other.model))


def test_an_optimizer_step_is_torchs_adamw_on_the_clipped_gradient(tmp_path: Path) -> None:
    data = some_data("llama", tmp_path)
    how = Adam(lr=0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1, max_grad_norm=0.5)
    engine = engine_of("llama", tmp_path)
    model = tiny_model("llama")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=how.lr, betas=how.betas, eps=how.eps, weight_decay=how.weight_decay
    )
    for _ in range(2):
        engine.forward_backward(data, CLIP)
        accumulate(PlainNetwork(model, torch.float32, CPU), data, CLIP, 10**6)
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients(model).values()))
        for weight in model.parameters():
            weight.grad.mul_(min(1.0, how.max_grad_norm / norm))
        optimizer.step()
        optimizer.zero_grad()
        assert engine.optim_step(how)["grad_norm"] == pytest.approx(norm, rel=1e-4)
    for one, other in zip(engine.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)


# --- sampling -----------------------------------------------------------------------------------


def plain_logprobs(model: Any, prompt: Sequence[int], sample: Sample, temperature: float) -> Any:
    ids = torch.tensor([[*prompt, *sample.tokens]])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].double() / temperature
    chosen = torch.tensor(sample.tokens)[:, None]
    return torch.log_softmax(logits, dim=-1).gather(1, chosen)[:, 0].tolist()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_the_samplers_logprobs_are_those_of_a_plain_forward_pass(
    kind: str, temperature: float, tmp_path: Path
) -> None:
    engine = engine_of(kind, tmp_path)
    how = Sampling(max_tokens=9, stop_ids=HOW.stop_ids, seed=3, temperature=temperature)
    rows = drawn(engine, how, n=4)
    # some end early and leave the batch while others go on: that must not show in the others
    lengths = {len(sample.tokens) for _, sample in rows}
    assert len(lengths) > 2
    assert max(lengths) == 9
    for prompt, sample in rows:
        expected = plain_logprobs(engine.model, prompt, sample, temperature)
        assert sample.logprobs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_greedy_drawing_takes_the_most_likely_token_every_time(kind: str, tmp_path: Path) -> None:
    engine = engine_of(kind, tmp_path)
    greedy = Sampling(max_tokens=6, stop_ids=(STOP,), seed=3, temperature=0.0)
    for prompt, sample in drawn(engine, greedy, n=2):
        ids = list(prompt)
        for token in sample.tokens:
            with torch.no_grad():
                assert token == int(engine.model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)
        expected = plain_logprobs(engine.model, prompt, sample, 1.0)
        assert sample.logprobs == pytest.approx(expected, abs=1e-5)


def first_token_probs(model: Any, prompt: Sequence[int], temperature: float = 1.0) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1].double() / temperature
    probs: list[float] = torch.softmax(logits, dim=-1).tolist()
    return probs


def chi_square(counts: Counter[int], probs: dict[int, float], total: int) -> tuple[float, int]:
    """The statistic and its degrees of freedom; cells that expect fewer than five are joined."""
    cells = [(counts[token], total * p) for token, p in probs.items() if total * p >= 5]
    rare = [(counts[token], total * p) for token, p in probs.items() if total * p < 5]
    if rare:
        cells.append((sum(seen for seen, _ in rare), sum(wanted for _, wanted in rare)))
    return sum((seen - wanted) ** 2 / wanted for seen, wanted in cells), len(cells) - 1


def one_token(engine: LocalEngine, prompt: tuple[int, ...], **how: Any) -> Counter[int]:
    sampling = Sampling(max_tokens=1, stop_ids=(), seed=5, **how)
    return Counter(sample.tokens[0] for sample in engine.sample([prompt], 4000, sampling)[0])


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float, tmp_path: Path) -> None:
    engine = engine_of("llama", tmp_path)
    probs = first_token_probs(engine.model, PROMPTS[0], temperature)
    counts = one_token(engine, PROMPTS[0], temperature=temperature)
    statistic, freedom = chi_square(counts, dict(enumerate(probs)), 4000)
    assert freedom >= 5
    # mean `freedom`, standard deviation sqrt(2 freedom): four of these are beyond 1 in 1,000
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)


def nucleus(probs: list[float], top_p: float) -> dict[int, float]:
    """The fewest most likely tokens that reach top_p together, their probabilities renewed."""
    kept: dict[int, float] = {}
    for token in sorted(range(len(probs)), key=lambda i: -probs[i]):
        kept[token] = probs[token]
        if sum(kept.values()) >= top_p:
            break
    return {token: p / sum(kept.values()) for token, p in kept.items()}


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9])
def test_no_token_outside_the_nucleus_is_ever_drawn(top_p: float, tmp_path: Path) -> None:
    engine = engine_of("llama", tmp_path)
    inside = nucleus(first_token_probs(engine.model, PROMPTS[1], 1.7), top_p)
    counts = one_token(engine, PROMPTS[1], temperature=1.7, top_p=top_p)
    assert set(counts) <= set(inside)
    if len(inside) > 1:
        statistic, freedom = chi_square(counts, inside, 4000)
        assert statistic < freedom + 4 * math.sqrt(2 * freedom)


def test_logprobs_are_those_before_the_nucleus_is_cut(tmp_path: Path) -> None:
    engine = engine_of("llama", tmp_path)
    how = Sampling(max_tokens=5, stop_ids=(STOP,), seed=3, top_p=0.6)
    for prompt, sample in drawn(engine, how):
        expected = plain_logprobs(engine.model, prompt, sample, 1.0)
        assert sample.logprobs == pytest.approx(expected, abs=1e-5)


class Counting:
    """A network that notes how many rows it began with, and how many it ran side by side."""

    def __init__(self, network: AnyNetwork, *, refills: bool = True) -> None:
        self.network = network
        self.refills = refills and network.refills
        self.rows: list[int] = []
        self.widths: list[int] = []
        self.wide: list[weakref.ref[Any]] = []  # caches with room for answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def prefill(self, prompts: Sequence[Sequence[int]], n: int, room: int) -> Any:
        """Note the rows, and pass on."""
        self.rows.append(len(prompts) * n)
        assert not (room and any(cache() for cache in self.wide)), "two caches at once"
        logits, cache = self.network.prefill(prompts, n, room)
        self.wide += [weakref.ref(cache)] if room else []
        return logits, cache

    def decode(self, tokens_B: Tensor, cache: Any) -> Tensor:
        """Note the rows, and pass on."""
        self.widths.append(len(tokens_B))
        return self.network.decode(tokens_B, cache)


def counted(n: int, max_rows: int, kind: str = "llama") -> Counting:
    """What was noted while all prompts were drawn."""
    counting = Counting(network_of(tiny_model(kind), torch.float32))
    network: Any = counting
    found = draw(network, PROMPTS, n, HOW, max_rows, torch.Generator().manual_seed(1))
    assert [len(samples) for samples in found] == [n] * len(PROMPTS)
    return counting


def test_prompts_are_drawn_together_as_far_as_rows_allow() -> None:
    assert counted(n=2, max_rows=5, kind="gpt2").rows == [4, 4, 2]  # two prompts at a time
    # a prompt's two rows begin whenever there is room for them beside those still running
    refilled = counted(n=2, max_rows=5)
    assert (refilled.rows[0], sum(refilled.rows)) == (4, 10)
    assert len(refilled.widths) < len(counted(n=2, max_rows=5, kind="gpt2").widths) * 2


def test_never_more_rows_side_by_side_than_allowed() -> None:
    assert max(counted(n=12, max_rows=5).rows) <= 5
    for n in (1, 2, 3, 5, 12):
        assert max(counted(n=n, max_rows=5).widths) <= 5


def test_a_group_begins_in_parts_so_that_few_finished_rows_are_decoded() -> None:
    # 16 rows a prompt, 16 places: a whole group would wait for the longest of the one before
    network: Any = Counting(network_of(tiny_model("llama"), torch.float32))
    how = Sampling(max_tokens=60, stop_ids=(5, 11, 17), seed=1)
    found = draw(network, PROMPTS, 16, how, 16, torch.Generator().manual_seed(1))
    tokens = sum(len(sample.tokens) for samples in found for sample in samples)
    assert [len(samples) for samples in found] == [16] * 5
    assert sum(network.widths) < 1.3 * tokens


def test_short_prompts_do_not_begin_in_the_cache_of_a_much_longer_one() -> None:
    network: Any = Counting(network_of(tiny_model("llama"), torch.float32))
    prompts = [(5, 6, 7) * 12, *[(8, 9, 4)] * 9]
    draw(network, prompts, 1, HOW, 3, torch.Generator().manual_seed(1))
    assert network.rows[:2] == [3, 3] and len(network.wide) >= 2  # the second is a new cache
    assert sum(network.rows) == 10


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_rows_that_take_the_place_of_others_are_what_they_would_be_alone(kind: str) -> None:
    network = network_of(tiny_model(kind), torch.float32)
    how = Sampling(max_tokens=12, stop_ids=(7, 9, 13), seed=1, temperature=0.0)
    prompts = [PROMPTS[i % 5] + (i % 7, 3 * i % 11) for i in range(20)]  # lengths of 3 to 9
    alone = [draw(network, [p], 1, how, 1, torch.Generator())[0][0] for p in prompts]
    assert len({len(sample.tokens) for sample in alone}) > 3
    for n, max_rows in ((1, 4), (2, 7), (1, 19), (5, 3), (4, 5)):
        found = draw(network, prompts, n, how, max_rows, torch.Generator())
        for one, samples in zip(alone, found, strict=True):
            for sample in samples:
                assert (sample.tokens, sample.stop_reason) == (one.tokens, one.stop_reason)
                assert sample.logprobs == pytest.approx(one.logprobs, abs=1e-5)


def test_refilling_takes_fewer_passes_than_batch_after_batch() -> None:
    steps = {}
    for refills in (True, False):
        counting = Counting(network_of(tiny_model("llama"), torch.float32), refills=refills)
        network: Any = counting
        how = Sampling(max_tokens=40, stop_ids=(5, 11, 17, 23, 29), seed=1)
        prompts = [PROMPTS[i % 5] for i in range(160)]
        draw(network, prompts, 1, how, 8, torch.Generator().manual_seed(1))
        assert sum(counting.rows) == 160
        steps[refills] = len(counting.widths)
    # lengths differ by a factor of forty: each batch waits for its longest
    assert steps[True] < 0.7 * steps[False]
