"""The engine's promises on a real device: `python -m pytest -m gpu`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srpo.engines import Engine
from srpo.engines.local.engine import LocalEngine
from srpo.types import Clip, Sampling
from tests.contract import test_engine as contract

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device (2026-11-22)"),
]

KINDS = ("llama", "qwen3", "qwen2", "gpt2")
PROMISES = [promise for name, promise in sorted(vars(contract).items()) if name.startswith("test_")]


def on_gpu(kind: str, folder: Path, dtype: torch.dtype = torch.float32) -> LocalEngine:
    model = contract.tiny_model(kind).to("cuda")
    return LocalEngine(model, folder, dtype=dtype, micro_batch_tokens=16, sampler_rows=5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_promise_of_the_contract_holds_on_the_gpu(
    kind: str, promise: Callable[[Callable[[], Engine]], None], tmp_path: Path
) -> None:
    promise(lambda: on_gpu(kind, tmp_path))
    assert torch.cuda.max_memory_allocated() > 0  # it ran there, not on the CPU


@pytest.mark.parametrize("kind", KINDS)
def test_gpu_and_cpu_give_the_same_logprobs(kind: str, tmp_path: Path) -> None:
    how = Sampling(max_tokens=6, stop_ids=(2,), seed=5)
    cpu = LocalEngine(contract.tiny_model(kind), tmp_path)
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
