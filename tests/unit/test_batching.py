"""From graded groups to data: who gets an advantage, and what the mean runs over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.batching import (
    Average,
    Over,
    counted,
    kl_terms,
    probes,
    training_data,
    with_advantages,
)
from srpo.engines.scripted import ScriptedEngine
from srpo.types import Adam, Clip, Datum, Group, Rollout, Sampling, Verdict
from tests.factories import group, group_of, math_problem, rollout


def advantages(found: Group) -> list[float]:
    return [round(r.advantage, 4) for r in found.rollouts]


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


def test_a_rollout_that_is_not_trained_on_leaves_the_others_alone() -> None:
    # of rewards 1, 1, 0, 0 the first and the last are left out: mean 1/2, std 1/2
    found = with_advantages(
        group_of(
            replace(rollout(Verdict.CORRECT, reward=1.0), trained=False),
            rollout(Verdict.CORRECT, reward=1.0),
            rollout(Verdict.WRONG, reward=0.0),
            replace(rollout(Verdict.WRONG, reward=0.0), trained=False),
        ),
        mask_truncated=True,
        count_truncated=True,
    )
    assert advantages(found) == [0.0, 1.0, -1.0, 0.0]


def test_advantages_may_stay_undivided_by_the_spread() -> None:
    # rewards 1, 0, 0, 1: mean 0.5; the truncated third one is masked
    found = with_advantages(
        cut_short(), mask_truncated=True, count_truncated=True, scale_by_std=False
    )
    assert advantages(found) == [0.5, -0.5, 0.0, 0.5]


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
    first, second = training_data([with_signal((3, 1.0), (1, 0.0))], 0.7)
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
    data = training_data(groups, 1.0)
    assert [len(d.tokens) for d in data] == [5, 3]  # only those with an advantage are sent
    assert [d.advantages[-1] for d in data] == pytest.approx([1 / 16, -1 / 16], rel=1e-5)


def test_without_any_signal_there_is_nothing_to_send() -> None:
    assert training_data([], 1.0) == []
    assert training_data([group([1.0, 1.0]), group([0.0, 0.0])], 1.0) == []
    assert training_data([with_signal((2, None), (2, None))], 1.0) == []


# --- the three averages -----------------------------------------------------------------------


def two_groups() -> list[Group]:
    """Lengths 3 and 1 with advantages +1 and -1; 5 and 7 without signal; 100 not gradable."""
    return [with_signal((3, 1.0), (100, None), (1, 0.0)), with_signal((5, 1.0), (7, 1.0))]


def last_advantages(data: Sequence[Datum]) -> list[float]:
    return [datum.advantages[-1] for datum in data]


@pytest.mark.parametrize(
    ("average", "over", "expected"),
    [
        # 3 + 1 + 5 + 7 = 16 tokens; mixed: 3 + 1
        ("token", "all", [1 / 16, -1 / 16]),
        ("token", "mixed", [1 / 4, -1 / 4]),
        # 4 gradable answers: 1/3 and 1/1 each, over 4; mixed ones over 2
        ("answer", "all", [1 / 12, -1 / 4]),
        ("answer", "mixed", [1 / 6, -1 / 2]),
        # 4 answers of at most 10 tokens; 2 in the mixed group
        ("constant", "all", [1 / 40, -1 / 40]),
        ("constant", "mixed", [1 / 20, -1 / 20]),
    ],
)
def test_each_average_divides_by_what_it_says(
    average: Average, over: Over, expected: list[float]
) -> None:
    data = training_data(two_groups(), 1.0, average=average, over=over, max_tokens=10)
    assert [datum.num_trained for datum in data] == [3, 1]
    assert last_advantages(data) == pytest.approx(expected, rel=1e-5)


def test_what_a_subset_left_out_is_in_no_average() -> None:
    # of lengths 3, 1, 6 the last is left out: 4 tokens, 2 answers
    first, second, third = with_signal((3, 1.0), (1, 0.0), (6, 0.0)).rollouts
    chosen = group_of(
        replace(first, advantage=1.0),
        replace(second, advantage=-1.0),
        replace(third, trained=False, advantage=0.0),
    )
    assert [len(r.tokens) for _, r in counted([chosen])] == [3, 1]
    assert last_advantages(training_data([chosen], 1.0)) == [1 / 4, -1 / 4]
    assert last_advantages(training_data([chosen], 1.0, average="answer")) == [1 / 6, -1 / 2]


def test_a_constant_length_must_be_given() -> None:
    with pytest.raises(ValueError, match="at least 1 token"):
        training_data(two_groups(), 1.0, average="constant")


lengths_rewards = st.lists(
    st.tuples(st.integers(1, 6), st.one_of(st.none(), st.sampled_from([0.0, 0.1, 1.0]))),
    max_size=5,
)
averages = st.sampled_from(["token", "answer", "constant"])


@given(st.lists(lengths_rewards, max_size=4), st.sampled_from(["all", "mixed"]))
def test_the_averages_agree_where_all_answers_have_the_full_length(
    shapes: list[list[tuple[int, float | None]]], over: Over
) -> None:
    groups = [with_signal(*((6, reward) for _, reward in shape)) for shape in shapes]
    token, answer, constant = (
        last_advantages(training_data(groups, 1.0, average=average, over=over, max_tokens=6))
        for average in ("token", "answer", "constant")
    )
    assert answer == pytest.approx(token)
    assert constant == pytest.approx(token)


@given(st.lists(lengths_rewards, max_size=4), averages)
def test_the_sum_over_tokens_is_the_mean_over_answers_or_tokens_of_the_advantages(
    shapes: list[list[tuple[int, float | None]]], average: Average
) -> None:
    groups = [with_signal(*shape) for shape in shapes]
    found = sum(
        sum(d.advantages) for d in training_data(groups, 1.0, average=average, max_tokens=6)
    )
    graded = [r for g in groups for r in g.rollouts if r.reward is not None]
    by_length = sum(r.advantage * len(r.tokens) for r in graded)
    expected = {
        "token": by_length / max(1, sum(len(r.tokens) for r in graded)),
        "answer": sum(r.advantage for r in graded) / max(1, len(graded)),
        "constant": by_length / (6 * max(1, len(graded))),
    }
    assert found == pytest.approx(expected[average], abs=1e-12)


@given(st.lists(lengths_rewards, min_size=1, max_size=4), st.sampled_from([2.0, 0.25]), averages)
def test_the_unit_of_rewards_does_not_matter_to_grpo(
    shapes: list[list[tuple[int, float | None]]], factor: float, average: Average
) -> None:
    scaled = [[(n, None if r is None else r * factor) for n, r in shape] for shape in shapes]
    one, other = (
        training_data([with_signal(*shape) for shape in made], 1.0, average=average, max_tokens=6)
        for made in (shapes, scaled)
    )
    assert last_advantages(one) == pytest.approx(last_advantages(other), rel=1e-3)


# --- with a KL term -----------------------------------------------------------------------------


def test_a_probe_trains_nothing_and_covers_all_that_counts() -> None:
    data = probes(two_groups(), temperature=0.7)
    assert [datum.num_trained for datum in data] == [3, 1, 5, 7]
    assert {value for datum in data for value in datum.advantages} == {0.0}
    assert {datum.temperature for datum in data} == {0.7}
    assert [d.num_trained for d in probes(two_groups(), 1.0, "mixed")] == [3, 1]


def test_the_kl_term_joins_the_advantage_of_each_token_before_the_average() -> None:
    # lengths 2 and 1, advantages +1 and -1; sampler logprobs -0.5. The reference's -1.5, -0.5 and
    # 0.5 with weight 0.1 give terms -0.1, 0 and +0.1; divided by 3 tokens
    groups = [with_signal((2, 1.0), (1, 0.0))]
    reference = [[0.0, 0.0, -1.5, -0.5], [0.0, 0.0, 0.5]]
    kl = kl_terms(probes(groups, 1.0), reference, weight=0.1)
    first, second = training_data(groups, 1.0, kl=kl)
    assert first.advantages == pytest.approx((0.0, 0.0, 0.9 / 3, 1.0 / 3), rel=1e-5)
    assert second.advantages == pytest.approx((0.0, 0.0, -0.9 / 3), rel=1e-5)
    by_answer = training_data(groups, 1.0, average="answer", kl=kl)
    assert by_answer[0].advantages == pytest.approx((0.0, 0.0, 0.9 / 4, 1.0 / 4), rel=1e-5)


def test_a_rollout_without_advantage_is_sent_for_its_kl_term_alone() -> None:
    # two equal answers of 1 and 2 tokens: no signal. The first has a term of -0.3, over 3 tokens;
    # the second has none and is left out
    groups = [with_signal((1, 1.0), (2, 1.0))]
    data = training_data(groups, 1.0, kl=[[0.0, 0.0, -0.3], [0.0, 0.0, 0.0, -0.0]])
    assert len(data) == 1
    assert data[0].advantages == pytest.approx((0.0, 0.0, -0.1))


def test_without_terms_the_kl_path_gives_the_same_data() -> None:
    groups = two_groups()
    none = [[0.0] * len(datum.tokens) for datum in probes(groups, 1.0)]
    for average in ("token", "answer", "constant"):
        plain = training_data(groups, 1.0, average=average, max_tokens=10)
        assert training_data(groups, 1.0, average=average, max_tokens=10, kl=none) == plain


def test_terms_of_other_rollouts_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        training_data([with_signal((2, 1.0), (1, 0.0))], 1.0, kl=[[0.0] * 4])


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
        engine.forward_backward(data if send_all else training_data(groups, 1.0), Clip())
        assert engine.optim_step(Adam(lr=0.1))["grad_norm"] > 0.0
        return engine.forward_backward(data, Clip())

    assert logprobs_after_a_step(send_all=False) == logprobs_after_a_step(send_all=True)
