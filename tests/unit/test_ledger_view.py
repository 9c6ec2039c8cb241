"""The ledger for a person."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from srpo.history import Ledger, When
from srpo.insight.ledger_view import print_ledger
from tests.factories import code_problem, group, math_problem

EASY = math_problem("What is 2 + 2?", "4", id="aa01")
HARD = math_problem("What is 9 * 9?", "81", id="bb01")
CODE = code_problem(id="cc01")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.add_problems("math", [EASY, HARD])
        opened.add_problems("code", [CODE])
        yield opened


def shown(ledger: Ledger, width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_ledger(ledger, Console(file=stream, width=width, highlight=False))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_ledger_ends_with_the_problems_drawn_most_often_and_solved_least(
    ledger: Ledger,
) -> None:
    # EASY and HARD are drawn twice, HARD with fewer correct answers; CODE is drawn once
    ledger.record_step(When(1, 1, 1), [group([1, 0], EASY), group([0, 0], HARD)], [], [])
    both = [group([1, 1], EASY), group([0, 1], HARD), group([1, 0], CODE)]
    ledger.record_step(When(2, 1, 1), both, [], [])
    assert shown(ledger)[-5:] == [
        "3 problems drawn, 0 of them never solved.",
        "Drawn most often (--problem ID tells what became of one):",
        "  bb01  math  2 times, 1 correct answer",
        "  aa01  math  2 times, 3 correct answers",
        "  cc01  code  once, 1 correct answer",
    ]


def test_a_ledger_without_groups_names_no_problem(ledger: Ledger) -> None:
    assert shown(ledger)[-1] == "0 problems drawn, 0 of them never solved."


def test_a_row_of_the_ledger_is_one_line_on_80_columns(ledger: Ledger) -> None:
    groups = [group([1, 0], EASY), group([0, 0], HARD)]
    ledger.record_step(When(1000, 1000, 10), groups, [], [])
    table = shown(ledger)[:2]
    assert table[0] == (
        "stage epoch domain groups correct mixed wrong ungraded drops revived tokens"
    )
    assert table[1].split()[:5] == ["10", "1000", "math", "2", "0"]
