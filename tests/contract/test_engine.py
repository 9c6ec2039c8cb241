"""What every engine promises. One suite, every implementation, the shipped fake included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srpo.engines import Engine
from srpo.engines.scripted import ScriptedEngine
from srpo.types import Adam, Clip, Datum, Sample, Sampling
from tests.models import tiny_model

STOP = 2
PROMPTS = [(5, 6, 7), (8, 9)]
HOW = Sampling(max_tokens=6, stop_ids=(STOP,), seed=11)
SCRIPT = {
    (5, 6, 7): [(10, 11, STOP), (10, 12, STOP), (13, STOP)],
    (8, 9): [(14, STOP), (15, 16, 17, 18, 19, 20, STOP)],
}


def scripted(folder: Path) -> Engine:
    return ScriptedEngine(SCRIPT, folder)


def local(kind: str, *, lora_rank: int = 0, checkpointed: bool = False) -> Callable[[Path], Engine]:
    def make(folder: Path) -> Engine:
        from srpo.engines.local.adapters import add_adapters
        from srpo.engines.local.decoder import Passes
        from srpo.engines.local.engine import LocalEngine

        model = tiny_model(kind)
        if lora_rank:
            add_adapters(model, lora_rank, seed=3)
        # budgets so small that batches are really cut
        training = Passes(checkpointed=checkpointed)
        return LocalEngine(model, folder, micro_batch_tokens=16, sampler_rows=5, training=training)

    return make


def with_vllm(kind: str, *, lora_rank: int = 0) -> Callable[[Path], Engine]:
    def make(folder: Path) -> Engine:
        import torch

        from srpo.engines.local.adapters import add_adapters
        from srpo.engines.local.engine import LocalEngine
        from srpo.engines.local.vllm_sampling import VllmSampler

        model = tiny_model(kind, hidden_size=128, head_dim=32)  # vLLM's smallest head on a CPU
        if lora_rank:
            add_adapters(model, lora_rank, seed=3)
        sampler = VllmSampler(model, torch.float32, rows=5, longest=16, cache_gib=0.05)
        return LocalEngine(model, folder, micro_batch_tokens=16, sampler=sampler)

    return make


MAKERS: dict[str, Callable[[Path], Engine]] = {
    "scripted": scripted,
    "llama": local("llama"),
    "qwen3": local("qwen3"),
    "qwen2": local("qwen2"),
    "gpt2": local("gpt2"),
    "qwen3, checkpointed": local("qwen3", checkpointed=True),
    "qwen2, adapters": local("qwen2", lora_rank=4),
    "phi, adapters": local("phi", lora_rank=4),  # through transformers
    "llama, adapters, checkpointed": local("llama", lora_rank=4, checkpointed=True),
}
VLLM_MAKERS = {
    "vllm, llama": with_vllm("llama"),
    "vllm, qwen3, tied": with_vllm("qwen3"),
    "vllm, qwen2, adapters": with_vllm("qwen2", lora_rank=4),
}
VLLM_MARKS = (  # seconds to open each; its import opens sockets, and warns
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),
)


@pytest.fixture(params=[*MAKERS, *(pytest.param(name, marks=VLLM_MARKS) for name in VLLM_MAKERS)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    if request.param in VLLM_MAKERS:
        pytest.importorskip("vllm", reason="vLLM is not installed; see docs/vllm.md")
    made: list[Engine] = []  # held to the test's end: the vLLM that is dropped closes all others

    def make_one() -> Engine:
        made.append({**MAKERS, **VLLM_MAKERS}[request.param](tmp_path))
        return made[-1]

    yield make_one
    made.clear()


def datum(prompt: tuple[int, ...], sample: Sample, advantage: float, shift: float = 0.0) -> Datum:
    """`shift` is added to the sampler's logprobs, as if it had been another policy."""
    before, count = len(prompt), len(sample.tokens)
    return Datum(
        tokens=prompt + sample.tokens,
        mask=(0.0,) * before + (1.0,) * count,
        sampler_logprobs=(0.0,) * before + tuple(value + shift for value in sample.logprobs),
        advantages=(0.0,) * before + (advantage,) * count,
    )


def rows(engine: Engine, n: int = 4) -> list[tuple[tuple[int, ...], Sample]]:
    drawn = engine.sample(PROMPTS, n, HOW)
    return [(p, s) for p, samples in zip(PROMPTS, drawn, strict=True) for s in samples]


def step_norm(engine: Engine, data: list[Datum]) -> float:
    """The gradient's norm, the weights left as they are."""
    engine.forward_backward(data, Clip())
    return engine.optim_step(Adam(lr=0.0))["grad_norm"]


def test_samples_come_in_order_and_end_at_a_stop_or_at_the_limit(
    make: Callable[[], Engine],
) -> None:
    drawn = make().sample(PROMPTS, 7, HOW)
    assert [len(samples) for samples in drawn] == [7, 7]
    for sample in (s for samples in drawn for s in samples):
        assert len(sample.tokens) == len(sample.logprobs) <= HOW.max_tokens
        if sample.stop_reason == "stop":
            assert sample.tokens[-1] == STOP
        else:
            assert len(sample.tokens) == HOW.max_tokens
        assert STOP not in sample.tokens[:-1]


def test_same_weights_and_seed_give_the_same_samples(make: Callable[[], Engine]) -> None:
    engine = make()
    assert engine.sample(PROMPTS, 4, HOW) == engine.sample(PROMPTS, 4, HOW)
    other = Sampling(max_tokens=6, stop_ids=(STOP,), seed=12)
    assert engine.sample(PROMPTS, 12, HOW) != engine.sample(PROMPTS, 12, other)


def test_logprobs_of_fresh_samples_equal_the_samplers(make: Callable[[], Engine]) -> None:
    engine = make()
    drawn = rows(engine)
    new = engine.forward_backward([datum(p, s, 1.0) for p, s in drawn], Clip())
    for (prompt, sample), logprobs in zip(drawn, new, strict=True):
        assert logprobs[: len(prompt)] == [0.0] * len(prompt)
        assert logprobs[len(prompt) :] == pytest.approx(sample.logprobs, abs=1e-5)


def test_logprobs_are_those_of_the_temperature_that_was_sampled_at(
    make: Callable[[], Engine],
) -> None:
    engine = make()
    warm = Sampling(max_tokens=6, stop_ids=(STOP,), seed=3, temperature=1.7)
    sample = engine.sample(PROMPTS[:1], 1, warm)[0][0]
    cold = datum(PROMPTS[0], sample, 1.0)
    hot = Datum(cold.tokens, cold.mask, cold.sampler_logprobs, cold.advantages, temperature=1.7)
    (logprobs,) = engine.forward_backward([hot], Clip())
    assert logprobs[3:] == pytest.approx(sample.logprobs, abs=1e-5)


def test_the_gradient_is_a_sum(make: Callable[[], Engine]) -> None:
    # x alone, x twice in one call, and x in two calls: 1, 2 and 2 times the gradient
    engine = make()
    data = [datum(p, s, 0.5) for p, s in rows(engine)]
    once = step_norm(engine, data)
    assert once > 1e-4
    assert step_norm(engine, data + data) == pytest.approx(2 * once, rel=1e-4)
    engine.forward_backward(data, Clip())
    assert step_norm(engine, data) == pytest.approx(2 * once, rel=1e-4)


def test_advantages_scale_the_gradient_and_zero_advantages_add_nothing(
    make: Callable[[], Engine],
) -> None:
    engine = make()
    drawn = rows(engine)
    once = step_norm(engine, [datum(p, s, 0.5) for p, s in drawn])
    assert step_norm(engine, [datum(p, s, -1.5) for p, s in drawn]) == pytest.approx(
        3 * once, rel=1e-4
    )
    assert step_norm(engine, [datum(p, s, 0.0) for p, s in drawn]) == 0.0
    assert step_norm(engine, []) == 0.0


def test_logprobs_do_not_depend_on_the_advantages_to_the_last_bit(
    make: Callable[[], Engine],
) -> None:
    engine = make()
    drawn = rows(engine)
    with_zeros = engine.forward_backward([datum(p, s, 0.0) for p, s in drawn], Clip())
    assert with_zeros == engine.forward_backward([datum(p, s, 0.5) for p, s in drawn], Clip())


def test_a_token_outside_the_trust_region_adds_nothing(make: Callable[[], Engine]) -> None:
    # a sampler 1 nat lower makes every ratio e = 2.7 > 1.28; 1 nat higher makes it 0.37 < 0.8.
    # Only the side that the advantage already pushed to is cut off.
    engine = make()
    drawn = rows(engine)
    assert step_norm(engine, [datum(p, s, 1.0, shift=-1.0) for p, s in drawn]) == 0.0
    assert step_norm(engine, [datum(p, s, -1.0, shift=1.0) for p, s in drawn]) == 0.0
    assert step_norm(engine, [datum(p, s, -1.0, shift=-1.0) for p, s in drawn]) > 1e-4
    assert step_norm(engine, [datum(p, s, 1.0, shift=1.0) for p, s in drawn]) > 1e-4


def test_the_clip_range_is_asymmetric(make: Callable[[], Engine]) -> None:
    # ratio 1.25 lies inside 1 + 0.28 and outside 1 + 0.20
    engine = make()
    data = [datum(p, s, 1.0, shift=-0.2231) for p, s in rows(engine)]
    engine.forward_backward(data, Clip(low=0.2, high=0.28))
    assert engine.optim_step(Adam(lr=0.0))["grad_norm"] > 1e-4
    engine.forward_backward(data, Clip(low=0.2, high=0.20))
    assert engine.optim_step(Adam(lr=0.0))["grad_norm"] == 0.0


def test_a_step_is_seen_by_the_very_next_sample_and_raises_what_was_rewarded(
    make: Callable[[], Engine],
) -> None:
    engine = make()
    prompt, sample = rows(engine)[0]
    data = [datum(prompt, sample, 1.0)]
    before = sum(engine.forward_backward(data, Clip())[0])
    engine.optim_step(Adam(lr=0.002))
    after = sum(engine.forward_backward(data, Clip())[0])
    assert after > before
    fresh = rows(engine)
    new = engine.forward_backward([datum(p, s, 0.0) for p, s in fresh], Clip())
    for (prompt, sample), logprobs in zip(fresh, new, strict=True):
        assert logprobs[len(prompt) :] == pytest.approx(sample.logprobs, abs=1e-5)


def test_learning_rate_zero_changes_nothing(make: Callable[[], Engine]) -> None:
    engine = make()
    data = [datum(p, s, 1.0) for p, s in rows(engine)]
    before = engine.forward_backward(data, Clip())
    engine.optim_step(Adam(lr=0.0))
    assert engine.forward_backward(data, Clip()) == before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_step_whose_gradient_is_not_finite_changes_nothing(
    make: Callable[[], Engine], bad: float
) -> None:
    # two engines make the same steps, but one of them makes a bad one in between
    logprobs = []
    for bads in (0, 1):
        engine = make()
        data = [datum(p, s, 1.0) for p, s in rows(engine)]
        engine.forward_backward(data, Clip(high=9.0))
        assert math.isfinite(engine.optim_step(Adam(lr=0.02))["grad_norm"])
        if bads:
            wrong = [datum(p, s, bad) for p, s in rows(engine)]
            engine.forward_backward([*data, *wrong], Clip(high=9.0))
            assert not math.isfinite(engine.optim_step(Adam(lr=0.02))["grad_norm"])
        engine.forward_backward(data, Clip(high=9.0))
        assert math.isfinite(engine.optim_step(Adam(lr=0.02))["grad_norm"])
        logprobs.append(engine.forward_backward(data, Clip()))
    assert logprobs[0] == logprobs[1]


def test_save_step_load_restores_weights_and_optimizer(make: Callable[[], Engine]) -> None:
    engine = make()
    data = [datum(p, s, 1.0) for p, s in rows(engine)]
    engine.forward_backward(data, Clip())
    engine.optim_step(Adam(lr=0.02))
    saved = engine.save("here")

    def two_more_steps() -> list[list[float]]:
        for _ in range(2):
            engine.forward_backward(data, Clip(high=9.0))
            engine.optim_step(Adam(lr=0.02))
        return engine.forward_backward([datum(p, s, 0.0) for p, s in drawn], Clip())

    drawn = rows(engine)
    first = two_more_steps()
    engine.load(saved)
    assert two_more_steps() == first
    another = make()
    another.load(saved)
    assert another.sample(PROMPTS, 4, HOW) == [
        [s for p, s in drawn if p == prompt] for prompt in PROMPTS
    ]
