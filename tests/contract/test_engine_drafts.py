"""What every engine promises about drafts, beside the distribution (equivalence/test_drafts)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from srpo.engines import DRAFT_MASS, Engine
from srpo.types import Adam, Clip, Draft, Sample, Sampling
from tests.contract.test_engine import HOW, MAKERS, PROMPTS, STOP, datum

NOTING = replace(HOW, draft_top_k=32)  # as wide as the vocabulary
LATER = replace(NOTING, seed=12)


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Engine]:
    return lambda: MAKERS[request.param](tmp_path)


def drafts_of(drawn: Sequence[Sequence[Sample]]) -> list[list[Draft | None]]:
    return [[sample.draft for sample in samples] for samples in drawn]


def flat(drawn: Sequence[Sequence[Sample]]) -> list[tuple[tuple[int, ...], Sample]]:
    return [(p, s) for p, samples in zip(PROMPTS, drawn, strict=True) for s in samples]


def train(engine: Engine, drawn: Sequence[Sequence[Sample]]) -> None:
    """Some steps: what was drawn first becomes likelier, what was drawn last less likely."""
    rows = flat(drawn)
    data = [datum(p, s, 1.0 - 2.0 * i / len(rows)) for i, (p, s) in enumerate(rows)]
    for _ in range(5):
        engine.forward_backward(data, Clip(low=0.9, high=9.0))
        engine.optim_step(Adam(lr=0.05))


def noted_length(draft: Draft) -> int:
    """How many leading tokens are among those noted at their place."""
    places = zip(draft.tokens, draft.top_ids, strict=True)
    misses = [i for i, (token, noted) in enumerate(places) if token not in noted]
    return min(misses, default=len(draft.tokens))


def test_without_drafts_nothing_changes(make: Callable[[], Engine]) -> None:
    engine = make()
    plain = engine.sample(PROMPTS, 4, HOW)
    assert all(s.draft is None and s.num_reused == 0 for _, s in flat(plain))
    none: list[list[Draft | None]] = [[], [None, None]]
    empty: list[list[Draft | None]] = [[Draft((), (), ())], []]
    assert engine.sample(PROMPTS, 4, HOW, none) == plain
    assert engine.sample(PROMPTS, 4, HOW, empty) == plain
    noting = engine.sample(PROMPTS, 4, NOTING)
    assert [[replace(s, draft=None) for s in samples] for samples in noting] == plain


def assert_notes(sample: Sample, k: int) -> None:
    """The fewest likely tokens that matter, likeliest first, at every place of the sample."""
    draft = sample.draft
    assert draft is not None
    assert draft.tokens == sample.tokens
    rows = zip(draft.top_ids, draft.top_logprobs, sample.tokens, sample.logprobs, strict=True)
    for ids, logprobs, token, logprob in rows:
        assert 1 <= len(ids) == len(logprobs) == len(set(ids)) <= k
        assert list(logprobs) == sorted(logprobs, reverse=True)
        mass = sum(math.exp(value) for value in logprobs)
        assert mass - math.exp(logprobs[-1]) < DRAFT_MASS  # not one more than is needed
        assert len(ids) == k or mass >= DRAFT_MASS - 1e-5  # not one less
        if token in ids:
            assert logprobs[ids.index(token)] == pytest.approx(logprob, abs=1e-5)
        else:  # left out because it is less likely than those noted
            assert logprob <= logprobs[-1] + 1e-5


@pytest.mark.parametrize("k", [1, 3, 32])
def test_a_draft_notes_the_fewest_likely_tokens_that_matter(
    make: Callable[[], Engine], k: int
) -> None:
    for _, sample in flat(make().sample(PROMPTS, 6, replace(HOW, draft_top_k=k))):
        assert_notes(sample, k)


@pytest.mark.parametrize("how", [LATER, replace(LATER, temperature=1.7), replace(LATER, top_p=0.6)])
def test_a_policy_takes_over_all_that_it_noted_itself(
    make: Callable[[], Engine], how: Sampling
) -> None:
    engine = make()
    drawn = engine.sample(PROMPTS, 7, replace(how, seed=11))
    again = engine.sample(PROMPTS, 7, how, drafts_of(drawn))
    whole = 0
    for (_, old), (_, new) in zip(flat(drawn), flat(again), strict=True):
        assert old.draft is not None
        kept = noted_length(old.draft)
        assert new.num_reused == kept
        assert new.tokens[:kept] == old.tokens[:kept]
        if kept == len(old.tokens):
            whole += 1
            assert new.tokens == old.tokens
            assert new.stop_reason == old.stop_reason
            assert new.logprobs == pytest.approx(old.logprobs, abs=1e-5)
    assert whole >= 12  # of 14: what is not noted has a chance of 1 in 10,000 a place


def test_logprobs_and_notes_are_those_of_the_newest_weights(make: Callable[[], Engine]) -> None:
    # reused tokens included: the importance ratio and the next draft need what holds now
    engine = make()
    drawn = engine.sample(PROMPTS, 20, NOTING)
    train(engine, drawn)
    mixed = drafts_of(drawn)
    mixed[0][3] = mixed[1][0] = None
    rows = flat(engine.sample(PROMPTS, 20, LATER, mixed))
    assert any(0 < s.num_reused < len(s.tokens) for _, s in rows)
    new = engine.forward_backward([datum(p, s, 0.0) for p, s in rows], Clip())
    for (prompt, sample), logprobs in zip(rows, new, strict=True):
        assert logprobs[len(prompt) :] == pytest.approx(sample.logprobs, abs=2e-5)
        assert_notes(sample, 32)


def test_same_drafts_and_seed_give_the_same_samples(make: Callable[[], Engine]) -> None:
    engine = make()
    drawn = engine.sample(PROMPTS, 12, NOTING)
    train(engine, drawn)
    drafts = drafts_of(drawn)
    one = engine.sample(PROMPTS, 12, LATER, drafts)
    assert engine.sample(PROMPTS, 12, LATER, drafts) == one
    assert engine.sample(PROMPTS, 12, replace(LATER, seed=13), drafts) != one


def test_a_draft_that_was_cut_off_goes_on_and_a_longer_one_is_cut(
    make: Callable[[], Engine],
) -> None:
    engine = make()
    drawn = engine.sample(PROMPTS, 7, replace(NOTING, max_tokens=3))
    assert any(s.stop_reason == "length" for _, s in flat(drawn))
    longer = flat(engine.sample(PROMPTS, 7, LATER, drafts_of(drawn)))
    for (_, old), (_, new) in zip(flat(drawn), longer, strict=True):
        assert old.draft is not None
        if new.num_reused == 3 and old.stop_reason == "length":
            assert len(new.tokens) > 3
            assert len(new.tokens) == 6 or new.tokens[-1] == STOP
    assert any(s.num_reused == 3 and len(s.tokens) > 3 for _, s in longer)
    full = engine.sample(PROMPTS, 7, NOTING)
    short = flat(engine.sample(PROMPTS, 7, replace(LATER, max_tokens=2), drafts_of(full)))
    assert max(len(s.tokens) for _, s in short) == 2
    assert all(s.stop_reason == ("stop" if s.tokens[-1] == STOP else "length") for _, s in short)


def test_the_first_stop_inside_a_draft_ends_the_completion(make: Callable[[], Engine]) -> None:
    # the draft's second token is made a stop: the completion ends there, whatever follows it
    engine = make()
    drawn = engine.sample(PROMPTS, 7, NOTING)
    old = next(s for _, s in flat(drawn) if len(s.tokens) > 2 and s.tokens[0] != s.tokens[1])
    assert old.draft is not None
    i = next(i for i, samples in enumerate(drawn) if old in samples)
    how = replace(LATER, stop_ids=(STOP, old.tokens[1]))
    (new,) = engine.sample([PROMPTS[i]], 1, how, [[old.draft]])[0]
    assert (new.tokens, new.num_reused, new.stop_reason) == (old.tokens[:2], 2, "stop")


def test_greedy_drawing_with_drafts_is_greedy_drawing(make: Callable[[], Engine]) -> None:
    # temperature 0 is one point: whatever the drafts, the completions are those without them
    engine = make()
    greedy = replace(NOTING, temperature=0.0)
    drawn = engine.sample(PROMPTS, 2, greedy)
    warm = engine.sample(PROMPTS, 2, NOTING)
    again = flat(engine.sample(PROMPTS, 2, greedy, drafts_of(drawn)))
    assert all(s.num_reused == len(s.tokens) for _, s in again)
    train(engine, warm)
    expected = [s.tokens for _, s in flat(engine.sample(PROMPTS, 2, greedy))]
    for drafts in (drafts_of(drawn), drafts_of(warm)):
        assert [s.tokens for _, s in flat(engine.sample(PROMPTS, 2, greedy, drafts))] == expected


def test_lenience_takes_over_more_and_none_of_it_nothing(make: Callable[[], Engine]) -> None:
    engine = make()
    drawn = engine.sample(PROMPTS, 12, NOTING)
    train(engine, drawn)
    reused = {}
    for lenience in (0.0, 0.5, 1.0, 1e9):
        how = replace(LATER, lenience=lenience)
        rows = flat(engine.sample(PROMPTS, 12, how, drafts_of(drawn)))
        reused[lenience] = sum(s.num_reused for _, s in rows)
    all_noted = sum(noted_length(s.draft) for _, s in flat(drawn) if s.draft)
    assert 0 == reused[0.0] < reused[0.5] < reused[1.0] < reused[1e9] == all_noted


def test_more_drafts_than_completions_are_refused(make: Callable[[], Engine]) -> None:
    engine = make()
    draft = engine.sample(PROMPTS, 1, NOTING)[0][0].draft
    with pytest.raises(ValueError, match="2 drafts for 1 completions"):
        engine.sample(PROMPTS, 1, HOW, [[draft, None], []])
    with pytest.raises(ValueError, match="drafts for 1 prompts, and 2 prompts"):
        engine.sample(PROMPTS, 1, HOW, [[draft]])
