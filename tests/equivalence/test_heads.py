"""Output heads cut into parts against the model's whole forward pass, whatever comes after them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from srpo.engines.local import heads
from srpo.engines.local.heads import OutputHead
from srpo.engines.local.plain import PlainNetwork
from tests.equivalence.test_local_engine import CPU, assert_same, gradients

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 32,
         "num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0,
         "bos_token_id": None, "eos_token_id": 1}  # fmt: skip
IDS = torch.tensor([[3, 9, 4, 30, 7], [8, 8, 21, 0, 0]])
REAL = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
TARGETS = torch.tensor([9, 4, 30, 7, 2, 8, 21, 5])
TEMPERATURE = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
WEIGHTS = torch.linspace(-1.0, 1.0, 8)


def model_of(kind: str) -> Any:
    """With a bias, a scale or a soft cap after the product with the head, as the family has it."""
    torch.manual_seed(0)
    own = {
        "gemma2": {"head_dim": 8, "final_logit_softcapping": 2.0},
        "cohere": {"logit_scale": 3.0},
        "granite": {"logits_scaling": 0.2},
    }
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **SIZES, **own.get(kind, {}))
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


@pytest.mark.parametrize("most", [10**6, 64])
@pytest.mark.parametrize(
    ("kind", "is_product"),
    [("mixtral", True), ("phi", False), ("gemma2", False), ("cohere", False), ("granite", False)],
)
def test_logprobs_in_parts_have_the_models_own_gradient(
    kind: str, most: int, monkeypatch: pytest.MonkeyPatch, *, is_product: bool
) -> None:
    model = model_of(kind)
    whole = model(input_ids=IDS, attention_mask=REAL.long()).logits[REAL] / TEMPERATURE[:, None]
    logprobs = torch.log_softmax(whole, dim=-1).gather(1, TARGETS[:, None])[:, 0]
    (logprobs * WEIGHTS).sum().backward()  # type: ignore[no-untyped-call]
    expected = gradients(model)
    model.zero_grad()
    monkeypatch.setattr(heads, "MAX_GRAD_LOGITS", most)  # 64: two tokens of 32 logits at once
    head = OutputHead(model)
    found = head.logprobs(head.hidden(IDS, REAL)[REAL], TARGETS, TEMPERATURE)
    torch.testing.assert_close(found, logprobs, rtol=1e-5, atol=1e-6)
    (found * WEIGHTS).sum().backward()  # type: ignore[no-untyped-call]
    assert_same(gradients(model), expected)
    assert head._is_product is is_product


@pytest.mark.parametrize("kind", ["mixtral", "gemma2"])
def test_no_more_logits_exist_at_once_than_allowed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MAX_GRAD_LOGITS", 64)
    monkeypatch.setattr("srpo.engines.local.logprobs.MAX_LOGITS", 64)
    monkeypatch.setattr("srpo.engines.local.logprobs.MAX_KEPT_LOGITS", 64)
    head = OutputHead(model_of(kind))
    sizes: list[int] = []

    class Watched(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.shape[-1:] == (32,):
                sizes.append(out.numel())
            return out

    with torch.enable_grad(), Watched():  # type: ignore[no-untyped-call]
        hidden = head.hidden(IDS.repeat(20, 1), REAL.repeat(20, 1))[REAL.repeat(20, 1)]
        found = head.logprobs(hidden, TARGETS.repeat(20), TEMPERATURE.repeat(20))
        found.sum().backward()  # type: ignore[no-untyped-call]
    # a whole table would be 160 x 32; the largest thing is the weight, turned: 16 x 32
    assert len(found) == 160
    assert max(sizes) <= 16 * 32


@pytest.mark.parametrize("kind", ["mixtral", "gemma2"])
def test_parts_are_those_of_the_whole_in_bfloat16_too(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, torch.Tensor]:
        network = PlainNetwork(model_of(kind), torch.bfloat16, CPU)
        head = network._head
        with network._autocast:
            logprobs = head.logprobs(head.hidden(IDS, REAL)[REAL], TARGETS, TEMPERATURE)
        (logprobs * WEIGHTS).sum().backward()  # type: ignore[no-untyped-call]
        return gradients(network._model)

    whole = found()
    monkeypatch.setattr(heads, "MAX_GRAD_LOGITS", 64)
    monkeypatch.setattr("srpo.engines.local.logprobs.MAX_LOGITS", 64)
    for name, grad in found().items():
        torch.testing.assert_close(grad, whole[name], rtol=2e-2, atol=2e-2)
