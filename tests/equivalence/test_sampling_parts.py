"""Prompts that are prefilled a few at a time, and tokens chosen for some rows: the same draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srpo.engines.local import fused
from srpo.engines.local.attention import attend_to_self
from srpo.engines.local.choosing import choose, scaled
from srpo.types import Sampling
from tests.equivalence.test_local_engine import HOW, PROMPTS, engine_of

LOGITS = torch.linspace(-9.0, 9.0, 7 * 40).sin().view(7, 40) * 5.0


@pytest.mark.parametrize(
    "how",
    [{}, {"temperature": 0.0, "draft_top_k": 3}, {"top_p": 0.6, "draft_top_k": 3}],
    ids=lambda how: "-".join(how) or "plain",
)
def test_a_token_is_the_same_whichever_rows_it_is_chosen_beside(
    how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Sampling(max_tokens=4, stop_ids=(), seed=5, **how)
    whole = choose(LOGITS, given, torch.Generator().manual_seed(5))
    tables: list[int] = []
    monkeypatch.setattr("srpo.engines.local.choosing.MAX_CHOSEN_LOGITS", 80)  # two rows of 40

    def counted(logits: Tensor, how: Sampling) -> Tensor:
        tables.append(len(logits))
        return scaled(logits, how)

    monkeypatch.setattr("srpo.engines.local.choosing.scaled", counted)
    parts = choose(LOGITS, given, torch.Generator().manual_seed(5))
    assert tables == [2, 2, 2, 1]
    assert parts.tokens.tolist() == whole.tokens.tolist()
    assert parts.logprobs.tolist() == whole.logprobs.tolist()
    if how:
        assert parts.noted is not None
        assert whole.noted is not None
        assert parts.noted.ids.tolist() == whole.noted.ids.tolist()
        assert parts.noted.probs.tolist() == whole.noted.probs.tolist()


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_prompts_prefilled_a_few_at_a_time_begin_the_same_completions(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine_of(kind, tmp_path).sample(PROMPTS, 3, HOW)
    # the longest prompt has 7 tokens: two of the five go through the layers at once
    monkeypatch.setattr(fused, "PREFILL_TOKENS", 14)
    seen: list[int] = []

    def counted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append(len(q))
        return attend_to_self(q, k, v)

    monkeypatch.setattr(fused, "attend_to_self", counted)
    parts = engine_of(kind, tmp_path).sample(PROMPTS, 3, HOW)
    assert sorted(set(seen)) == [1, 2]
    for one, other in zip(whole, parts, strict=True):
        assert [sample.tokens for sample in one] == [sample.tokens for sample in other]
        for a, b in zip(one, other, strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
