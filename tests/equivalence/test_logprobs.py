"""Log-probabilities and attention of the local engine, against the plain definition."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from srpo.engines.local import attention, logprobs
from srpo.engines.local.attention import Visible, attend_causal
from srpo.engines.local.logprobs import token_logprobs
from tests.equivalence.test_local_engine import assert_same, gradient_through, some_data

N, V, WIDTH = 40, 300, 16


def tables(dtype: torch.dtype = torch.float32, spread: float = 1.0) -> tuple[Tensor, ...]:
    """Hidden states, head, targets, temperatures and weights of the logprobs in a loss."""
    made = torch.Generator().manual_seed(3)
    hidden = torch.randn(N, WIDTH, generator=made).to(dtype).requires_grad_()
    head = (spread * torch.randn(V, WIDTH, generator=made)).to(dtype).requires_grad_()
    targets = torch.randint(V, (N,), generator=made)
    temperature = 0.5 + torch.rand(N, generator=made)
    return hidden, head, targets, temperature, torch.randn(N, generator=made)


def plain(hidden: Tensor, head: Tensor, targets: Tensor, temperature: Tensor) -> Tensor:
    logits = F.linear(hidden, head).double() / temperature[:, None]
    return torch.log_softmax(logits, dim=1)[torch.arange(len(targets)), targets]


def cut_table(monkeypatch: pytest.MonkeyPatch, *, kept: bool) -> None:
    """Seven rows of logits at once; kept for the backward pass or not."""
    monkeypatch.setattr(logprobs, "MAX_LOGITS", 7 * V)
    monkeypatch.setattr(logprobs, "MAX_KEPT_LOGITS", N * V if kept else 0)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed again"])
@pytest.mark.parametrize("spread", [1.0, 20.0], ids=["flat", "peaked"])
def test_logprobs_and_gradients_are_those_of_log_softmax(
    monkeypatch: pytest.MonkeyPatch, spread: float, *, kept: bool
) -> None:
    cut_table(monkeypatch, kept=kept)
    hidden, head, targets, temperature, weights = tables(spread=spread)
    ours = token_logprobs(hidden, head, targets, temperature)
    wanted = plain(hidden, head, targets, temperature)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-5, atol=1e-5 * spread)
    grads = torch.autograd.grad((ours * weights).sum(), (hidden, head))
    for grad, true in zip(
        grads, torch.autograd.grad((wanted * weights).sum(), (hidden, head)), strict=True
    ):
        assert float((grad - true).abs().max()) < 1e-5 * float(true.abs().max())


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed again"])
def test_gradients_in_bfloat16_are_as_near_to_the_truth_as_autograds(
    monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    cut_table(monkeypatch, kept=kept)
    hidden, head, targets, temperature, weights = tables(torch.bfloat16)
    loss = (token_logprobs(hidden, head, targets, temperature) * weights).sum()
    exact, exact_head = (table.detach().double().requires_grad_() for table in (hidden, head))
    true = (plain(exact, exact_head, targets, temperature) * weights).sum()
    for grad, wanted in zip(
        torch.autograd.grad(loss, (hidden, head)),
        torch.autograd.grad(true, (exact, exact_head)),
        strict=True,
    ):
        # a number of bfloat16 is within 2^-9 of what it stands for; a product of two within 2^-8
        assert float((grad - wanted).norm() / wanted.norm()) < 2.0**-7


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed again"])
def test_a_head_that_is_not_trained_gets_no_gradient(
    monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    cut_table(monkeypatch, kept=kept)
    hidden, head, targets, temperature, weights = tables()
    both = (token_logprobs(hidden, head, targets, temperature) * weights).sum()
    (wanted, _) = torch.autograd.grad(both, (hidden, head))
    frozen = head.detach()
    (token_logprobs(hidden, frozen, targets, temperature) * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert frozen.grad is None
    assert hidden.grad is not None and torch.equal(hidden.grad, wanted)


def test_a_sure_token_teaches_nothing_and_an_impossible_one_no_nan() -> None:
    head = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    hidden = torch.ones(2, 1, requires_grad=True)
    found = token_logprobs(hidden, head, torch.tensor([0, 1]), torch.ones(2))
    assert found.tolist() == [0.0, -400.0]
    found.sum().backward()  # type: ignore[no-untyped-call]
    # of the second token: logit 1 up by 1, logit 0 down by 1; of the first nothing
    assert head.grad is not None
    assert head.grad.tolist() == [[-1.0], [1.0]]
    assert hidden.grad is not None
    assert hidden.grad.tolist() == [[0.0], [-400.0]]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_the_gradient_is_the_same_with_a_mask_too_large_to_fold_heads_into_rows(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = some_data(kind, tmp_path)
    folded = gradient_through("fused", kind, data, 64)
    monkeypatch.setattr(attention, "MAX_MASK", 0)
    assert_same(folded, gradient_through("fused", kind, data, 64))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_heads_folded_into_rows_attend_as_written_out(groups: int) -> None:
    num_rows, T, K, D, P = 2, 5, 3, 8, 4
    made = torch.Generator().manual_seed(5)
    q = torch.randn(num_rows, T, groups * K, D, generator=made)
    k, v = torch.randn(2, num_rows, T, K, D, generator=made)
    past = torch.randn(2, num_rows, K, P, D, generator=made)
    lengths = torch.tensor([4, 2])  # of the past of each row
    visible = Visible(lengths, P, T, groups, torch.float32)
    found = attend_causal(q, k, v, (past[0], past[1]), visible)
    for b in range(num_rows):
        for t in range(T):
            for h in range(groups * K):
                own = h // groups
                seen = int(lengths[b])
                keys = torch.cat((past[0, b, own, :seen], k[b, : t + 1, own]))
                values = torch.cat((past[1, b, own, :seen], v[b, : t + 1, own]))
                weights = torch.softmax(keys @ q[b, t, h] / math.sqrt(D), dim=0)
                torch.testing.assert_close(found[b, t, h], weights @ values)
