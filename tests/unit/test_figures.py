"""The numbers a person looks at, worked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.run.figures import (
    Accuracy,
    DomainFigures,
    DomainScore,
    Evaluation,
    StepFigures,
    count_outcomes,
    count_verdicts,
    domain_figures,
    evaluation_from,
    evaluation_row,
    score_domain,
)
from srpo.types import Group, Verdict
from tests.factories import code_problem, group, math_problem, rollout


@pytest.mark.parametrize(
    ("correct", "problems", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3 (score)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(correct: int, problems: int, low: float, high: float) -> None:
    interval = Accuracy(problems=problems, samples=problems, correct=correct).interval
    assert tuple(round(end, 4) for end in interval) == (low, high)


def test_many_completions_of_a_problem_do_not_make_the_interval_narrower() -> None:
    once = Accuracy(problems=20, samples=20, correct=5)
    often = Accuracy(problems=20, samples=320, correct=80)
    assert often.mean == once.mean == 0.25
    assert often.interval == once.interval


def test_without_completions_nothing_is_known() -> None:
    nothing = Accuracy(problems=0, samples=0, correct=0)
    assert math.isnan(nothing.mean)
    assert nothing.interval == (0.0, 1.0)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_interval_holds_the_mean_and_mirrors_itself(drawn: tuple[int, int]) -> None:
    n, correct = drawn
    accuracy = Accuracy(n, n, correct)
    low, high = accuracy.interval
    assert 0.0 <= low <= accuracy.mean + 1e-12
    assert accuracy.mean - 1e-12 <= high <= 1.0
    mirrored = Accuracy(n, n, n - correct).interval
    assert mirrored == pytest.approx((1.0 - high, 1.0 - low), abs=1e-12)


def four_groups() -> list[Group]:
    """One of each outcome; two rollouts each but for the first, which has three."""
    right = rollout(Verdict.CORRECT, reward=1.0, tokens=(5,) * 4)
    wrong = rollout(Verdict.WRONG, reward=0.1, tokens=(5,) * 2)
    cut = rollout(Verdict.TRUNCATED, reward=0.0, tokens=(5,) * 9, stop_reason="length")
    broken = rollout(Verdict.INFRA_ERROR, tokens=(5,) * 6)
    mixed = (replace(right, advantage=0.7, thinks=True), replace(wrong, advantage=-0.7), broken)
    return [
        Group(math_problem(), (7,), rollouts, policy_version=0)
        for rollouts in (mixed, (right, right), (cut, wrong), (broken, broken))
    ]


def test_the_figures_of_a_step() -> None:
    # 9 rollouts, 6 gradable: rewards 1, .1, 1, 1, 0, .1 make 3.2; 3 of 6 correct; 1 of 4 groups
    # has a signal; tokens 4+2+6 + 4+4 + 9+2 + 6+6 = 43; 1 of 9 thinks; 1 of 9 truncated
    found = domain_figures(four_groups())
    assert (found.groups, found.pass_rate, found.signal_frac) == (4, 0.5, 0.25)
    assert found.reward == pytest.approx(3.2 / 6)
    assert found.length_tokens == pytest.approx(43 / 9)
    assert found.thinking_frac == found.truncated_frac == pytest.approx(1 / 9)


def test_the_figures_of_nothing_are_zero_or_unknown() -> None:
    assert domain_figures([]) == DomainFigures(0, None, None, 0.0, 0.0, 0.0, 0.0)
    ungradable = domain_figures([four_groups()[3]])
    assert (ungradable.reward, ungradable.pass_rate, ungradable.groups) == (None, None, 1)


def test_every_outcome_and_verdict_is_counted_by_name() -> None:
    groups = four_groups()
    assert count_outcomes(groups) == {
        "all_correct": 1,
        "mixed": 1,
        "all_wrong": 1,
        "ungradable": 1,
    }
    counts = count_verdicts(groups)
    assert {name: count for name, count in counts.items() if count} == {
        "correct": 3,
        "wrong": 2,
        "truncated": 1,
        "infra_error": 3,
    }
    assert set(counts) == {verdict.value for verdict in Verdict}


def test_held_out_accuracy_counts_gradable_completions_and_their_problems() -> None:
    # levels 1 and 2: at level 1 (1 of 2) and nothing gradable; at level 2 (3 of 3); none: 0 of 1
    broken = four_groups()[3]
    one = replace(math_problem(), level=1)
    two = replace(code_problem(), level=2)
    found = score_domain(
        [
            group([1.0, 0.0], one),
            replace(broken, problem=one),
            group([1.0, 1.0, 1.0], two),
            group([0.0]),
        ]
    )
    assert found.overall == Accuracy(problems=3, samples=6, correct=4)
    assert found.levels == {1: Accuracy(1, 2, 1), 2: Accuracy(1, 3, 3)}
    assert list(found.levels) == [1, 2]
    assert found.ungraded == 2
    assert found.length_tokens == pytest.approx((6 * 2 + 2 * 6) / 8)


def test_an_evaluation_goes_through_json_unchanged() -> None:
    score = DomainScore(
        overall=Accuracy(20, 40, 36),
        levels={1: Accuracy(10, 20, 20), 10: Accuracy(10, 20, 16)},
        thinking_frac=0.25,
        length_tokens=18.5,
        ungraded=1,
    )
    evaluation = Evaluation(step=40, domains={"math": score, "code": score}, tokens=1480)
    row = json.loads(json.dumps(evaluation_row(evaluation)))
    assert evaluation_from(row) == evaluation
    empty = Evaluation(step=0)
    assert evaluation_from(json.loads(json.dumps(evaluation_row(empty)))) == empty


def step_figures(**changes: object) -> StepFigures:
    figures = StepFigures(
        step=12, stage=1, epoch=3, overall=domain_figures(four_groups()),
        domains={"math": domain_figures(four_groups())}, outcomes={"mixed": 1},
        verdicts={"correct": 3}, updated=True, grad_norm=0.5, logprob_gap=1e-6,
        mean_logprob_gap=None,
        skipped=0,
        learning_rate=1e-5, kept=172, dropped=20, revived=0, step_tokens=1000,
        total_tokens=5000, total_rollouts=768, seconds={"sampling": 1.5, "updating": 0.5},
    )  # fmt: skip
    return replace(figures, **changes)  # type: ignore[arg-type]


def test_metrics_are_flat_and_named_by_area() -> None:
    metrics = step_figures().metrics()
    assert list(metrics)[:3] == ["step", "stage", "epoch"]
    assert all("/" in name for name in list(metrics)[3:])
    assert metrics["math/pass_rate"] == metrics["all/pass_rate"] == 0.5
    assert metrics["group/mixed_count"] == 1
    assert metrics["verdict/correct_count"] == 3
    assert (metrics["update/done"], metrics["update/grad_norm"]) == (1, 0.5)
    assert (metrics["history/kept_problems"], metrics["history/dropped_problems"]) == (172, 20)
    assert step_figures().times() == {"step": 12, "sampling": 1.5, "updating": 0.5}
    assert json.loads(json.dumps(metrics)) == metrics


def test_speed_is_over_the_whole_step() -> None:
    # 1000 tokens in 1.5 + 0.5 s
    assert step_figures().tokens_per_s == 500.0
    assert step_figures(seconds={}).tokens_per_s == 0.0
