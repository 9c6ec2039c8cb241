"""From graded groups to data: who gets an advantage, and what the mean runs over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from srpo.batching import token_mean_data, with_advantages
from srpo.engines.scripted import ScriptedEngine
from srpo.types import Adam, Clip, Datum, Group, Rollout, Sampling, Verdict
from tests.factories import group, math_problem, rollout


def advantages(found: Group) -> list[float]:
    return [round(r.advantage, 4) for r in found.rollouts]


def group_of(*rollouts: Rollout) -> Group:
    return Group(problem=math_problem(), prompt=(7, 8), rollouts=rollouts, policy_version=0)


def cut_short() -> Group:
    """Two right answers, one wrong one, and one that was cut at the length limit."""
    right = rollout(Verdict.CORRECT, reward=1.0)
    wrong = rollout(Verdict.WRONG, reward=0.0)
    return group_of(
        right, wrong, rollout(Verdict.TRUNCATED, reward=0.0, stop_reason="length"), right
    )


def test_truncated_answers_count_in_the_statistics_and_get_no_advantage_themselves() -> None:
    # rewards 1, 0, 0, 1: mean 0.5, std 0.5; the third is set to zero afterwards
    found = with_advantages(cut_short(), mask_truncated=True, count_truncated=True)
    assert advantages(found) == [1.0, -1.0, 0.0, 1.0]


def test_truncated_answers_may_be_left_out_of_the_statistics() -> None:
    # rewards 1, 0, 1: mean 2/3, std sqrt(2)/3 = 0.4714; 1/3 / 0.4714 = 0.7071, -2/3 / 0.4714
    found = with_advantages(cut_short(), mask_truncated=True, count_truncated=False)
    assert advantages(found) == [0.7071, -1.4142, 0.0, 0.7071]
    same = with_advantages(cut_short(), mask_truncated=False, count_truncated=False)
    assert advantages(same) == [0.7071, -1.4142, 0.0, 0.7071]


def test_truncated_answers_may_be_punished_like_wrong_ones() -> None:
    found = with_advantages(cut_short(), mask_truncated=False, count_truncated=True)
    assert advantages(found) == [1.0, -1.0, -1.0, 1.0]


def test_a_group_of_which_only_the_masked_part_differs_still_has_its_signal() -> None:
    # rewards 1, 1, 0 (truncated): mean 2/3, std 0.4714: the right ones are pushed up
    right = rollout(Verdict.CORRECT, reward=1.0)
    short = rollout(Verdict.TRUNCATED, reward=0.0, stop_reason="length")
    found = with_advantages(
        group_of(right, right, short), mask_truncated=True, count_truncated=True
    )
    assert advantages(found) == [0.7071, 0.7071, 0.0]
    assert found.has_signal


def test_a_broken_check_is_not_a_wrong_answer() -> None:
    broken = rollout(Verdict.INFRA_ERROR)
    found = with_advantages(
        group_of(rollout(Verdict.CORRECT, reward=1.0), broken, rollout(Verdict.WRONG, reward=0.0)),
        mask_truncated=True,
        count_truncated=True,
    )
    assert advantages(found) == [1.0, 0.0, -1.0]


def test_everything_else_of_the_group_stays_as_it_was() -> None:
    before = cut_short()
    after = with_advantages(before, mask_truncated=True, count_truncated=True)
    assert replace(
        after, rollouts=tuple(replace(r, advantage=0.0) for r in after.rollouts)
    ) == replace(before, rollouts=tuple(replace(r, advantage=0.0) for r in before.rollouts))


def with_signal(*lengths_rewards: tuple[int, float | None]) -> Group:
    """A group of rollouts with so many tokens and this reward, advantages filled in."""
    rollouts = [
        rollout(
            Verdict.INFRA_ERROR if reward is None else Verdict.CORRECT if reward else Verdict.WRONG,
            reward=reward,
            tokens=tuple(range(10, 10 + length)),
        )
        for length, reward in lengths_rewards
    ]
    return with_advantages(group_of(*rollouts), mask_truncated=True, count_truncated=True)


def test_a_datum_is_prompt_and_completion_with_one_advantage_on_each_completion_token() -> None:
    # lengths 3 and 1, rewards 1 and 0: advantages +1 and -1, divided by the 4 tokens
    first, second = token_mean_data([with_signal((3, 1.0), (1, 0.0))], temperature=0.7)
    assert first.tokens == (7, 8, 10, 11, 12)
    assert first.mask == (0.0, 0.0, 1.0, 1.0, 1.0)
    assert first.sampler_logprobs == (0.0, 0.0, -0.5, -0.5, -0.5)
    assert first.advantages == pytest.approx((0.0, 0.0, 0.25, 0.25, 0.25), rel=1e-5)
    assert second.advantages == pytest.approx((0.0, 0.0, -0.25), rel=1e-5)
    assert (first.temperature, second.temperature) == (0.7, 0.7)


def test_the_mean_runs_over_the_tokens_of_all_gradable_rollouts() -> None:
    # with a signal: 3 + 1 tokens. Without: 5 + 7 tokens, which still count. Not gradable: 100
    # tokens that do not. So every advantage is divided by 16.
    groups = [
        with_signal((3, 1.0), (100, None), (1, 0.0)),
        with_signal((5, 1.0), (7, 1.0)),
    ]
    data = token_mean_data(groups, temperature=1.0)
    assert [len(d.tokens) for d in data] == [5, 3]  # only those with an advantage are sent
    assert [d.advantages[-1] for d in data] == pytest.approx([1 / 16, -1 / 16], rel=1e-5)


def test_without_any_signal_there_is_nothing_to_send() -> None:
    assert token_mean_data([], temperature=1.0) == []
    assert token_mean_data([group([1.0, 1.0]), group([0.0, 0.0])], temperature=1.0) == []
    assert token_mean_data([with_signal((2, None), (2, None))], temperature=1.0) == []


STOP = 2
SCRIPT = {(7, 8): [(10, 11, STOP), (10, 12, STOP), (13, STOP)], (9,): [(14, STOP), (15, 16, STOP)]}


def everything(groups: Sequence[Group]) -> list[Datum]:
    """Every gradable rollout as a datum, those with advantage zero too: the textbook mean."""
    num_tokens = sum(len(r.tokens) for g in groups for r in g.rollouts)
    return [
        Datum(
            tokens=g.prompt + r.tokens,
            mask=(0.0,) * len(g.prompt) + (1.0,) * len(r.tokens),
            sampler_logprobs=(0.0,) * len(g.prompt) + r.sampler_logprobs,
            advantages=(0.0,) * len(g.prompt) + (r.advantage / num_tokens,) * len(r.tokens),
        )
        for g in groups
        for r in g.rollouts
    ]


def drawn_groups(engine: ScriptedEngine) -> list[Group]:
    """Eight rollouts of two prompts; the second prompt's are all right, so it has no signal."""
    how = Sampling(max_tokens=3, stop_ids=(STOP,), seed=5)
    groups = []
    for prompt, samples in zip(SCRIPT, engine.sample(list(SCRIPT), 8, how), strict=True):
        rollouts = tuple(
            Rollout(
                tokens=sample.tokens,
                text="",
                sampler_logprobs=sample.logprobs,
                stop_reason=sample.stop_reason,
                verdict=Verdict.CORRECT,
                reward=1.0 if prompt == (9,) or sample.tokens == (13, STOP) else 0.0,
            )
            for sample in samples
        )
        made = Group(math_problem(), prompt, rollouts, policy_version=0)
        groups.append(with_advantages(made, mask_truncated=True, count_truncated=True))
    return groups


def test_leaving_out_what_has_no_advantage_changes_no_gradient(tmp_path: Path) -> None:
    def logprobs_after_a_step(*, send_all: bool) -> list[list[float]]:
        engine = ScriptedEngine(SCRIPT, tmp_path)
        groups = drawn_groups(engine)
        data = everything(groups)
        engine.forward_backward(data if send_all else token_mean_data(groups, 1.0), Clip())
        assert engine.optim_step(Adam(lr=0.1))["grad_norm"] > 0.0
        return engine.forward_backward(data, Clip())

    assert logprobs_after_a_step(send_all=False) == logprobs_after_a_step(send_all=True)
