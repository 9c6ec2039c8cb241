"""Two ways, one distribution: drawn afresh, and drawn from an earlier policy's drafts.

Counts of whole completions are compared with their probabilities under the newest policy by
chi-square. More than four standard deviations come by chance once in 30,000 times, and seeds are
fixed. The same test is shown to refuse the obvious wrong schemes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from srpo.engines import Engine
from srpo.engines.local import fused
from srpo.engines.local.engine import LocalEngine
from srpo.engines.scripted import ScriptedEngine
from srpo.types import Draft, Sample, Sampling
from tests.contract.test_engine import PROMPTS
from tests.models import tiny_model

STOP, V, LIMIT = 0, 5, 3
Tokens = tuple[int, ...]
PROMPT_ROWS: list[Tokens] = [(1, 2, 3), (4,)]
OLD = Sampling(max_tokens=LIMIT, stop_ids=(STOP,), seed=21, draft_top_k=V)
NEW = replace(OLD, seed=22)
DRAWN = 2000  # completions of each prompt


def beyond(counts: Mapping[Tokens, int], probs: Mapping[Tokens, float]) -> float:
    """The chi-square statistic as standard deviations of a normal variable above its mean.

    By the cube root of Wilson and Hilferty (1931): a share of f, the degrees of freedom, to the
    power of a third is normal with mean 1 - 2 / 9f and variance 2 / 9f. Completions that are
    expected less than five times are counted together.
    """
    assert set(counts) <= {tokens for tokens, p in probs.items() if p > 0}
    total = sum(counts.values())
    cells = [(counts.get(t, 0), total * p) for t, p in probs.items() if total * p >= 5]
    rare = [(counts.get(t, 0), total * p) for t, p in probs.items() if 0 < total * p < 5]
    if rare:
        cells.append((sum(seen for seen, _ in rare), sum(wanted for _, wanted in rare)))
    freedom = len(cells) - 1
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    variance = 2 / (9 * freedom)
    return float((statistic / freedom) ** (1 / 3) - (1 - variance)) / math.sqrt(variance)


def counted(samples: Sequence[Sample]) -> Counter[Tokens]:
    return Counter(sample.tokens for sample in samples)


def drafts_of(drawn: Sequence[Sequence[Sample]]) -> list[list[Draft | None]]:
    return [[sample.draft for sample in samples] for samples in drawn]


# --- tables worked out by hand ------------------------------------------------------------------

P: Tokens = (7,)
# The old policy: 3 quarters begin with 1, a quarter with 2; after 1 always 3, after 2 always 4.
# The new one: a quarter begins with 1, 3 quarters with 2; after 1 half 3, half 4; after 2 always 4.
OLD_TABLE: dict[Tokens, Sequence[Tokens]] = {P: [(1, 3, STOP)] * 3 + [(2, 4, STOP)]}
NEW_TABLE: dict[Tokens, Sequence[Tokens]] = {P: [(1, 3, STOP), (1, 4, STOP)] + [(2, 4, STOP)] * 6}
NEW_PROBS: dict[Tokens, float] = {(1, 3, STOP): 1 / 8, (1, 4, STOP): 1 / 8, (2, 4, STOP): 3 / 4}


def from_drafts(folder: Path, k: int, n: int, lenience: float = 1.0) -> list[Sample]:
    drawn = ScriptedEngine(OLD_TABLE, folder).sample([P], n, replace(OLD, draft_top_k=k))
    how = replace(NEW, lenience=lenience)
    return ScriptedEngine(NEW_TABLE, folder).sample([P], n, how, drafts_of(drawn))[0]


@pytest.mark.parametrize("k", [1, 2])
def test_by_hand_how_much_is_reused_and_what_follows(k: int, tmp_path: Path) -> None:
    # First token 1 (old 3/4, new 1/4): kept with 1/3. Token 2 (old 1/4, new 3/4): kept always if
    # it is noted, never if only 1 is (k = 1). Rejected, the rest is max(0, new - old): nothing
    # of 1, all of 2. So 1 comes out with 3/4 * 1/3 = 1/4, the new policy's share, for both k.
    # Then 3 (old 1, new 1/2) is kept with 1/2, and the rest is 4 alone. Shares of all drafts:
    #   (1, 3, stop) kept whole 1/8; (1 | 4, stop) reuses 1 token 1/8;
    #   (2, 4, stop): after a rejected 1 (1/2) reuses 0; from a draft of it (1/4) all 3, or 0.
    n = 8000
    samples = from_drafts(tmp_path, k, n)
    shares = Counter((sample.tokens, sample.num_reused) for sample in samples)
    expected = {
        ((1, 3, STOP), 3): 1 / 8,
        ((1, 4, STOP), 1): 1 / 8,
        ((2, 4, STOP), 0): 1 / 2 if k == 2 else 3 / 4,
        ((2, 4, STOP), 3): 1 / 4 if k == 2 else 0.0,
    }
    assert set(shares) == {key for key, share in expected.items() if share}
    for key, share in expected.items():
        deviation = math.sqrt(n * share * (1 - share))
        assert abs(shares[key] - n * share) <= 4 * deviation
    assert beyond(counted(samples), NEW_PROBS) < 4


def test_by_hand_lenience_above_one_leans_to_the_old_policy(tmp_path: Path) -> None:
    # lenience 2: 1 is kept with 2/3, so it comes out in 3/4 * 2/3 = 1/2 of all, not in 1/4;
    # then 3 is kept with min(1, 2 * 1/2) = 1. Shares: (1, 3) 1/2, (1, 4) 0, (2, 4) 1/2.
    counts = counted(from_drafts(tmp_path, 2, 8000, lenience=2.0))
    assert set(counts) == {(1, 3, STOP), (2, 4, STOP)}
    assert abs(counts[1, 3, STOP] - 4000) <= 4 * math.sqrt(8000 / 4)
    assert beyond(counts, NEW_PROBS) > 30


def test_below_one_lenience_reuses_less_and_stays_exact(tmp_path: Path) -> None:
    # lenience 1/2: 1 is kept with 1/6, 2 (noted) with min(1, 1/2 * 3) = 1; what is left for 1 is
    # 1/4 - min(3/4, 1/8) = 1/8, for 2 it is 3/4 - 1/4 = 1/2; rejected 5/8 of all, so 1 comes out
    # in 3/4 * 1/6 + 5/8 * 1/5 = 1/8 + 1/8 = 1/4
    samples = from_drafts(tmp_path, 2, 8000, lenience=0.5)
    assert beyond(counted(samples), NEW_PROBS) < 4
    kept = sum(sample.num_reused > 0 and sample.tokens[0] == 1 for sample in samples)
    assert abs(kept - 1000) <= 4 * math.sqrt(8000 * 1 / 8 * 7 / 8)


# --- small models -------------------------------------------------------------------------------


def small_model(kind: str, *, moved: float = 0.0) -> Any:
    """Five tokens, not equally likely; the weights moved at random by a share of their size."""
    model = tiny_model(kind, vocab_size=V, eos_token_id=STOP, bos_token_id=None)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2.0)
        model.get_output_embeddings().weight.mul_(2.0)
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(moved * float(weight.std(unbiased=False)) * noise)
    return model


def engines(kind: str, folder: Path) -> tuple[Engine, LocalEngine]:
    """An old and a new policy."""
    old, new = small_model(kind), small_model(kind, moved=0.8)
    return LocalEngine(old, folder), LocalEngine(new, folder, sampler_rows=2 * DRAWN)


def all_completions(length: int = 0) -> Iterator[Tokens]:
    """Every completion that ends with a stop or at the limit, and nowhere before."""
    for token in range(V):
        if token == STOP or length + 1 == LIMIT:
            yield (token,)
        else:
            yield from ((token, *rest) for rest in all_completions(length + 1))


def one_step(model: Any, context: Tokens, how: Sampling) -> list[float]:
    """Next-token probabilities by the model's own forward pass, cut to the nucleus and renewed."""
    with torch.no_grad():
        logits = model(torch.tensor([context])).logits[0, -1].double() / how.temperature
    probs: list[float] = torch.softmax(logits, dim=-1).tolist()
    kept, reached = [0.0] * V, 0.0
    for token in sorted(range(V), key=lambda z: -probs[z]):
        kept[token] = probs[token]
        reached += probs[token]
        if reached >= how.top_p:
            break
    return [p / reached for p in kept]


def exact_probs(model: Any, prompt: Tokens, how: Sampling) -> dict[Tokens, float]:
    cache: dict[Tokens, list[float]] = {}
    found = {}
    for tokens in all_completions():
        found[tokens] = 1.0
        for i, token in enumerate(tokens):
            context = prompt + tokens[:i]
            if context not in cache:
                cache[context] = one_step(model, context, how)
            found[tokens] *= cache[context][token]
    assert sum(found.values()) == pytest.approx(1.0)
    return found


def deviations(
    engine: LocalEngine, drawn: Sequence[Sequence[Sample]], how: Sampling
) -> list[float]:
    return [
        beyond(counted(samples), exact_probs(engine.model, prompt, how))
        for prompt, samples in zip(PROMPT_ROWS, drawn, strict=True)
    ]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_two_policies_differ_and_each_is_drawn_from_exactly(kind: str, tmp_path: Path) -> None:
    old, new = engines(kind, tmp_path)
    assert max(deviations(new, new.sample(PROMPT_ROWS, DRAWN, NEW), NEW)) < 4
    assert min(deviations(new, old.sample(PROMPT_ROWS, DRAWN, OLD), NEW)) > 20


WAYS = {
    "all noted": (OLD, NEW),
    "one token noted": (replace(OLD, draft_top_k=1), NEW),
    "two tokens noted": (replace(OLD, draft_top_k=2), NEW),
    "lenience below one": (OLD, replace(NEW, lenience=0.7)),
    "another temperature": (replace(OLD, temperature=0.8), replace(NEW, temperature=1.3)),
    "a nucleus then and now": (replace(OLD, top_p=0.9), replace(NEW, top_p=0.8)),
    "drafts cut off": (replace(OLD, max_tokens=2), NEW),
    "drafts too long": (replace(OLD, max_tokens=6), NEW),
    "other stops then": (replace(OLD, stop_ids=(3,)), NEW),
    "greedy drafts": (replace(OLD, temperature=0.0), NEW),
}


@pytest.mark.parametrize(
    ("kind", "way"), [("llama", way) for way in WAYS] + [("gpt2", "two tokens noted")]
)
def test_what_comes_of_drafts_is_distributed_as_the_newest_policy(
    kind: str, way: str, tmp_path: Path
) -> None:
    old, new = engines(kind, tmp_path)
    before, now = WAYS[way]
    drafts = drafts_of(old.sample(PROMPT_ROWS, DRAWN, before))
    drawn = new.sample(PROMPT_ROWS, DRAWN, now, drafts)
    assert sum(s.num_reused for samples in drawn for s in samples) > DRAWN / 2
    assert max(deviations(new, drawn, now)) < 4


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_drafts_of_drafts_are_as_good_as_drafts(kind: str, tmp_path: Path) -> None:
    # what a verification notes of reused tokens is checked here: by the next verification
    old, new = engines(kind, tmp_path)
    first = old.sample(PROMPT_ROWS, DRAWN, OLD)
    second = new.sample(PROMPT_ROWS, DRAWN, NEW, drafts_of(first))
    third = old.sample(PROMPT_ROWS, DRAWN, replace(NEW, seed=23), drafts_of(second))
    assert isinstance(old, LocalEngine)
    assert max(deviations(old, third, NEW)) < 4


def test_the_test_sees_a_rejected_token_drawn_afresh(tmp_path: Path) -> None:
    # The obvious wrong scheme: keep what is accepted, then go on from the newest policy itself,
    # which may draw the rejected token again.
    old, new = engines("llama", tmp_path)
    drafts = drafts_of(old.sample(PROMPT_ROWS, DRAWN, OLD))
    drawn = new.sample(PROMPT_ROWS, DRAWN, NEW, drafts)
    wrong = []
    for prompt, samples in zip(PROMPT_ROWS, drawn, strict=True):
        naive: list[Tokens] = []
        for start, count in Counter(s.tokens[: s.num_reused] for s in samples).items():
            if len(start) == LIMIT or start[-1:] == (STOP,):
                naive += [start] * count
            else:
                how = replace(NEW, max_tokens=LIMIT - len(start), seed=len(naive))
                naive += [start + s.tokens for s in new.sample([prompt + start], count, how)[0]]
        wrong.append(beyond(Counter(naive), exact_probs(new.model, prompt, NEW)))
    assert min(wrong) > 6
    assert max(deviations(new, drawn, NEW)) < 4


def test_the_test_sees_lenience_above_one(tmp_path: Path) -> None:
    old, new = engines("llama", tmp_path)
    drafts = drafts_of(old.sample(PROMPT_ROWS, DRAWN, OLD))
    drawn = new.sample(PROMPT_ROWS, DRAWN, replace(NEW, lenience=1.5), drafts)
    assert min(deviations(new, drawn, NEW)) > 10


# --- rows side by side --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_nothing_that_a_row_never_wrote_is_ever_looked_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # new memory is filled with NaN here: one look past what was written, and it shows; and
    # drafts are verified two or three rows at a time
    monkeypatch.setattr(fused, "VERIFY_TOKENS", 33)
    monkeypatch.setattr(fused, "MAX_LOGITS", 32 * 7)
    torch.use_deterministic_algorithms(True)
    try:
        engine = LocalEngine(tiny_model(kind), tmp_path, sampler_rows=64)
        how = Sampling(max_tokens=12, stop_ids=(2, 17, 23), seed=3, draft_top_k=32)
        prompts = [*PROMPTS, (4, 4, 10, 11, 12, 30, 31)]
        drawn = engine.sample(prompts, 8, how)
        drafts = drafts_of(drawn)
        drafts[0][2] = drafts[1][5] = None
        longer = engine.sample(prompts, 8, replace(how, max_tokens=20, stop_ids=(2,)), drafts)
    finally:
        torch.use_deterministic_algorithms(False)
    for prompt, samples in zip(prompts, longer, strict=True):
        assert_own_logprobs(engine.model, prompt, samples)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_short_rows_go_on_alone_when_the_long_ones_are_done(kind: str, tmp_path: Path) -> None:
    # the rows that are left have no draft, and prompts shorter than the batch had room for
    engine = LocalEngine(tiny_model(kind), tmp_path, sampler_rows=64)
    how = Sampling(max_tokens=6, stop_ids=(2,), seed=3, draft_top_k=32)
    long, short = (4, 4, 10, 11, 12, 30, 31), (3,)
    drafts = drafts_of(engine.sample([long], 4, how))
    drawn = engine.sample([long, short], 4, replace(how, seed=4), [*drafts, []])
    assert [s.num_reused for s in drawn[0]] == [len(s.tokens) for s in drawn[0]]
    assert_own_logprobs(engine.model, short, drawn[1])


def assert_own_logprobs(model: Any, prompt: Tokens, samples: Sequence[Sample]) -> None:
    for sample in samples:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *sample.tokens]])).logits
        chosen = torch.tensor(sample.tokens)[:, None]
        logprobs = torch.log_softmax(logits[0, len(prompt) - 1 : -1], dim=-1).gather(1, chosen)
        assert sample.logprobs == pytest.approx(logprobs[:, 0].tolist(), abs=1e-5)
