"""Which problems come next: passes, and history resampling."""

from __future__ import annotations

import gc
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.config import StageConfig
from srpo.config.method import SelectionConfig
from srpo.selection import Selection
from srpo.selection.passes import Pool
from srpo.selection.resampling import resample
from srpo.selection.rule import Decision, Resampled, Tally
from srpo.types import Group, Problem
from tests.factories import group, math_problem

GONE = (Decision.DROP_ALL_CORRECT, Decision.STAY_DROPPED)


def problems(set_name: str, count: int) -> list[Problem]:
    return [math_problem(id=f"{set_name}{i}") for i in range(count)]


# --- resample ---------------------------------------------------------------------------------


def decisions(found: Sequence[Resampled]) -> dict[str, Decision]:
    return {d.problem_id: d.decision for d in found}


def test_every_outcome_has_its_decision() -> None:
    counts = {
        "solved": Tally(8, 8),
        "mixed": Tally(3, 8),
        "unsolved": Tally(0, 8),
        "broken": Tally(0, 0),
    }
    found = resample(counts, [*counts, "unseen"], ["gone"], 0, "math")
    assert decisions(found) == {
        "solved": Decision.DROP_ALL_CORRECT,
        "mixed": Decision.KEEP_MIXED,
        "unsolved": Decision.KEEP_ALL_WRONG,
        "broken": Decision.KEEP_UNGRADABLE,
        "unseen": Decision.KEEP_UNSEEN,
        "gone": Decision.STAY_DROPPED,
    }
    assert [(d.set_name, d.correct, d.gradable) for d in found[:2]] == [
        ("math", 8, 8),
        ("math", 3, 8),
    ]


def test_a_dropped_problem_that_came_all_the_same_is_decided_on_anew() -> None:
    # in another run's history, where nothing was dropped, or through another set
    counts = {"a": Tally(3, 8), "b": Tally(8, 8), "c": Tally(0, 8)}
    found = resample(counts, ["p"], ["a", "b", "c", "d"], 0, "math")
    assert decisions(found) == {
        "p": Decision.KEEP_UNSEEN,
        "a": Decision.KEEP_MIXED,
        "b": Decision.DROP_ALL_CORRECT,
        "c": Decision.KEEP_ALL_WRONG,
        "d": Decision.STAY_DROPPED,
    }


def test_rollouts_that_could_not_be_graded_say_nothing() -> None:
    # 5 of 8 could be graded and all were right: solved; 1 of 1 too
    found = resample(
        {"a": Tally(5, 5), "b": Tally(1, 1), "c": Tally(4, 5)}, ["a", "b", "c"], [], 0, "s"
    )
    assert [d.decision for d in found] == [
        Decision.DROP_ALL_CORRECT,
        Decision.DROP_ALL_CORRECT,
        Decision.KEEP_MIXED,
    ]


def revived(found: Sequence[Resampled]) -> list[str]:
    return sorted(d.problem_id for d in found if d.decision is Decision.REVIVE_FLOOR)


def test_the_floor_brings_back_the_longest_dropped_first_then_the_just_dropped() -> None:
    # one of four stays; floor 2 needs one more, floor 4 three, floor 5 all that there are
    counts = {"a": Tally(8, 8), "b": Tally(8, 8), "c": Tally(1, 8), "d": Tally(8, 8)}
    gone = ["old", "newer"]

    def at_floor(floor: int) -> list[str]:
        return revived(resample(counts, list("abcd"), gone, floor, "s"))

    assert at_floor(1) == []
    assert at_floor(2) == ["old"]
    assert at_floor(3) == ["newer", "old"]
    assert at_floor(4) == ["a", "newer", "old"]
    assert at_floor(5) == ["a", "b", "newer", "old"]
    assert at_floor(99) == ["a", "b", "d", "newer", "old"]


counts_of_epoch = st.dictionaries(
    st.sampled_from([f"p{i}" for i in range(10)]),
    st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda pair: Tally(min(pair), pair[1])),
)


@given(counts_of_epoch, st.integers(0, 15), st.integers(0, 10))
def test_nothing_is_lost_and_no_more_comes_back_than_the_floor_needs(
    counts: dict[str, Tally], floor: int, num_dropped: int
) -> None:
    everything = [f"p{i}" for i in range(10)]
    dropped, pool = everything[:num_dropped], everything[num_dropped:]
    counts = {i: pair for i, pair in counts.items() if i in pool}
    found = resample(counts, pool, dropped, floor, "s")
    assert sorted(d.problem_id for d in found) == everything
    kept = [d for d in found if d.decision not in GONE]
    back = revived(found)
    assert len(kept) >= min(floor, len(everything))
    assert not back or len(kept) == min(floor, len(everything))
    for decision in found:
        if decision.decision is Decision.DROP_ALL_CORRECT:
            assert decision.correct == decision.gradable > 0


# --- pools --------------------------------------------------------------------------------------


def test_a_pass_brings_every_problem_once_before_any_comes_again() -> None:
    pool = Pool([str(i) for i in range(10)], random.Random(1))
    drawn = [problem for _ in range(5) for problem in pool.draw(4)]
    # 20 draws are two whole passes; one step may straddle both and skips what it already has
    assert sorted(drawn[:8]) == sorted(set(drawn[:8]))
    assert set(Counter(drawn).values()) == {2}
    assert Pool([], random.Random(1)).draw(3) == []


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 1000))
def test_over_whole_passes_every_problem_comes_equally_often(
    size: int, count: int, seed: int
) -> None:
    pool = Pool([str(i) for i in range(size)], random.Random(seed))
    seen: Counter[str] = Counter()
    for _ in range(size):
        drawn = pool.draw(count)
        assert len(drawn) == len(set(drawn)) == min(count, size)
        seen.update(drawn)
    assert set(seen.values()) == {min(count, size)}


# --- selection ----------------------------------------------------------------------------------


def selection(
    sizes: Mapping[str, int],
    weights: Mapping[str, float] | None = None,
    *,
    per_step: int = 4,
    drop: bool = True,
    floor: int = 1,
    dropped: Mapping[str, Sequence[str]] | None = None,
    seed: str = "1",
) -> Selection:
    return Selection(
        {name: problems(name, size) for name, size in sizes.items()},
        weights or dict.fromkeys(sizes, 1.0),
        per_step,
        4,
        seed,
        SelectionConfig(rule="resampling" if drop else "uniform", floor=floor),
        {name: {"dropped": list(gone)} for name, gone in (dropped or {}).items()},
    )


def chosen_by(s: Selection) -> list[Problem]:
    """The problems of the next step's first round."""
    return [request.problem for request in s.ask([])]


def dropped_by(s: Selection) -> dict[str, list[str]]:
    return {name: list(rule.dropped) for name, rule in s.rules.items()}


def ids(chosen: Sequence[Problem]) -> list[str]:
    return [problem.id for problem in chosen]


def graded(chosen: Sequence[Problem], solved: Sequence[str] = ()) -> list[Group]:
    """All four rollouts right for the solved problems, one right and three wrong for others."""
    return [
        group([1.0] * 4 if problem.id in solved else [1.0, 0.0, 0.0, 0.0], problem)
        for problem in chosen
    ]


def run_epoch(s: Selection, solved: Sequence[str] = ()) -> list[str]:
    """One whole epoch; the problems that came, in order."""
    came: list[str] = []
    while not s.epoch_done:
        chosen = chosen_by(s)
        came += ids(chosen)
        s.observe(graded(chosen, solved))
    s.end_epoch()
    return came


def test_the_epoch_ends_when_every_problem_of_every_set_has_come() -> None:
    # 10 problems of a at 2 a step need 5 steps; 3 of b at 2 a step have come twice by then
    s = selection({"a": 10, "b": 3})
    came = Counter(run_epoch(s))
    assert {i for i in came if i[0] == "a"} == {f"a{i}" for i in range(10)}
    assert sum(n for i, n in came.items() if i[0] == "a") == 10
    assert {came[f"b{i}"] for i in range(3)} <= {3, 4}
    assert not s.epoch_done  # the next one has begun


def test_a_step_never_holds_a_problem_twice_even_of_a_set_that_is_too_small() -> None:
    s = selection({"a": 9, "b": 2}, {"a": 1, "b": 3}, per_step=8)
    for _ in range(30):
        chosen = ids(chosen_by(s))
        assert len(chosen) == len(set(chosen)) == 2 + 2  # b has 2 problems for its 6 places
        s.observe([])
    assert s.short_sets == [("b", 2, 6)]
    assert selection({"a": 9, "b": 6}, {"a": 1, "b": 3}, per_step=8).short_sets == []


def test_places_are_rounded_up_when_a_set_is_called_short() -> None:
    # 5 places in the ratio 1 to 1 are at most 3 for either
    assert selection({"a": 2, "b": 3}, per_step=5).short_sets == [("a", 2, 3)]


def test_weights_give_each_set_its_share_and_zero_gives_none() -> None:
    stage = StageConfig(name="s", steps=1, sets={"a": 1, "b": 2, "never": 0})
    s = selection({"a": 50, "b": 50, "never": 50}, stage.drawn, per_step=4)
    came: Counter[str] = Counter()
    for _ in range(30):
        came.update(problem_id[0] for problem_id in ids(chosen_by(s)))
        s.observe([])
    assert came == {"a": 40, "b": 80}
    assert s.num_kept == 100


def test_a_problem_that_two_sets_share_comes_once_a_step() -> None:
    shared = problems("x", 2)
    s = Selection({"a": shared, "b": shared}, {"a": 1, "b": 1}, 4, 4, "1", SelectionConfig(floor=1))
    assert sorted(ids(chosen_by(s))) == ["x0", "x1"]


def test_what_every_rollout_solved_does_not_come_again() -> None:
    s = selection({"a": 6}, per_step=3)
    assert sorted(run_epoch(s, solved=["a1", "a4"])) == [f"a{i}" for i in range(6)]
    assert (s.num_kept, s.num_dropped) == (4, 2)
    assert set(run_epoch(s, solved=["a0"])) == {"a0", "a2", "a3", "a5"}
    assert dropped_by(s) == {"a": ["a1", "a4", "a0"]}  # longest dropped first


def test_solved_in_one_pass_and_not_in_another_is_mixed() -> None:
    # b0 comes in both steps: 4 of 4, then 1 of 4; that is 5 of 8
    s = selection({"a": 2, "b": 1}, per_step=2)
    s.observe(graded(chosen_by(s), solved=["b0"]))
    s.observe(graded(chosen_by(s)))
    assert s.epoch_done
    found = {d.problem_id: d for d in s.end_epoch()}
    assert (found["b0"].decision, found["b0"].correct) == (Decision.KEEP_MIXED, 5)
    assert found["b0"].gradable == 8


def test_counts_of_one_epoch_do_not_reach_into_the_next() -> None:
    s = selection({"a": 2}, per_step=2, floor=1)
    run_epoch(s)
    run_epoch(s, solved=["a0"])  # mixed in the first epoch, solved in the second
    assert dropped_by(s) == {"a": ["a0"]}


def test_without_resampling_the_same_pool_comes_again() -> None:
    s = selection({"a": 6}, per_step=3, drop=False)
    first = run_epoch(s, solved=[f"a{i}" for i in range(6)])
    second = run_epoch(s)
    assert sorted(first) == sorted(second) == [f"a{i}" for i in range(6)]
    assert first != second  # in another order
    assert (s.num_kept, s.num_dropped) == (6, 0)


def test_the_floor_is_one_steps_share_rounded_up_unless_it_is_set() -> None:
    # 5 places, 1 to 1: a step's share is 2.5, rounded up 3
    s = selection({"a": 9, "b": 9}, per_step=5, floor=0)
    run_epoch(s, solved=[f"{name}{i}" for name in "ab" for i in range(9)])
    assert {name: len(rule.kept) for name, rule in s.rules.items()} == {"a": 3, "b": 3}
    s = selection({"a": 9, "b": 9}, per_step=5, floor=7)
    run_epoch(s, solved=[f"{name}{i}" for name in "ab" for i in range(9)])
    assert {name: len(rule.kept) for name, rule in s.rules.items()} == {"a": 7, "b": 7}


def test_those_that_came_back_and_are_solved_again_wait_longest() -> None:
    # all four are solved; the floor of 2 keeps a0, a1 (first of the just dropped). They are
    # solved again: now a2, a3 have waited longest and come back, then a0, a1 wait.
    s = selection({"a": 4}, per_step=2, floor=2)
    everything = [f"a{i}" for i in range(4)]
    run_epoch(s, solved=everything)
    assert (sorted(s.rules["a"].kept), dropped_by(s)["a"]) == (["a0", "a1"], ["a2", "a3"])
    run_epoch(s, solved=everything)
    assert (sorted(s.rules["a"].kept), dropped_by(s)["a"]) == (["a2", "a3"], ["a0", "a1"])


def test_what_an_earlier_stage_dropped_stays_out_unless_the_floor_needs_it() -> None:
    gone = {"a": ["a3", "a1", "a0"], "other": ["o1"]}
    s = selection({"a": 5, "b": 5}, floor=1, dropped=gone)
    assert (s.num_kept, dropped_by(s)) == (7, {"a": ["a3", "a1", "a0"], "b": []})
    assert {i for i in run_epoch(s) if i[0] == "a"} == {"a2", "a4"}
    s = selection({"a": 5, "b": 5}, floor=4, dropped=gone)
    assert [d.problem_id for d in s.revived_at_start] == ["a3", "a1"]
    assert dropped_by(s)["a"] == ["a0"]
    assert {i for i in run_epoch(s) if i[0] == "a"} == {"a1", "a2", "a3", "a4"}


def test_the_seed_decides_the_order() -> None:
    assert ids(chosen_by(selection({"a": 40}))) == ids(chosen_by(selection({"a": 40})))
    assert ids(chosen_by(selection({"a": 40}))) != ids(chosen_by(selection({"a": 40}, seed="2")))


@pytest.mark.parametrize("steps_before", [0, 1, 3, 4, 7])
def test_a_restored_selection_makes_the_same_choices(steps_before: int) -> None:
    def step(s: Selection) -> tuple[list[str], list[Resampled]]:
        chosen = chosen_by(s)
        s.observe(graded(chosen, solved=["a0", "a3", "b1", "b2"]))
        return ids(chosen), s.end_epoch() if s.epoch_done else []

    s = selection({"a": 7, "b": 5}, {"a": 1, "b": 2}, floor=2)
    for _ in range(steps_before):
        step(s)
    saved = json.loads(json.dumps(s.state_dict()))
    restored = selection({"a": 7, "b": 5}, {"a": 1, "b": 2}, floor=2)
    restored.load_state_dict(saved)
    assert restored.state_dict() == s.state_dict()
    assert [step(restored) for _ in range(20)] == [step(s) for _ in range(20)]


def test_the_state_of_other_problems_is_refused() -> None:
    state = selection({"a": 7}).state_dict()
    with pytest.raises(ValueError, match="other problem"):
        selection({"b": 7}).load_state_dict(state)
    with pytest.raises(ValueError, match="other problem"):
        selection({"a": 6}).load_state_dict(state)


@given(
    st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=5),
    st.integers(0, 6),
    st.integers(1, 6),
)
def test_kept_and_dropped_are_all_problems_and_the_solved_leave(
    solved_by_epoch: list[set[int]], floor: int, per_step: int
) -> None:
    s = selection({"a": 12}, per_step=per_step, floor=floor)
    everything = {f"a{i}" for i in range(12)}
    for solved in solved_by_epoch:
        in_play = set(s.rules["a"].kept)
        while not s.epoch_done:
            chosen = chosen_by(s)
            assert set(ids(chosen)) <= in_play
            s.observe(graded(chosen, [f"a{i}" for i in solved]))
        back = set(revived(s.end_epoch()))
        kept, gone = s.rules["a"].kept, dropped_by(s)["a"]
        assert len(kept) + len(gone) == 12
        assert set(kept) | set(gone) == everything
        assert set(kept) & {f"a{i}" for i in solved} & in_play <= back
        assert len(kept) >= (floor or per_step)


def test_ending_an_epoch_leaves_the_garbage_collector_as_it_was() -> None:
    for switch in (gc.disable, gc.enable):
        switch()
        run_epoch(selection({"a": 3}))
        assert gc.isenabled() == (switch is gc.enable)
