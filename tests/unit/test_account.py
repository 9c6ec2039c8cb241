"""The token account: each token has one fate, fates add up, and a run's rows tell them again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.account import (
    Account,
    Bill,
    Decided,
    Drawn,
    Place,
    account_of,
    count_fates,
    fate_metrics,
    fate_of,
    saved_by_resampling,
)
from srpo.batching import with_advantages
from srpo.run.figures import Evaluation, evaluation_row, score_domain
from srpo.subsets import with_subset
from srpo.types import Fate, Group, Rollout, Verdict
from tests.factories import BROKEN, CUT, RIGHT, WRONG, code_problem, group_of, math_problem, rollout


def of(*rollouts: Rollout) -> Group:
    return with_advantages(group_of(*rollouts), mask_truncated=True, count_truncated=True)


def fates(group: Group) -> list[str]:
    return [fate_of(r, group).value for r in group.rollouts]


# --- one rollout, one fate ------------------------------------------------------------------------


def test_groups_of_one_outcome_say_so_whatever_else_is_true_of_a_rollout() -> None:
    assert fates(of(RIGHT, RIGHT)) == ["all_correct"] * 2
    assert fates(of(WRONG, CUT)) == ["all_wrong"] * 2
    assert fates(with_subset(of(RIGHT, RIGHT, RIGHT), 2)) == ["all_correct"] * 3


def test_a_mixed_group_is_gradient_but_for_what_is_masked_or_broken() -> None:
    assert fates(of(RIGHT, WRONG, CUT, BROKEN)) == [
        "gradient", "gradient", "truncated", "ungradable"
    ]  # fmt: skip


def test_a_group_of_one_outcome_can_have_a_signal_from_the_rest_of_the_reward() -> None:
    # all correct, one with a format bonus: rewards 1.1, 0.9, 1.0: mean 1.0, so the third is at it
    rewards = (1.25, 0.75, 1.0)
    assert fates(of(*(replace(RIGHT, reward=value) for value in rewards))) == [
        "gradient", "gradient", "at_mean"
    ]  # fmt: skip


def test_equal_rewards_of_different_verdicts_are_all_at_the_mean() -> None:
    # a right answer in another language may have the reward of a wrong one
    assert fates(of(replace(RIGHT, reward=0.0), WRONG)) == ["at_mean"] * 2


def test_what_the_subset_left_out_has_its_own_fate_truncated_or_not() -> None:
    # rewards 1, 0, 0 (cut), 0: two are trained on, the right one and the first wrong one
    group = with_subset(of(RIGHT, CUT, WRONG, WRONG), 2)
    group = with_advantages(group, mask_truncated=True, count_truncated=True)
    assert fates(group) == ["gradient", "subset", "gradient", "subset"]


def test_tokens_taken_over_from_a_draft_are_reused_and_the_others_share_the_fate() -> None:
    # 6 tokens of which 4 reused, and 3 of which none: 4 reused, 2 + 3 gradient
    first = replace(rollout(Verdict.CORRECT, reward=1.0, tokens=range(6)), num_reused=4)
    counts = count_fates([of(first, rollout(Verdict.WRONG, reward=0.0, tokens=range(3)))])
    assert {f.value: n for f, n in counts.items() if n} == {"gradient": 5, "reused": 4}


def test_nothing_was_drawn_nothing_is_counted() -> None:
    assert set(count_fates([]).values()) == {0}
    assert Bill({}).share(Fate.GRADIENT) is None


# --- fates add up, whatever the groups ------------------------------------------------------------


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    verdict = draw(st.sampled_from(Verdict))
    tokens = range(draw(st.integers(1, 9)))
    reward = draw(st.sampled_from([0.0, 0.1, 1.0, 1.1])) if verdict.gradable else None
    made = rollout(verdict, reward=reward, tokens=tokens)
    return replace(made, num_reused=draw(st.integers(0, len(tokens))))


@st.composite
def graded_groups(draw: st.DrawFn) -> Group:
    problem = draw(st.sampled_from([math_problem(), code_problem()]))
    made = Group(problem, (7, 8), tuple(draw(st.lists(rollouts(), max_size=6))), 0)
    return with_advantages(
        with_subset(made, draw(st.sampled_from([0, 2, 4]))),
        mask_truncated=draw(st.booleans()),
        count_truncated=draw(st.booleans()),
        scale_by_std=draw(st.booleans()),
    )


@given(st.lists(graded_groups(), max_size=5))
def test_fates_add_up_to_the_tokens(groups: list[Group]) -> None:
    counts = count_fates(groups)
    assert sum(counts.values()) == sum(group.num_tokens for group in groups)
    assert Bill(counts).generated == sum(group.num_generated for group in groups)
    trained = [r for g in groups for r in g.rollouts if r.advantage != 0.0]
    assert counts[Fate.GRADIENT] == sum(len(r.tokens) - r.num_reused for r in trained)


steps = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.lists(graded_groups(), max_size=3)),
    max_size=5,
)


def rows_of(drawn: Sequence[tuple[int, int, Sequence[Group]]]) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl, as they are read back."""
    rows = [
        {"step": step, "stage": stage, "epoch": epoch, **fate_metrics(groups)}
        for step, (stage, epoch, groups) in enumerate(drawn, start=1)
    ]
    loaded: list[dict[str, Any]] = json.loads(json.dumps(rows))
    return loaded


@given(steps)
def test_every_part_of_an_account_adds_up_to_the_whole(
    drawn: list[tuple[int, int, list[Group]]],
) -> None:
    account = account_of(rows_of(drawn))
    every = [group for _, _, groups in drawn for group in groups]
    assert sum(account.whole.tokens.values()) == sum(group.num_tokens for group in every)
    assert account.whole.tokens == {Fate.EVALUATION: 0, **count_fates(every)}
    for bills in (account.by("stage"), account.by("epoch"), account.by("domain")):
        for fate in Fate:
            whole = account.whole.tokens[fate]
            assert sum(bill.tokens[fate] for bill in bills.values()) == whole


@given(steps)
def test_a_row_of_metrics_has_the_tokens_of_each_domain_and_of_all(
    drawn: list[tuple[int, int, list[Group]]],
) -> None:
    for row in rows_of(drawn):
        for fate in Fate:
            if fate is not Fate.EVALUATION:
                both = sum(row.get(f"{d}/fate_{fate}_tokens", 0) for d in ("math", "code"))
                assert both == row[f"fate/{fate}_tokens"]


def test_an_account_takes_no_negative_tokens() -> None:
    with pytest.raises(ValueError, match="fewer than no tokens"):
        Account().add(Place(1, 1, "math"), {Fate.GRADIENT: -1})


def evaluation_of(step: int, groups: Sequence[Group]) -> dict[str, object]:
    row = evaluation_row(Evaluation(step, {"math": score_domain(groups)}))
    loaded: dict[str, object] = json.loads(json.dumps(row))
    return loaded


def test_evaluations_are_counted_where_they_were_made_and_apart_from_training() -> None:
    # 3 + 4 + 9 tokens at step 0, of which one could not be graded; 5 tokens after step 2
    before = of(
        *(replace(RIGHT, tokens=tuple(range(n))) for n in (3, 4)),
        replace(BROKEN, tokens=tuple(range(9))),
    )
    after = of(replace(RIGHT, tokens=tuple(range(5))))
    rows = [
        {"step": 1, "stage": 1, "epoch": 1, **fate_metrics([of(RIGHT, WRONG)])},
        {"step": 2, "stage": 2, "epoch": 3, **fate_metrics([of(RIGHT, RIGHT)])},
    ]
    account = account_of(rows, [evaluation_of(0, [before]), evaluation_of(2, [after])])
    assert account.whole.tokens[Fate.EVALUATION] == 21
    by_stage = account.by("stage")
    assert [by_stage[key].tokens[Fate.EVALUATION] for key in (1, 2)] == [16, 5]
    assert account.whole.generated == 8  # four rollouts of two tokens
    assert account.whole.share(Fate.GRADIENT) == 0.5


def test_rows_without_fates_count_as_nothing() -> None:
    account = account_of([{"step": 1, "stage": 1, "epoch": 1, "math/groups": 4}])
    assert not any(account.whole.tokens.values())


# --- what resampling saved ------------------------------------------------------------------------


def drop(epoch: int, problem: str, set_name: str = "math") -> Decided:
    return Decided(epoch, set_name, problem, drops=True, revives=False)


def keep(epoch: int, problem: str, set_name: str = "math") -> Decided:
    return Decided(epoch, set_name, problem, drops=False, revives=False)


def revive(epoch: int, problem: str, set_name: str = "math") -> Decided:
    return Decided(epoch, set_name, problem, drops=False, revives=True)


def test_a_dropped_problem_saves_its_last_group_in_every_whole_epoch_that_it_rests() -> None:
    # "a" had groups of 50 and 40 tokens and is dropped at the end of epoch 2; "b" goes on.
    # Epochs 3 and 4 end, so it saves 40 in each; a fifth epoch without an end counts as nothing.
    drawn = [Drawn(1, "a", 50), Drawn(2, "a", 40), *(Drawn(e, "b", 70) for e in (1, 2, 3, 4, 5))]
    drawn.sort(key=lambda group: group.epoch)
    decided = [keep(1, "a"), keep(1, "b"), drop(2, "a"), keep(2, "b"), keep(3, "b"), keep(4, "b")]
    assert saved_by_resampling(drawn, decided) == {1: 0, 2: 0, 3: 40, 4: 40}


def test_a_problem_that_comes_back_saves_nothing_more() -> None:
    # dropped at the end of epoch 1, back at the end of epoch 2: it rests in epoch 2 only, though
    # epoch 3 does not come to it. Drawn again in epoch 4, with 60 tokens, and dropped
    drawn = [Drawn(1, "a", 40), Drawn(4, "a", 60)]
    decided = [drop(1, "a"), revive(2, "a"), keep(3, "b"), drop(4, "a"), keep(5, "b")]
    assert saved_by_resampling(drawn, decided) == {1: 0, 2: 40, 3: 0, 4: 0, 5: 60}


def test_a_problem_that_is_drawn_though_it_was_dropped_is_not_at_rest() -> None:
    drawn = [Drawn(1, "a", 40), Drawn(2, "a", 60)]
    assert saved_by_resampling(drawn, [drop(1, "a"), keep(2, "b")]) == {1: 0, 2: 0}


def test_a_set_that_the_stage_does_not_use_saves_nothing() -> None:
    # epoch 2 is of the code set alone; in epoch 3 math is in play again
    drawn = [Drawn(1, "a", 40)]
    decided = [drop(1, "a"), keep(2, "c", "code"), keep(3, "c", "code"), keep(3, "b")]
    assert saved_by_resampling(drawn, decided) == {1: 0, 2: 0, 3: 40}


def test_what_was_never_drawn_here_saves_nothing() -> None:
    assert saved_by_resampling([], [drop(1, "a"), keep(2, "b")]) == {1: 0, 2: 0}
    assert saved_by_resampling([Drawn(1, "a", 5)], []) == {}
