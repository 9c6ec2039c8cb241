"""Prediction: a decayed Beta posterior with Thompson sampling, and a three-state Markov chain."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from srpo.selection.dps import Dps
from srpo.selection.mopps import Mopps
from srpo.selection.pilot import Belief
from srpo.selection.rule import Tally

NONE: frozenset[str] = frozenset()


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


# --- the Beta posterior -------------------------------------------------------------------------


def test_a_visit_halves_what_is_known_and_adds_what_is_seen() -> None:
    rule = Mopps("s", names(3), random.Random(1))
    rule.observe({"p0": Tally(6, 8)})
    # from the prior (1, 1): half of nothing, and 6 right and 2 wrong
    assert rule.belief("p0") == Belief(7.0, 3.0)
    rule.observe({"p0": Tally(1, 4), "p1": Tally(0, 4)})
    # 7/2 + 1/2 + 1 and 3/2 + 1/2 + 3
    assert rule.belief("p0") == Belief(5.0, 5.0)
    assert rule.belief("p1") == Belief(1.0, 5.0)
    assert rule.belief("p2") == Belief(1.0, 1.0)


def test_what_cannot_be_graded_changes_no_belief() -> None:
    rule = Mopps("s", names(1), random.Random(1))
    rule.observe({"p0": Tally(3, 5)})  # 3 of the 5 of 8 that could be graded
    rule.observe({"p0": Tally(0, 0)})
    assert rule.belief("p0") == Belief(4.0, 3.0)


def test_the_nearest_to_one_half_come_and_the_reason_says_how_near() -> None:
    rule = Mopps("s", names(50), random.Random(5))
    drawn = [float(choice.why.removeprefix("drawn pass rate ")) for choice in rule.choose(8, NONE)]
    distances = [abs(rate - 0.5) for rate in drawn]
    # the 8 nearest of 50 uniform draws lie within about 8/50 of a half-width of .5
    assert max(distances) < 0.2
    assert all(a <= b + 0.01 for a, b in itertools.pairwise(distances))


def test_an_epoch_is_as_many_places_as_there_are_problems() -> None:
    rule = Mopps("s", names(10), random.Random(1))
    rule.choose(4, NONE)
    rule.choose(4, NONE)
    assert not rule.epoch_done
    rule.choose(4, NONE)
    assert rule.epoch_done
    assert rule.end_epoch() == []
    assert not rule.epoch_done


def world(rule: Mopps | Dps, rates: Mapping[str, float], steps: int, seed: int) -> Counter[str]:
    """How often each problem came over `steps` steps of 8, eight rollouts each, rates fixed."""
    rng = random.Random(seed)
    came: Counter[str] = Counter()
    for _ in range(steps):
        chosen = [choice.problem_id for choice in rule.choose(8, NONE)]
        came.update(chosen)
        rule.observe({i: Tally(sum(rng.random() < rates[i] for _ in range(8)), 8) for i in chosen})
    return came


def test_pass_rates_near_one_half_come_more_often() -> None:
    # 30 problems never solved, 30 always, 30 half of the time; 400 steps of 8 are 3,200 places;
    # a third of them each if the rule did not care
    rates = {f"p{i}": (0.0, 0.5, 1.0)[i % 3] for i in range(90)}
    came = world(Mopps("s", list(rates), random.Random(2)), rates, 400, seed=3)
    half = sum(n for i, n in came.items() if rates[i] == 0.5)
    assert half > 0.7 * 3200
    assert len(came) == 90  # nothing is given up


def test_a_hundred_thousand_posteriors_are_drawn_in_well_under_a_second() -> None:
    rule = Mopps("s", names(100_000), random.Random(1))
    started = time.process_time()
    assert len(rule.choose(128, NONE)) == 128
    assert time.process_time() - started < 1.0


# --- the Markov chain ---------------------------------------------------------------------------


def test_the_chain_after_one_solved_visit_worked_out_by_hand() -> None:
    rule = Dps("s", ["a", "b"], random.Random(1))
    assert rule.chance_of_mixed("a") == pytest.approx(1 / 3)
    rule.observe({"a": Tally(8, 8)})
    # from any state alike to "all correct": 1/3 of a transition from each of the three. Counts
    # to all wrong, mixed, all correct from anywhere: 1, 1, 4/3; of 10/3: .3, .3, .4
    assert rule.chance_of_mixed("a") == pytest.approx(0.3)
    rule.observe({})
    # not drawn: 4/3 fades to .7 * 4/3 + .3 = 37/30; from anywhere 30, 30, 37 of 97
    assert rule.chance_of_mixed("a") == pytest.approx(30 / 97)
    assert rule.chance_of_mixed("b") == pytest.approx(1 / 3)


def test_the_chain_after_two_mixed_visits_worked_out_by_hand() -> None:
    rule = Dps("s", ["a"], random.Random(1))
    rule.observe({"a": Tally(3, 8)})
    assert rule.chance_of_mixed("a") == pytest.approx(0.4)
    rule.observe({"a": Tally(5, 8)})
    # the first count has faded to 37/30; the second transition was from mixed to mixed, for
    # sure: 1 more. From mixed 30, 67, 30 of 127
    assert rule.chance_of_mixed("a") == pytest.approx(67 / 127)
    rule.observe({"a": Tally(0, 8)})
    # from mixed to all wrong: to mixed .7 * 67/30 + .3 = 559/300, to all wrong 1 + 1 = 2 from
    # mixed. Now it is all wrong, and from there: 1, .7 * 37/30 + .3 = 349/300, 1
    assert rule.chance_of_mixed("a") == pytest.approx(349 / 949)


def test_what_cannot_be_graded_shows_no_state() -> None:
    seen, not_drawn = Dps("s", ["a"], random.Random(1)), Dps("s", ["a"], random.Random(1))
    for rule in (seen, not_drawn):
        rule.observe({"a": Tally(8, 8)})
    seen.observe({"a": Tally(0, 0)})
    not_drawn.observe({})
    assert seen.chance_of_mixed("a") == not_drawn.chance_of_mixed("a")


def test_what_was_just_mixed_comes_first_and_what_was_not_comes_last() -> None:
    rule = Dps("s", names(6), random.Random(1))
    rule.observe({"p0": Tally(8, 8), "p1": Tally(3, 8), "p2": Tally(0, 8)})
    orders = Counter(tuple(c.problem_id for c in rule.choose(6, NONE)) for _ in range(300))
    places: dict[str, Counter[int]] = {problem_id: Counter() for problem_id in names(6)}
    for order, times in orders.items():
        for place, problem_id in enumerate(order):
            places[problem_id][place] += times
    # a place explores with the chance .1: nine of ten first places are of the most probable
    assert places["p1"].most_common(1)[0][0] == 0
    assert all(sum(n for place, n in places[i].items() if place >= 3) > 200 for i in ("p0", "p2"))
    # the three never seen are equals, in random order
    assert all(min(places[i][place] for place in (1, 2, 3)) > 40 for i in ("p3", "p4", "p5"))


def test_the_reason_is_the_predicted_probability() -> None:
    rule = Dps("s", ["a"], random.Random(1))
    rule.observe({"a": Tally(3, 8)})
    reasons = {rule.choose(1, NONE)[0].why for _ in range(60)}
    assert reasons == {"mixed with probability 0.40", "explores: mixed with probability 0.40"}


def test_what_was_seen_long_ago_is_forgotten_exactly() -> None:
    rule = Dps("s", names(5), random.Random(1))
    rule.observe({"p1": Tally(3, 8)})
    assert list(rule.memory()["chains"]) == ["p1"]
    for _ in range(60):  # .7 to the power of 60 is 5e-10
        rule.observe({})
    assert rule.memory() == {"chains": {}}
    assert rule.chance_of_mixed("p1") == rule.chance_of_mixed("p0")


def test_mixed_problems_come_more_often_and_nothing_is_given_up() -> None:
    # 10 of 60 problems are mixed, the others never solved: by chance a sixth of the places. Of
    # 4,800 places about 480 explore, so that each problem comes about 8 times at least
    rates = {f"p{i}": 0.5 if i < 10 else 0.0 for i in range(60)}
    came = world(Dps("s", list(rates), random.Random(4)), rates, 600, seed=5)
    assert sum(n for i, n in came.items() if rates[i]) > 0.6 * 4800
    assert len(came) == 60


def test_a_hundred_thousand_chains_choose_and_step_in_well_under_a_second() -> None:
    rule = Dps("s", names(100_000), random.Random(1))
    rule.observe({i: Tally(n % 9, 8) for n, i in enumerate(names(100_000))})
    started = time.process_time()
    chosen = rule.choose(128, NONE)
    rule.observe({choice.problem_id: Tally(1, 8) for choice in chosen})
    assert time.process_time() - started < 1.0
