"""The nouns: what they read off their own fields."""

from __future__ import annotations

import dataclasses

import pytest

from srpo import types
from srpo.types import Datum, Group, Outcome, Verdict, outcome_of
from tests.factories import group, group_of, math_problem, rollout


@pytest.mark.parametrize(
    ("correct", "gradable", "outcome"),
    [
        (0, 0, Outcome.UNGRADABLE),
        (0, 1, Outcome.ALL_WRONG),
        (1, 1, Outcome.ALL_CORRECT),
        (0, 8, Outcome.ALL_WRONG),
        (1, 8, Outcome.MIXED),
        (7, 8, Outcome.MIXED),
        (8, 8, Outcome.ALL_CORRECT),
    ],
)
def test_the_outcome_of_counts(correct: int, gradable: int, outcome: Outcome) -> None:
    assert outcome_of(correct, gradable) is outcome


def judged(*verdicts: Verdict | None) -> Group:
    return group_of(*map(rollout, verdicts))


def test_only_two_verdicts_say_nothing_about_the_answer() -> None:
    assert [v for v in Verdict if not v.gradable] == [Verdict.UNGRADABLE, Verdict.INFRA_ERROR]


def test_every_gradable_verdict_but_correct_is_a_wrong_answer() -> None:
    wrong = [v for v in Verdict if v.gradable and v is not Verdict.CORRECT]
    assert len(wrong) == 5
    for verdict in wrong:
        assert judged(verdict).outcome is Outcome.ALL_WRONG
        assert judged(verdict, Verdict.CORRECT).outcome is Outcome.MIXED


def test_what_could_not_be_graded_does_not_change_the_outcome() -> None:
    broken = (Verdict.INFRA_ERROR, Verdict.UNGRADABLE, None)
    assert judged(Verdict.CORRECT, *broken).outcome is Outcome.ALL_CORRECT
    assert judged(Verdict.WRONG, *broken).outcome is Outcome.ALL_WRONG
    found = judged(*broken)
    assert (found.outcome, found.num_gradable) == (Outcome.UNGRADABLE, 0)


def test_the_outcome_is_of_the_verdict_and_never_of_the_reward() -> None:
    wrong_but_well_paid = dataclasses.replace(rollout(Verdict.WRONG), reward=9.0)
    found = Group(math_problem(), (7,), (wrong_but_well_paid,), policy_version=0)
    assert found.outcome is Outcome.ALL_WRONG


def test_a_group_has_a_signal_if_some_advantage_is_not_zero() -> None:
    found = group([1.0, 0.0])
    assert not found.has_signal
    first = dataclasses.replace(found.rollouts[0], advantage=-0.1)
    assert dataclasses.replace(found, rollouts=(first, found.rollouts[1])).has_signal


def test_tokens_of_a_group_are_generated_tokens() -> None:
    assert group([1.0, 0.0, 0.0]).num_tokens == 3 * 2  # the prompt does not count
    assert Group(math_problem(), (7,), (), policy_version=0).num_tokens == 0


def test_trained_tokens_are_those_under_the_mask() -> None:
    datum = Datum((1, 5, 6, 2), (0.0, 1.0, 0.0, 1.0), (0.0,) * 4, (0.0, 0.5, 0.0, 0.5))
    assert datum.num_trained == 2


def nouns() -> list[type]:
    found = [kind for kind in vars(types).values() if isinstance(kind, type)]
    return [kind for kind in found if dataclasses.is_dataclass(kind)]


def test_every_noun_has_an_example() -> None:
    assert len(nouns()) >= 9
    assert [kind.__name__ for kind in nouns() if ">>>" not in (kind.__doc__ or "")] == []


def test_nouns_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        rollout().reward = 1.0  # type: ignore[misc]
    frozen = [kind.__dataclass_params__.frozen for kind in nouns()]  # type: ignore[attr-defined]
    assert all(frozen)
