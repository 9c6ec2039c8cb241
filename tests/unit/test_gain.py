"""What a run gained on the problems that it was tested on before and after."""

from __future__ import annotations

import pytest

from srpo.insight.report import report_data, report_text
from srpo.run.figures import Accuracy, DomainScore, Evaluation, Gain, paired_gain


def test_a_gain_is_paired_over_the_problems_that_both_evaluations_graded() -> None:
    before = {"a": 0.0, "b": 0.5, "c": 0.0, "d": 1.0, "only before": 1.0}
    after = {"a": 1.0, "b": 0.5, "c": 0.5, "d": 1.0, "only after": 0.0}
    gain = paired_gain(before, after)
    # changes 1, 0, .5, 0: mean .375; squares .390625 + .140625 + .015625 + .140625 = .6875;
    # 1.96 * sqrt(.6875 / 3 / 4) = .469
    assert gain is not None and gain.half is not None
    assert (gain.mean, gain.problems) == (0.375, 4)
    assert gain.half == pytest.approx(0.469, abs=5e-4)


def test_a_gain_without_a_spread_has_no_interval() -> None:
    assert paired_gain({"a": 0.0}, {"a": 1.0}) == Gain(1.0, None, 1)
    assert paired_gain({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}) == Gain(0.0, None, 2)
    assert paired_gain({"a": 0.5}, {"b": 0.5}) is None


def test_the_report_says_what_was_gained_on_the_same_problems() -> None:
    scores = [
        DomainScore(
            Accuracy(4, 4, sum(rates)), {}, 0.0, 9.0, 0, dict(zip("abcd", rates, strict=True))
        )
        for rates in ((0, 0, 0, 1), (1, 0, 1, 1))
    ]
    data = report_data(*(Evaluation(step, {"math": s}) for step, s in enumerate(scores)))
    # changes 1, 0, 1, 0: mean .5, squares 4 * .25 = 1; 1.96 * sqrt(1 / 3 / 4) = .566, cut at 1
    assert "gain +50.0 [-6.6 +100.0] points, paired over 4 problems" in report_text(data)
    assert data["gain"]["math"]["low"] == pytest.approx(-0.0658, abs=5e-5)
