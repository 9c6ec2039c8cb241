"""Steps in rounds: a pilot and the rest of its group, others in place of groups without signal."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.config.method import SelectionConfig
from srpo.selection import RULES, Selection
from srpo.selection.dynamic import vacant_places
from srpo.selection.pilot import Belief, chance_of_mixed
from srpo.selection.rule import Tally
from srpo.types import Group, Outcome, Request, Verdict
from tests.factories import group, math_problem, rollout

RIGHT, WRONG, MIXED = "right", "wrong", "mixed"


def selection(
    sizes: Mapping[str, int],
    *,
    per_step: int = 4,
    group_size: int = 4,
    memory: Mapping[str, Mapping[str, Any]] | None = None,
    **config: Any,
) -> Selection:
    return Selection(
        {name: [math_problem(id=f"{name}{i}") for i in range(n)] for name, n in sizes.items()},
        dict.fromkeys(sizes, 1.0),
        per_step,
        group_size,
        "1",
        SelectionConfig.model_validate({"rule": "uniform", "floor": 1, **config}),
        memory,
    )


def graded(request: Request, kind: str) -> Group:
    """What an engine and a grader would make of the request; mixed: the first is right."""
    rewards = {RIGHT: [1.0] * request.count, WRONG: [0.0] * request.count}
    rewards[MIXED] = [1.0] + [0.0] * (request.count - 1)
    return replace(group(rewards[kind], request.problem), why=request.why)


def joined(groups: Sequence[Group], more: Sequence[Group]) -> list[Group]:
    """Rests of groups are added to their pilots, as the step does it."""
    by_id = {g.problem.id: g for g in groups}
    for new in more:
        old = by_id.get(new.problem.id)
        by_id[new.problem.id] = (
            replace(old, rollouts=old.rollouts + new.rollouts, why=new.why) if old else new
        )
    return list(by_id.values())


def whole_step(s: Selection, kind: Any, most: int = 50) -> tuple[list[list[Request]], list[Group]]:
    """Ask until nothing more is asked for; `kind(request)` says what comes of each."""
    rounds: list[list[Request]] = []
    groups: list[Group] = []
    while asked := s.ask(groups):
        rounds.append(asked)
        assert len(rounds) <= most, "the step has no end"
        groups = joined(groups, [graded(request, kind(request)) for request in asked])
    s.observe(groups)
    return rounds, groups


# --- the chance of a mixed group ------------------------------------------------------------------


def beta(a: float, b: float) -> float:
    return math.exp(math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))


@given(
    st.floats(0.2, 9),
    st.floats(0.2, 9),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 5),
)
def test_the_chance_is_the_sum_over_all_ways_the_rest_may_come_out(
    a: float, b: float, correct: int, wrong: int, rest: int
) -> None:
    a_now, b_now = a + correct, b + wrong
    expected = 0.0
    for way in itertools.product((0, 1), repeat=rest):
        right = sum(way)
        if 0 < right + correct < rest + correct + wrong:
            # the probability of these answers in this order: a Beta average of p^r (1-p)^(n-r)
            expected += beta(a_now + right, b_now + rest - right) / beta(a_now, b_now)
    found = chance_of_mixed(Belief(a, b), Tally(correct, correct + wrong), rest)
    assert found == pytest.approx(expected, abs=1e-9)
    assert 0.0 <= found <= 1.0


def test_chances_worked_out_by_hand() -> None:
    # uniform prior, 2 of 2 right: two more are both right with 3/4 * 4/5 = .6
    assert chance_of_mixed(Belief(), Tally(2, 2), 2) == pytest.approx(0.4)
    # nothing gradable: two are alike with 1/2 * 2/3 either way
    assert chance_of_mixed(Belief(), Tally(0, 0), 2) == pytest.approx(1 / 3)
    assert chance_of_mixed(Belief(), Tally(1, 2), 0) == 1.0
    assert chance_of_mixed(Belief(), Tally(2, 2), 0) == 0.0
    assert chance_of_mixed(Belief(), Tally(0, 0), 1) == 0.0


def test_what_was_seen_fades_towards_the_prior() -> None:
    # of 8 seen right and 0 wrong, half is left, beside the prior's 1 and 1
    assert Belief(9.0, 1.0).faded() == Belief(5.0, 1.0)
    assert Belief().faded() == Belief()


# --- pilots -------------------------------------------------------------------------------------


def test_only_pilots_that_may_become_mixed_are_completed() -> None:
    # a pilot of 2 of 4, alike, may become mixed with .4: not enough for .5; a mixed one is whole
    s = selection({"a": 4}, pilot=2, pilot_chance=0.5)
    rounds, groups = whole_step(s, lambda r: MIXED if r.problem.id in ("a0", "a2") else RIGHT)
    assert [(len(asked), {r.count for r in asked}) for asked in rounds] == [(4, {2}), (2, {2})]
    sizes = {g.problem.id: len(g.rollouts) for g in groups}
    assert sizes == {"a0": 4, "a1": 2, "a2": 4, "a3": 2}
    assert {r.why for r in rounds[1]} == {"its turn; rest, chance 1.00"}


def test_the_chance_that_is_asked_for_decides() -> None:
    for chance, rests in ((0.0, 1), (0.39, 1), (0.41, 0), (1.0, 0)):
        s = selection({"a": 1}, per_step=1, pilot=2, pilot_chance=chance)
        rounds, _ = whole_step(s, lambda r: WRONG)
        assert len(rounds) == 1 + rests


def test_a_problem_solved_before_needs_no_rest() -> None:
    # after 8 of 8 the belief is 1 + 8/2 = 5 to 1; then 2 of 2: the chance is 1 - 7/8 * 8/9 * ...
    # = 1 - 7/13 = .46 for a rest of 6, and was 1 - 3/9 = .67 at first
    s = selection({"a": 1}, per_step=1, group_size=8, pilot=2, pilot_chance=0.5)
    assert len(whole_step(s, lambda r: RIGHT)[0]) == 2
    assert len(whole_step(s, lambda r: RIGHT)[0]) == 1


def test_a_rest_is_asked_for_once_even_if_nothing_comes_of_it() -> None:
    s = selection({"a": 2}, per_step=2, pilot=2, pilot_chance=0.1)
    groups = [graded(request, RIGHT) for request in s.ask([])]
    assert len(s.ask(groups)) == 2
    assert s.ask(groups) == []


def test_what_pilots_taught_is_saved() -> None:
    # two of two, of four: the rest is drawn at first (.4), and not once all has been right
    def begun() -> Selection:
        return selection({"a": 3}, per_step=2, pilot=2, pilot_chance=0.3)

    s, again, fresh = begun(), begun(), begun()
    for _ in range(3):
        whole_step(s, lambda r: RIGHT)
    again.load_state_dict(json.loads(json.dumps(s.state_dict())))
    assert [len(whole_step(one, lambda r: RIGHT)[0]) for one in (fresh, s, again)] == [2, 1, 1]
    for kind in (MIXED, RIGHT, WRONG, MIXED):
        assert whole_step(again, lambda r, k=kind: k) == whole_step(s, lambda r, k=kind: k)
    assert again.state_dict() == s.state_dict()


def test_a_set_learns_from_pilots_alone_since_they_do_not_depend_on_what_came_out() -> None:
    # pilot of two: one right; the rest of four: one right too. The mean is that of the pilot, 1/2,
    # its pairs are never both right: (.98 * 4 * 1/3 + 0) / (.98 * 4 + 1)
    s = selection({"a": 1}, per_step=1, group_size=6, pilot=2, pilot_chance=0.0)
    whole_step(s, lambda r: MIXED)
    _, mean, square = s.memory()["a"]["pilots"]["set"]
    assert mean == pytest.approx(0.5)
    assert square == pytest.approx(3.92 / 3 / 4.92)


def test_the_reason_of_a_group_that_stays_small_is_told_until_the_step_is_over() -> None:
    s = selection({"a": 2}, per_step=2, pilot=2, pilot_chance=0.5)
    asked = s.ask([])
    groups = [graded(asked[0], RIGHT), graded(asked[1], MIXED)]
    groups = joined(groups, [graded(request, RIGHT) for request in s.ask(groups)])
    reasons = ["its turn; no rest, chance 0.40", "its turn; rest, chance 1.00"]
    assert [s.why_of(group) for group in groups] == reasons
    s.observe(groups)
    assert s.why_of(groups[0]) == "its turn"


# --- refills ------------------------------------------------------------------------------------


def test_vacant_places_are_those_without_a_mixed_group() -> None:
    found = [
        ("a", Outcome.MIXED),
        ("a", Outcome.ALL_WRONG),
        ("b", Outcome.ALL_CORRECT),
        ("b", Outcome.UNGRADABLE),
        ("c", Outcome.MIXED),
        ("c", Outcome.MIXED),
    ]
    assert vacant_places({"a": 3, "b": 2, "c": 1}, found) == {"a": 2, "b": 2}


def test_others_come_in_place_of_groups_without_signal_and_of_the_same_set() -> None:
    s = selection({"a": 6, "b": 6}, refills=3)
    rounds, groups = whole_step(s, lambda r: MIXED if r.problem.id[0] == "a" else WRONG)
    # two places each; those of b stay vacant, so b is drawn from until its six have come
    came = ["".join(request.problem.id[0] for request in asked) for asked in rounds]
    assert came == ["aabb", "bb", "bb"]
    assert len({g.problem.id for g in groups}) == 8
    assert [asked[-1].why for asked in rounds[1:]] == ["refill 1: its turn", "refill 2: its turn"]
    assert s.unfilled == 2


def test_as_many_are_drawn_as_are_missing_and_then_no_more() -> None:
    # one of the first four is mixed, then the next three are
    s = selection({"a": 20}, refills=9)
    seen: list[str] = []

    def kind(request: Request) -> str:
        seen.append(request.problem.id)
        return WRONG if 2 <= len(seen) <= 4 else MIXED

    rounds, _ = whole_step(s, kind)
    assert [len(asked) for asked in rounds] == [4, 3]
    assert s.unfilled == 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("pilot", [0, 2])
def test_refills_run_out_and_the_step_ends_with_what_there_is(rule: str, pilot: int) -> None:
    s = selection({"a": 100}, refills=3, rule=rule, pilot=pilot, pilot_chance=0.9)
    rounds, groups = whole_step(s, lambda r: WRONG)
    assert [len(asked) for asked in rounds] == [4, 4, 4, 4]  # the first, and three refills
    assert len(groups) == 16
    assert s.unfilled == 4
    assert [len(asked) for asked in whole_step(s, lambda r: MIXED)[0]] == (
        [4, 4] if pilot else [4]
    )  # the count begins anew with every step; pilots that are mixed get their rest
    assert s.unfilled == 4


@pytest.mark.parametrize("rule", RULES)
def test_a_set_that_runs_out_ends_the_step(rule: str) -> None:
    s = selection({"a": 5}, refills=1000, rule=rule)
    for _ in range(5):
        _, groups = whole_step(s, lambda r: RIGHT)
        assert len(groups) == len(s.rules["a"].kept)
        if s.epoch_done:
            s.end_epoch()


def test_the_count_of_unfilled_places_is_saved() -> None:
    s = selection({"a": 5}, refills=1)
    whole_step(s, lambda r: WRONG)
    again = selection({"a": 5}, refills=1)
    again.load_state_dict(s.state_dict())
    assert again.unfilled == s.unfilled == 4


# --- what counts ----------------------------------------------------------------------------------


def test_rollouts_that_cannot_be_graded_and_begun_answers_teach_nothing() -> None:
    s = selection({"a": 3}, per_step=3, rule="mopps")
    asked = s.ask([])
    groups = [graded(request, MIXED) for request in asked]
    broken = (*groups[0].rollouts[:2], *[rollout(Verdict.UNGRADABLE)] * 2)
    groups[0] = replace(groups[0], rollouts=broken)  # 1 right, 1 wrong, 2 not gradable
    groups[1] = replace(groups[1], prefix=(5, 6))  # it began with part of an answer
    s.observe(groups)
    learnt = s.memory()["a"]["pass_rates"]
    first, second, third = (request.problem.id for request in asked)
    assert learnt == {first: [2.0, 2.0], third: [2.0, 4.0]}
    assert second not in learnt


def test_what_a_shared_problem_came_to_counts_in_every_set_that_has_it() -> None:
    # x0 is in both sets; whoever asked for it, both drop it
    problems = [math_problem(id=f"x{i}") for i in range(4)]
    config = SelectionConfig(rule="resampling", floor=1)
    sets = {"a": problems[:3], "b": [problems[0], problems[3]]}
    s = Selection(sets, {"a": 3.0, "b": 1.0}, 4, 4, "1", config)
    asked = s.ask([])
    assert sorted(r.problem.id for r in asked) == ["x0", "x1", "x2", "x3"]
    s.observe([graded(r, RIGHT if r.problem.id == "x0" else MIXED) for r in asked])
    assert s.epoch_done
    s.end_epoch()
    assert {name: rule.dropped for name, rule in s.rules.items()} == {"a": ["x0"], "b": ["x0"]}


# --- what is known before the first step ----------------------------------------------------------


def test_what_another_run_dropped_stands_in_recalled() -> None:
    # a0 was solved and is out; a1 was solved in the first epoch, and is out since then; a2 is mixed
    s = selection({"a": 4, "b": 2}, rule="resampling")
    assert s.recalled == []
    s.recall([{"a1": Tally(4, 4), "a2": Tally(1, 4), "b0": Tally(4, 4)}, {"a0": Tally(4, 4)}])
    assert [(d.set_name, d.problem_id, d.decision.value) for d in s.recalled] == [
        ("a", "a1", "stays dropped"),
        ("a", "a0", "stays dropped"),
        ("b", "b0", "stays dropped"),
    ]


def test_the_newest_epoch_of_another_run_decides() -> None:
    s = selection({"a": 10}, per_step=1, rule="resampling")
    solved = {f"a{i}": Tally(4, 4) for i in range(10)}
    s.recall([solved, *[{f"a{i}": Tally(i // 9, 4) for i in range(2, 10)}] * 3])
    # the floor of one brought a0 back; a2 to a9 were unsolved or mixed later
    assert [d.problem_id for d in s.recalled] == ["a1"]


def test_a_set_that_an_earlier_stage_learned_about_is_not_recalled() -> None:
    s = selection({"a": 4, "b": 2}, rule="resampling")
    s.recall([{"a0": Tally(4, 4), "b0": Tally(4, 4)}], skip=["a"])
    assert [d.problem_id for d in s.recalled] == ["b0"]


def test_pilots_go_by_what_another_run_saw_and_by_what_an_earlier_stage_saw() -> None:
    wanted: dict[str, Any] = {"per_step": 1, "group_size": 8, "pilot": 4, "pilot_chance": 0.35}
    fresh, recalled = selection({"a": 1}, **wanted), selection({"a": 1}, **wanted)
    recalled.recall([{"a0": Tally(8, 8), "other": Tally(0, 8)}])
    later = selection({"a": 1}, memory=recalled.memory(), **wanted)
    # four of four: the rest may be mixed with .44 if nothing is known, and with less if 8 of 8 is
    assert [len(whole_step(s, lambda r: RIGHT)[0]) for s in (fresh, recalled, later)] == [2, 1, 1]
