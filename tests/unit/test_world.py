"""The embedded world: its answers checked by other means than those that made them."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import get_args

import pytest

from srpo.embedded.world import LEVELS, Chain, Split, Task, draw_task, generate, problem_of, word
from srpo.types import Domain, FunctionCase, Problem

DOMAINS: tuple[Domain, ...] = get_args(Domain)
SPLITS: tuple[Split, ...] = get_args(Split)
WORDS = {
    "multiply by ": "*",
    "subtract ": "-",
    "add ": "+",
    "times ": "*",
    "down ": "-",
    "up ": "+",
}


def draws(domain: Domain, count: int, seed: int = 7) -> list[Task]:
    rng = random.Random(seed)
    return [draw_task(rng, domain, rng.choice(LEVELS)) for _ in range(count)]


# --- generation -------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_same_arguments_give_the_same_problems_and_others_do_not(domain: Domain) -> None:
    once = generate(domain, "train", 40, 1)
    assert generate(domain, "train", 40, 1) == once
    assert generate(domain, "train", 40, 2) != once
    assert {problem.domain for problem in once} == {domain}


def test_levels_are_equal_or_in_the_proportion_that_is_asked_for() -> None:
    def levels(count: int, weights: tuple[float, ...] = ()) -> dict[int | None, int]:
        return dict(Counter(p.level for p in generate("math", "train", count, 0, weights)))

    assert levels(40) == dict.fromkeys(LEVELS, 5)
    # 24 in the proportion 1 1 2 2 2 2 1 1: 2 for each unit of weight
    assert levels(24, (1, 1, 2, 2, 2, 2, 1, 1)) == {1: 2, 2: 2, 3: 4, 4: 4, 5: 4, 6: 4, 7: 2, 8: 2}
    assert levels(10, (0, 0, 1, 0, 0, 0, 0, 0)) == {3: 10}
    # 10 among 8 are 1.25 each: one each, and the two left over go to the first two
    assert levels(10) == {1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1}


def test_levels_do_not_come_in_blocks() -> None:
    levels = [problem.level for problem in generate("math", "train", 80, 0)]
    assert levels != sorted(levels, key=str)


def test_no_two_problems_of_a_set_are_the_same() -> None:
    for domain in DOMAINS:
        problems = generate(domain, "train", 800, 3)
        assert len(problems) == len({p.id for p in problems}) == 800
        assert len({p.statement for p in problems}) == 800


def test_a_level_that_runs_out_and_wrong_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="needs 8 numbers"):
        generate("math", "train", 10, 0, (1, 2))
    # level 2 of math has some 220 tasks, 40 of them in the test split
    monkeypatch.setattr("srpo.embedded.world.TRIES_A_TASK", 20)
    with pytest.raises(ValueError, match=r"the test split has too few math problems of level 2$"):
        generate("math", "test", 250, 0, (0, 1, 0, 0, 0, 0, 0, 0))


# --- splits -----------------------------------------------------------------------------------


def test_splits_take_their_share() -> None:
    # 4, 3 and 13 buckets of 20
    shares = Counter(task.split for task in draws("math", 2000) + draws("code", 2000))
    assert shares["test"] / 4000 == pytest.approx(0.20, abs=0.02)
    assert shares["validation"] / 4000 == pytest.approx(0.15, abs=0.02)
    assert shares["train"] / 4000 == pytest.approx(0.65, abs=0.02)


def test_a_task_never_changes_its_split_however_it_is_worded() -> None:
    statements: dict[str, set[Split]] = {}
    rng = random.Random(1)
    for task in draws("math", 1000) + draws("code", 1000):
        for _ in range(3):
            statements.setdefault(word(task, rng), set()).add(task.split)
    assert {len(splits) for splits in statements.values()} == {1}


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_problem_is_in_two_splits(domain: Domain) -> None:
    sizes: dict[Split, int] = {"train": 800, "validation": 120, "test": 200}
    found = [generate(domain, split, sizes[split], 0) for split in SPLITS]
    for first, second in itertools.combinations(found, 2):
        assert {p.statement for p in first}.isdisjoint(p.statement for p in second)
        assert {p.id for p in first}.isdisjoint(p.id for p in second)


# --- answers ----------------------------------------------------------------------------------


def chains_in(text: str) -> list[int]:
    """What each chain written in a text comes to: in integers, and modulo ten only at the end."""
    for words, sign in WORDS.items():
        text = text.replace(words, sign)
    values = []
    for chain in re.findall(r"\d(?:[-+*]\d)*", re.sub(r"[ ,]", "", text)):
        value = int(chain[0])
        for sign, operand in zip(chain[1::2], chain[2::2], strict=True):
            value = {"+": value.__add__, "-": value.__sub__, "*": value.__mul__}[sign](int(operand))
        values.append(value % 10)
    return values


def test_the_reference_reads_every_wording() -> None:
    assert chains_in("Compute modulo ten, from left to right: 5 + 6 * 7.") == [7]  # 77
    assert chains_in("From 5, add 6, multiply by 7. From 3, subtract 9.") == [7, 4]  # -6 is 4
    assert chains_in("turns a dial from 2, up 9, times 3 and one from 1, down 2.") == [3, 9]


@pytest.mark.parametrize("split", SPLITS)
def test_math_answers_are_right(split: Split) -> None:
    for problem in generate("math", split, 400 if split == "train" else 120, 5):
        values = chains_in(problem.statement)
        asked = values[:1] if "first" in problem.statement.lower() else values
        assert problem.answer == "".join(map(str, asked)), problem.statement


def each(change: Callable[[int, int], int]) -> Callable[[list[int], int], list[int]]:
    return lambda items, k: [change(v, k) for v in items]


def only(wanted: Callable[[int, int], bool]) -> Callable[[list[int], int], list[int]]:
    return lambda items, k: [v for v in items if wanted(v, k)]


def without_repeats(items: list[int]) -> list[int]:
    found: list[int] = []
    for item in sorted(items):
        if not found or found[-1] != item:
            found.append(item)
    return found


LIST_OPERATIONS: dict[str, Callable[[list[int], int], list[int]]] = {
    "add # to every item": each(lambda v, k: v - -k),
    "subtract # from every item": each(lambda v, k: v + -k),
    "multiply every item by #": each(lambda v, k: sum([v] * k)),
    "keep the items above #": only(lambda v, k: v >= k + 1),
    "keep the items below #": only(lambda v, k: v <= k - 1),
    "keep the even items": only(lambda v, _: not v & 1),
    "keep the odd items": only(lambda v, _: bool(v & 1)),
    "square every item": each(lambda v, _: abs(v) ** 2),
    "negate every item": each(lambda v, _: 0 - v),
    "take absolute values": each(lambda v, _: max(v, -v)),
    "sort the items": lambda items, _: sorted(items, reverse=True)[::-1],
    "reverse the order": lambda items, _: list(reversed(items)),
    "drop the first item": lambda items, _: [v for i, v in enumerate(items) if i],
    "drop the last item": lambda items, _: list(reversed(list(reversed(items))[1:])),
    "keep each value once and sort": lambda items, _: without_repeats(items),
}
RESULTS: dict[str, Callable[[list[int]], object]] = {
    "the sum": lambda items: sum(v for v in items),
    "the number of items": lambda items: sum(1 for _ in items),
    "the largest": lambda items: sorted(items)[-1] if items else 0,
    "the smallest": lambda items: sorted(items)[0] if items else 0,
    "the list": lambda items: items,
}


def solve_code(statement: str, items: list[int]) -> object:
    """f(items) as the statement's words say it, with the operations written down above."""
    todo, given = re.split(r"\. (?:Modulo ten|On a counter)", statement.partition(": ")[2])
    *phrases, returns = todo.split(", ")
    constants = iter(chains_in(given))
    for phrase in phrases:
        pattern = re.sub(r"\b[km]\b", "#", phrase)
        items = LIST_OPERATIONS[pattern](items, next(constants) if "#" in pattern else 0)
    return RESULTS[returns.removeprefix("return ")](items)


@pytest.mark.parametrize("split", SPLITS)
def test_the_expected_values_of_code_tests_are_right(split: Split) -> None:
    for problem in generate("code", split, 240, 5):
        assert len(problem.tests) == 8
        for case in problem.tests:
            assert isinstance(case, FunctionCase)
            (items,) = case.args
            assert isinstance(items, list)
            numbers = [item for item in items if isinstance(item, int)]
            assert case.expected == solve_code(problem.statement, numbers), problem.statement


def test_every_operation_and_result_of_the_world_is_checked_here() -> None:
    from srpo.embedded import world

    known = {text.format(k="#") for text in [*world.WITH_CONSTANT, *world.WITHOUT_CONSTANT]}
    assert known == set(LIST_OPERATIONS)
    assert set(world.RETURNS) == set(RESULTS)


def expected(problem: Problem) -> list[object]:
    return [case.expected for case in problem.tests if isinstance(case, FunctionCase)]


def test_fewer_than_one_code_problem_in_fifteen_is_solved_by_returning_a_constant() -> None:
    problems = generate("code", "train", 800, 0)
    constant = [p for p in problems if all(value == expected(p)[0] for value in expected(p))]
    assert len(constant) < len(problems) / 15


# --- chains and tasks ---------------------------------------------------------------------------


def test_a_chain_is_worked_from_left_to_right_modulo_ten() -> None:
    # 5 + 6 = 11, shown 1; 1 * 7 = 7; 7 - 9 = -2, shown 8
    chain = Chain(5, (("+", 6), ("*", 7), ("-", 9)))
    assert chain.steps == [(5, "+", 6, 1), (1, "*", 7, 7), (7, "-", 9, 8)]
    assert (chain.value, chain.signs) == (8, "5 + 6 * 7 - 9")
    assert (Chain(3, ()).value, Chain(3, ()).signs) == (3, "3")


@pytest.mark.parametrize("domain", DOMAINS)
def test_work_grows_with_the_level(domain: Domain) -> None:
    rng = random.Random(0)
    work = [
        sum(len(c.operations) for c in draw_task(rng, domain, level).chains) for level in LEVELS
    ]
    assert work[0] <= 1
    assert work[:6] == sorted(set(work[:6]))  # one step more with each level up to six
    assert [len(draw_task(rng, domain, level).chains) for level in LEVELS] == [1] * 6 + [2] * 2


def test_a_problem_says_what_its_task_means() -> None:
    rng = random.Random(0)
    task = draw_task(rng, "math", 8)
    problem = problem_of(task, rng)
    assert problem.answer == "".join(str(value) for value in task.values)
    assert (problem.level, problem.source, problem.tests) == (8, "embedded", ())
