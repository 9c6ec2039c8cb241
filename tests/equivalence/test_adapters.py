"""Adapters, checkpointing, compiling: the same numbers as a plain definition, on other weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from srpo.engines.local.adapters import add_adapters
from srpo.engines.local.decoder import Passes
from srpo.engines.local.engine import LocalEngine
from srpo.errors import ModelError
from srpo.types import Adam, Clip, Datum, Sampling
from tests.models import tiny_model

TOKENS = (5, 6, 7, 8, 9, 10, 11)
DATA = [
    Datum(TOKENS, (0.0,) * 3 + (1.0,) * 4, (0.0,) * 3 + (-3.0,) * 4, (0.0,) * 3 + (0.7,) * 4),
    Datum(TOKENS[2:], (0.0,) * 2 + (1.0,) * 3, (0.0,) * 2 + (-3.5,) * 3, (0.0,) * 2 + (-0.4,) * 3),
]


def engine_of(
    kind: str, folder: Path, rank: int = 0, vocab_size: int = 32, **how: Any
) -> LocalEngine:
    model = tiny_model(kind, vocab_size=vocab_size)
    if rank:
        add_adapters(model, rank, seed=3)
    return LocalEngine(model, folder, **how)


def grads_of(engine: LocalEngine) -> dict[str, torch.Tensor]:
    engine.forward_backward(DATA, Clip())
    named = engine.model.named_parameters()
    return {name: weight.grad for name, weight in named if weight.grad is not None}


def stepped(engine: LocalEngine, steps: int = 3) -> None:
    for _ in range(steps):
        engine.forward_backward(DATA, Clip())
        engine.optim_step(Adam(lr=0.05))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_checkpointing_changes_no_gradient(kind: str, tmp_path: Path) -> None:
    plain = grads_of(engine_of(kind, tmp_path))
    kept = grads_of(engine_of(kind, tmp_path, training=Passes(checkpointed=True)))
    assert plain.keys() == kept.keys()
    for name, grad in plain.items():
        torch.testing.assert_close(kept[name], grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_adapters_get_the_gradient_that_peft_would_give_them(kind: str, tmp_path: Path) -> None:
    engine = engine_of(kind, tmp_path, rank=4)
    stepped(engine)  # the second matrix is zero at first, and with it the gradient of the first
    found = {name: grad.clone() for name, grad in grads_of(engine).items()}
    engine.model.zero_grad(set_to_none=True)
    loss = torch.zeros(())
    for datum in DATA:  # through peft's own forward pass
        logits = engine.model(torch.tensor([datum.tokens])).logits[0, :-1].float()
        new = torch.log_softmax(logits, dim=-1)[torch.arange(len(logits)), datum.tokens[1:]]
        old, advantage = (
            torch.tensor(datum.sampler_logprobs[1:]),
            torch.tensor(datum.advantages[1:]),
        )
        ratio = torch.exp(new - old)
        mask = torch.tensor(datum.mask[1:])
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage)
        loss = loss - (surrogate * mask).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    named = dict(engine.model.named_parameters())
    assert found and all(".lora_" in name for name in found)
    for name, grad in found.items():
        own = named[name].grad
        assert own is not None
        torch.testing.assert_close(grad, own, rtol=2e-4, atol=1e-6)


def test_only_adapters_change_and_the_saved_model_has_them_merged(tmp_path: Path) -> None:
    engine = engine_of("qwen3", tmp_path, rank=4)
    before = {n: w.clone() for n, w in engine.model.named_parameters()}
    stepped(engine)
    for name, weight in engine.model.named_parameters():
        assert torch.equal(weight, before[name]) != (".lora_" in name), name
    saved = AutoModelForCausalLM.from_pretrained(engine.save("merged"))
    assert {n for n, _ in saved.named_parameters()} == {
        n for n, _ in tiny_model("qwen3").named_parameters()
    }
    prompt = [5, 6, 7]
    sample = engine.sample([prompt], 1, Sampling(max_tokens=8, stop_ids=(), seed=1))[0][0]
    with torch.no_grad():
        logits = saved(torch.tensor([[*prompt, *sample.tokens]])).logits[0].float()
    logprobs = torch.log_softmax(logits, dim=-1)[2:-1][torch.arange(8), list(sample.tokens)]
    torch.testing.assert_close(logprobs, torch.tensor(sample.logprobs), rtol=1e-4, atol=1e-4)


def test_adapters_begin_as_nothing_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    how = Sampling(max_tokens=6, stop_ids=(), seed=1)
    plain = engine_of("llama", tmp_path).sample([TOKENS], 4, how)
    engine = engine_of("llama", tmp_path, rank=2)
    assert [s.tokens for s in engine.sample([TOKENS], 4, how)[0]] == [s.tokens for s in plain[0]]
    weights = [dict(engine_of("llama", tmp_path, rank=2).model.named_parameters()) for _ in "ab"]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_adapters_of_another_rank_or_none_are_refused_by_name(tmp_path: Path) -> None:
    saved = engine_of("llama", tmp_path, rank=2).save("two")
    with pytest.raises(
        ModelError, match=r"adapters of another model or rank; see model\.lora_rank"
    ):
        engine_of("llama", tmp_path, rank=4).load(saved)
    whole = engine_of("llama", tmp_path).save("whole")
    with pytest.raises(ModelError, match=r"adapter\.safetensors is missing; see model\.lora_rank"):
        engine_of("llama", tmp_path, rank=4).load(whole)


def test_what_a_family_cannot_have_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gpt2 models have no linear layers that adapters fit"):
        engine_of("gpt2", tmp_path, rank=2)
    with pytest.raises(ModelError, match="gradient_checkpointing: not for gpt2 models"):
        engine_of("gpt2", tmp_path, training=Passes(checkpointed=True))


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("no C++ compiler\nand a trace")


def test_what_cannot_be_compiled_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda x: x)
    with pytest.raises(ModelError, match=r"model\.compile: not for gpt2 models"):
        engine_of("gpt2", tmp_path, training=Passes(compiled=True))
    monkeypatch.setattr(torch, "compile", broken)
    said = r"model\.compile: torch\.compile does not work here \(no C\+\+ compiler\); .* to false$"
    with pytest.raises(ModelError, match=said):
        engine_of("llama", tmp_path, training=Passes(compiled=True))


@pytest.mark.slow  # compiles for each: a minute
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_compiling_changes_no_gradient(kind: str, checkpointed: bool, tmp_path: Path) -> None:
    plain = grads_of(engine_of(kind, tmp_path))
    compiled = grads_of(engine_of(kind, tmp_path, training=Passes(checkpointed, compiled=True)))
    assert plain.keys() == compiled.keys()
    for name, grad in plain.items():
        torch.testing.assert_close(compiled[name], grad, rtol=1e-5, atol=1e-6)


@pytest.mark.slow  # torchao compiles its step: a minute
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of torchao and the compiler
def test_moments_of_8_bits_learn_the_same_and_are_saved_and_loaded(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    # weights of fewer than 4096 numbers keep moments of 32 bits; those of tokens have more
    engines = [
        engine_of("llama", tmp_path, vocab_size=512),
        engine_of("llama", tmp_path, vocab_size=512, moments="8bit"),
    ]
    norms = []
    for engine in engines:
        stepped(engine)
        engine.forward_backward(DATA, Clip())
        norms.append(engine.optim_step(Adam(lr=0.0))["grad_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=0.05)
    saved = engines[1].save("s")
    moments = load_file(Path(saved) / "optimizer.safetensors")
    assert moments["lm_head.weight.exp_avg.codes"].dtype == torch.uint8
    other = engine_of("llama", tmp_path, vocab_size=512, moments="8bit")
    other.load(saved)
    for engine in (engines[1], other):
        stepped(engine, 1)
    pairs = zip(engines[1].model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
