"""The engine's promises on a real device: `python -m pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from srpo.engines.local.engine import LocalEngine
from srpo.types import Clip, Sampling
from tests.contract import test_engine as contract
from tests.engine_promises import Promise, promises
from tests.models import tiny_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device (2026-11-22)"),
]

KINDS = ("llama", "qwen3", "qwen2", "gpt2")


def local_engine(
    kind: str, folder: Path, device: str, dtype: torch.dtype = torch.float32
) -> LocalEngine:
    model = tiny_model(kind).to(device)
    assert {weight.device.type for weight in model.parameters()} == {device}
    return LocalEngine(model, folder, dtype=dtype, micro_batch_tokens=16, sampler_rows=5)


def on_gpu(kind: str, folder: Path, dtype: torch.dtype = torch.float32) -> LocalEngine:
    return local_engine(kind, folder, "cuda", dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("promise", promises(), ids=str)
def test_every_promise_of_the_contract_holds_on_the_gpu(
    kind: str, promise: Promise, tmp_path: Path
) -> None:
    made: list[LocalEngine] = []
    at_rest: list[int] = []  # bytes, with the weights there and nothing computed

    def make() -> LocalEngine:
        made.append(on_gpu(kind, tmp_path))
        torch.cuda.reset_peak_memory_stats()
        at_rest.append(torch.cuda.memory_allocated())
        return made[-1]

    promise.assert_kept_by(make)
    assert torch.cuda.max_memory_allocated() > at_rest[-1]  # it computed there, not on the CPU
    for engine in made:  # and stayed there, after steps and loads
        assert {weight.device.type for weight in engine.model.parameters()} == {"cuda"}


@pytest.mark.parametrize("kind", KINDS)
def test_gpu_and_cpu_give_the_same_logprobs(kind: str, tmp_path: Path) -> None:
    how = Sampling(max_tokens=6, stop_ids=(2,), seed=5)
    cpu = LocalEngine(tiny_model(kind), tmp_path)
    drawn = cpu.sample(contract.PROMPTS, 4, how)
    pairs = zip(contract.PROMPTS, drawn, strict=True)
    data = [contract.datum(prompt, s, 1.0) for prompt, samples in pairs for s in samples]
    expected = cpu.forward_backward(data, Clip())
    found = on_gpu(kind, tmp_path).forward_backward(data, Clip())
    for a, b in zip(found, expected, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_bfloat16_sampler_and_trainer_agree_within_its_precision(tmp_path: Path) -> None:
    engine = on_gpu("llama", tmp_path, torch.bfloat16)
    drawn = contract.rows(engine)
    new = engine.forward_backward([contract.datum(p, s, 1.0) for p, s in drawn], Clip())
    for (prompt, sample), logprobs in zip(drawn, new, strict=True):
        assert logprobs[len(prompt) :] == pytest.approx(sample.logprobs, abs=0.2)
