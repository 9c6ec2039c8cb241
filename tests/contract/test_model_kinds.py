"""Which models srpo's own passes compute, which go through transformers, which it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from srpo.engines.local import loading
from srpo.engines.local.engine import LocalEngine
from srpo.engines.local.loading import network_of
from srpo.errors import ModelError
from srpo.types import Sampling
from tests.models import MODELS, SIZES, model_of, tiny_model

LOST = (
    "is sampled and trained through transformers: right, but slower; no shared prefixes, no "
    "refill of rows that are done, no gradient_checkpointing, no compile"
)


def test_what_goes_through_transformers_is_said_with_what_is_lost(tmp_path: Path) -> None:
    assert LocalEngine(tiny_model("gpt2"), tmp_path).note == f"this gpt2 model {LOST}"
    assert LocalEngine(tiny_model("llama"), tmp_path).note == ""


def test_own_passes_that_differ_are_not_taken_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loading, "SAME_PASSES", {torch.float32: -1.0})  # no gap is small enough
    note = LocalEngine(tiny_model("llama"), tmp_path).note
    assert note.startswith("srpo's own passes differ by ")
    assert note.endswith(f" in a logit, so this llama model {LOST}")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_logits_that_are_not_finite_are_no_matter_of_the_own_passes(kind: str) -> None:
    model = tiny_model(kind)
    with torch.no_grad():  # finite, but not what it comes to: floats end at 3.4e38
        model.get_output_embeddings().weight.fill_(3e38)
    with pytest.raises(ModelError, match=f"this {kind} model computes logits that are not finite"):
        network_of(model, torch.float32)


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_keys_and_values_is_refused() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 32, "state_size": 4}
    with pytest.raises(ModelError, match="mamba models cannot be sampled row by row"):
        network_of(model_of("mamba", sizes), torch.float32)


def test_the_text_model_of_a_model_that_also_sees_is_trained(tmp_path: Path) -> None:
    model = model_of("gemma3", MODELS["gemma3"])
    how = Sampling(max_tokens=5, stop_ids=(), seed=1)
    ((sample,),) = LocalEngine(model, tmp_path).sample([(5, 6, 7)], 1, how)
    ids = torch.tensor([[5, 6, 7, *sample.tokens]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, 2:-1].log_softmax(-1)
    expected = logprobs.gather(1, torch.tensor(sample.tokens)[:, None])[:, 0]
    assert sample.logprobs == pytest.approx(expected.tolist(), abs=1e-5)


def test_weights_that_training_has_spoilt_are_left_to_the_trainer(tmp_path: Path) -> None:
    # sampling goes on, and what it drew has no probability: the update is skipped
    engine = LocalEngine(model_of("llama", SIZES), tmp_path)
    with torch.no_grad():
        engine.model.lm_head.weight.fill_(float("nan"))
    ((sample,),) = engine.sample([(5, 6)], 1, Sampling(max_tokens=2, stop_ids=(), seed=1))
    assert all(0 <= token < SIZES["vocab_size"] for token in sample.tokens)
    assert all(value != value for value in sample.logprobs)  # nan
