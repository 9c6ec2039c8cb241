"""Attention in blocks, and the norm, against the same written out in float64."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from srpo.engines.local import attention_blocks, norms
from srpo.engines.local.attention_blocks import attend_in_blocks, takes_blocks
from srpo.engines.local.engine import LocalEngine
from srpo.types import Clip, Sampling
from tests.contract.test_engine import datum
from tests.models import tiny_model

B, K, D = 3, 2, 8


def made(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def written_out(q: Tensor, keys: Tensor, values: Tensor, lengths: Sequence[int]) -> Tensor:
    """Each query alone: a softmax over the keys that it may see."""
    num_past, groups = keys.shape[2] - q.shape[1], q.shape[2] // keys.shape[1]
    out = torch.empty_like(q)
    for b, length in enumerate(lengths):
        for t in range(q.shape[1]):
            for h in range(q.shape[2]):
                seen = [*range(length), *range(num_past, num_past + t + 1)]
                scores = keys[b, h // groups, seen] @ q[b, t, h] / q.shape[3] ** 0.5
                out[b, t, h] = torch.softmax(scores, 0) @ values[b, h // groups, seen]
    return out


def with_gradients(out: Tensor, given_to: Sequence[Tensor], grads: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out, given_to, grads.to(out.dtype))]


@pytest.mark.parametrize("most", [1, 60, 200, 10**6])  # scores: of a token, of parts, of rows, all
@pytest.mark.parametrize(("groups", "past"), [(1, 0), (1, 3), (3, 3)])
def test_attention_in_blocks_is_that_written_out_and_so_are_its_gradients(
    groups: int, past: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_blocks, "BLOCK_SCORES", most)
    monkeypatch.setattr(attention_blocks, "LONG_BLOCK_SCORES", most)
    tokens, lengths = 5, [past, max(0, past - 2), max(0, past - 1)]
    q = made(1, B, tokens, groups * K, D).requires_grad_()
    keys = made(2, B, K, past + tokens, D).requires_grad_()
    values = made(3, B, K, past + tokens, D).requires_grad_()
    grads = made(4, *q.shape)
    unseen = torch.arange(past) >= torch.tensor(lengths)[:, None]
    mask = torch.zeros(B, past).masked_fill_(unseen, float("-inf"))[:, None, None]
    out = attend_in_blocks(q, keys, values, mask if past else None)
    found = with_gradients(out, (q, keys, values), grads)
    exact = [each.detach().double().requires_grad_() for each in (q, keys, values)]
    wanted = with_gradients(written_out(exact[0], exact[1], exact[2], lengths), exact, grads)
    for mine, theirs in zip(found, wanted, strict=True):
        # numbers in bfloat16 have 8 bits: rounding is off by .004 at most, and they are rounded as
        # shares, as products and as sums
        assert float((mine.double() - theirs).norm()) <= 0.006 * float(theirs.norm())


@given(
    shape=st.tuples(*(st.integers(1, n) for n in (5, 3, 3, 40))),
    past=st.integers(0, 30),
    most=st.integers(1, 4000),
)
def test_blocks_have_every_query_once_and_no_more_scores_than_fit(
    shape: tuple[int, int, int, int], past: int, most: int
) -> None:
    rows, num_kv, groups, tokens = shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_blocks, "BLOCK_SCORES", most)
        patch.setattr(attention_blocks, "LONG_BLOCK_SCORES", most)
        blocks = list(attention_blocks._blocks(torch.Size((*shape, D)), past + tokens))
    seen = torch.zeros(rows, tokens)
    for block in blocks:
        seen[block.rows, block.tokens] += 1
        count = len(seen[block.rows])
        scores = count * num_kv * groups * block.num_tokens * block.columns
        assert scores <= most or (count == 1 and block.num_tokens == 1)
        # all that its last query may see, and at most a part of the row more
        assert past + block.tokens.stop <= block.columns <= past + tokens
        assert block.first_own == past + block.tokens.start
    assert bool((seen == 1).all())


def test_scores_are_not_rounded_to_bfloat16_and_the_precision_of_others_stays() -> None:
    left, right = made(1, 1, 64, 64) * 4, made(2, 1, 64, 64) * 4
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    found = attention_blocks._product(left, right.float())
    assert torch.backends.mkldnn.matmul.fp32_precision == before  # type: ignore[attr-defined]
    exact = left.double() @ right.double().transpose(-1, -2)
    assert float(exact.abs().max()) > 300  # where bfloat16 has steps of 2
    assert float((found - exact).abs().max()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_torchs_to_the_bit_and_its_gradient_that_of_float64(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norms, "CACHED", 3 * 16)  # 10 rows in four parts
    x = (3 * made(1, 2, 5, 16)).to(dtype).requires_grad_()
    weight = made(2, 16).to(dtype).requires_grad_()
    grads = made(3, 2, 5, 16).to(dtype)
    out = norms.rms_norm(x, weight, 1e-5)
    assert torch.equal(out, F.rms_norm(x, (16,), weight, 1e-5))
    with torch.no_grad():
        assert torch.equal(out, norms.rms_norm(x, weight, 1e-5))
    exact = [each.detach().double().requires_grad_() for each in (x, weight)]
    wanted = with_gradients(F.rms_norm(exact[0], (16,), exact[1], 1e-5), exact, grads)
    rounding = 1e-6 if dtype == torch.float32 else 0.004
    found = with_gradients(out, (x, weight), grads)
    for mine, theirs in zip(found, wanted, strict=True):
        assert float((mine.double() - theirs).norm()) <= rounding * float(theirs.norm())
    # beside adapters no norm is trained
    (alone,) = torch.autograd.grad(norms.rms_norm(x, weight.detach(), 1e-5), (x,), grads)
    assert torch.equal(alone, found[1])


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_in_bfloat16_the_trainer_has_the_samplers_logprobs_and_nearly_those_of_float32(
    kind: str, tmp_path: Path
) -> None:
    if not takes_blocks(made(1, 1)):
        pytest.skip("2026-11-24: this processor does not multiply bfloat16")
    prompts = [(5, 6, 7), (8, 9, 10, 11, 12, 13), (3, 4)]  # shared prefixes of other lengths
    half = LocalEngine(tiny_model(kind), tmp_path / "half", dtype=torch.bfloat16)
    whole = LocalEngine(tiny_model(kind), tmp_path / "whole")
    drawn = half.sample(prompts, 4, Sampling(max_tokens=12, stop_ids=(2,), seed=4))
    data = [datum(p, s, 1.0) for p, each in zip(prompts, drawn, strict=True) for s in each]
    rows = [each.forward_backward(data, Clip()) for each in (half, whole)]
    trained = [
        (old, mine, exact)
        for given, *found in zip(data, *rows, strict=True)
        for masked, old, mine, exact in zip(given.mask, given.sampler_logprobs, *found, strict=True)
        if masked
    ]
    assert len(trained) > 60
    mean = [sum(abs(a - b) for a, b in pairs) / len(trained) for pairs in (
        [(old, mine) for old, mine, _ in trained], [(mine, exact) for _, mine, exact in trained],
    )]  # fmt: skip
    assert mean[0] < 1e-4
    assert mean[1] < 0.01
