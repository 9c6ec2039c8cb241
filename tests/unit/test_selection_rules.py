"""What every selection rule promises, whatever it goes by."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence, Set
from typing import Any, get_args

import pytest

from srpo.config.method import SelectionConfig
from srpo.selection import RULES, Selection, make_rule
from srpo.selection.rule import Choice, Resampled, Rule, Tally
from tests.factories import group, math_problem

NONE: Set[str] = frozenset()


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def rule_of(name: str, ids: Sequence[str], seed: int = 1, *, floor: int = 1) -> Rule:
    config = SelectionConfig.model_validate({"rule": name, "floor": floor})
    return make_rule("s", ids, random.Random(seed), config, share=1)


def tally_of(problem_id: str) -> Tally:
    """A world that stands still: of every four problems one is solved, one not, two are mixed."""
    return (Tally(4, 4), Tally(1, 4), Tally(0, 4), Tally(3, 4))[int(problem_id[1:]) % 4]


def test_there_are_facts_of_every_rule_that_a_config_may_name() -> None:
    assert set(RULES) == set(get_args(SelectionConfig.model_fields["rule"].annotation))


@pytest.mark.parametrize("name", RULES)
def test_the_facts_of_a_rule_are_so(name: str) -> None:
    rule = rule_of(name, names(40))
    told, reaches_all = False, True
    for _ in range(5):
        came: set[str] = set()
        while not rule.epoch_done:
            chosen = [choice.problem_id for choice in rule.choose(6, NONE)]
            rule.observe({problem_id: tally_of(problem_id) for problem_id in chosen})
            came.update(chosen)
        reaches_all &= came >= set(rule.kept)
        told |= bool(rule.end_epoch())
    assert (RULES[name].takes_out, RULES[name].passes) == (told, reaches_all)


def step(rule: Rule, count: int) -> tuple[list[Choice], list[Resampled]]:
    """One step, and the epoch's end if it has come: what came, and what was decided."""
    chosen = rule.choose(count, NONE)
    rule.observe({choice.problem_id: tally_of(choice.problem_id) for choice in chosen})
    return chosen, rule.end_epoch() if rule.epoch_done else []


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("size", "count"), [(1, 1), (1, 3), (5, 5), (7, 3), (40, 6)])
def test_a_rule_gives_as_many_as_are_asked_for_while_there_are_so_many(
    name: str, size: int, count: int
) -> None:
    rule = rule_of(name, names(size), floor=count)
    for _ in range(60):
        came = [choice.problem_id for choice in step(rule, count)[0]]
        assert len(came) == len(set(came)) == min(count, size)
        assert set(came) <= set(names(size))
        assert sorted([*rule.kept, *rule.dropped]) == sorted(names(size))  # none lost, none twice


@pytest.mark.parametrize("name", RULES)
def test_what_is_in_the_step_already_does_not_come_again(name: str) -> None:
    rule = rule_of(name, names(8), floor=8)
    for number in range(40):
        without = {f"p{(number + i) % 8}" for i in range(5)} | {"of another set"}
        came = [choice.problem_id for choice in rule.choose(4, without)]
        assert set(came) == set(names(8)) - without  # just three are left
        rule.observe({problem_id: tally_of(problem_id) for problem_id in came})
    assert rule.choose(4, set(names(8))) == []
    assert rule.choose(0, NONE) == []


@pytest.mark.parametrize("name", RULES)
def test_every_choice_has_a_reason(name: str) -> None:
    rule = rule_of(name, names(9))
    for _ in range(20):
        choices = rule.choose(3, NONE)
        assert all(choice.why for choice in choices)
        rule.observe({choice.problem_id: tally_of(choice.problem_id) for choice in choices})


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "tally", [Tally(4, 4), Tally(0, 4), Tally(2, 4), Tally(0, 0)], ids=lambda t: t.outcome.value
)
@pytest.mark.parametrize("size", [1, 2, 13])
def test_every_epoch_ends(name: str, tally: Tally, size: int) -> None:
    # an epoch is at most the set once: 13 problems at 3 a step are at most 5 steps
    rule = rule_of(name, names(size), floor=3)
    for _ in range(12):
        steps = 0
        while not rule.epoch_done:
            choices = rule.choose(3, NONE)
            rule.observe({choice.problem_id: tally for choice in choices})
            steps += 1
            assert steps <= -(-size // 3)
        rule.end_epoch()


@pytest.mark.parametrize("name", RULES)
def test_an_epoch_ends_though_all_of_a_set_is_always_taken_by_another(name: str) -> None:
    rule = rule_of(name, names(3))
    for _ in range(3):
        assert rule.choose(3, set(names(3))) == []
        rule.observe({})
    assert rule.epoch_done


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("steps_before", [0, 1, 4, 9, 23])
def test_a_restored_rule_makes_the_same_choices(name: str, steps_before: int) -> None:
    rng = random.Random(3)
    config = SelectionConfig.model_validate({"rule": name, "floor": 2})
    rule = make_rule("s", names(14), rng, config, share=1)
    for _ in range(steps_before):
        step(rule, 3)
    saved, drawn = json.loads(json.dumps(rule.state_dict())), rng.getstate()
    rng_again = random.Random()
    rng_again.setstate(drawn)
    again = make_rule("s", names(14), rng_again, config, share=1)
    again.load_state_dict(saved)
    assert again.state_dict() == rule.state_dict()
    assert [step(again, 3) for _ in range(30)] == [step(rule, 3) for _ in range(30)]
    again.load_state_dict(saved)  # also over what it has seen since
    assert json.loads(json.dumps(again.state_dict())) == saved


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [13, 15])
def test_the_state_of_other_problems_is_refused(name: str, size: int) -> None:
    rule = rule_of(name, names(14))
    for _ in range(6):
        step(rule, 3)
    with pytest.raises(ValueError, match="set s is of other problems"):
        rule_of(name, names(size)).load_state_dict(rule.state_dict())
    with pytest.raises(ValueError, match="set s is of other problems"):
        rule_of(name, [f"q{i}" for i in range(14)]).load_state_dict(rule.state_dict())


@pytest.mark.parametrize("name", RULES)
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    def course(seed: int) -> list[tuple[list[Choice], list[Resampled]]]:
        rule = rule_of(name, names(30), seed)
        return [step(rule, 4) for _ in range(20)]

    assert course(1) == course(1)
    assert course(1) != course(2)


@pytest.mark.parametrize("name", [name for name in RULES if name != "uniform"])
def test_a_later_stage_goes_on_with_what_is_known(name: str) -> None:
    first = rule_of(name, names(12))
    for _ in range(8):
        step(first, 3)
    memory = json.loads(json.dumps(first.memory()))
    second = rule_of(name, [*names(12)[2:], "new"])
    second.remember(memory)
    without = {"p0", "p1"}
    assert known(second.memory()) == known(first.memory(), without)
    assert known(second.memory()) != known(rule_of(name, names(12)).memory())


def known(memory: Mapping[str, Any], without: Set[str] = NONE) -> dict[str, Any]:
    """What a memory says of problems, but for those of `without`."""
    found: dict[str, Any] = {}
    for key, value in memory.items():
        if isinstance(value, list):
            found[key] = [i for i in value if i not in without]
        elif isinstance(value, dict):
            found[key] = {i: entry for i, entry in value.items() if i not in without}
    return found


@pytest.mark.parametrize("name", RULES)
def test_a_rule_can_begin_with_the_history_of_another_run(name: str) -> None:
    # an epoch in which every problem came; another one of which little is known
    selection = Selection(
        {"s": [math_problem(id=i) for i in names(10)]},
        {"s": 1.0},
        3,
        4,
        "1",
        SelectionConfig.model_validate({"rule": name}),
    )
    whole = {i: tally_of(i) for i in names(10)}
    selection.recall([whole, {"p1": Tally(0, 4), "unknown": Tally(4, 4)}, {}])
    rule = selection.rules["s"]
    assert sorted([*rule.kept, *rule.dropped]) == sorted(names(10))
    ended = 0
    for _ in range(12):
        asked = selection.ask([])
        assert len({request.problem.id for request in asked}) == 3
        selection.observe([group([1.0, 0.0, 0.0, 0.0], request.problem) for request in asked])
        if selection.epoch_done:
            selection.end_epoch()
            ended += 1
    assert ended


@pytest.mark.parametrize("name", RULES)
def test_two_sets_that_are_one_and_the_same_both_learn_and_end_their_epochs(name: str) -> None:
    # 4 places, two of each set, and 4 problems in both: whoever comes second takes what is left
    shared = [math_problem(id=i) for i in names(4)]
    config = SelectionConfig.model_validate({"rule": name, "floor": 1})
    s = Selection({"a": shared, "b": shared[:1]}, {"a": 3.0, "b": 1.0}, 4, 4, "1", config)
    ended = 0
    for _ in range(6):
        asked = s.ask([])
        assert len({request.problem.id for request in asked}) == len(asked)
        s.observe([group([1.0] * 4, request.problem) for request in asked])
        if s.epoch_done:
            s.end_epoch()
            ended += 1
    assert ended
    if name != "uniform":  # p0 was solved, whoever asked for it
        assert "p0" in json.dumps(s.rules["b"].memory()) or s.rules["b"].kept == ["p0"]
