"""The engine's promises as plain calls, for engines that are opened elsewhere than on this CPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from srpo.engines import Engine
from tests.contract import test_engine as contract

MakeEngine = Callable[[], Engine]


@dataclass(frozen=True, slots=True)
class Promise:
    """One test of `tests/contract/test_engine.py` with the values that it is given there.

    Example: test_a_step_whose_gradient_is_not_finite_changes_nothing, with {"bad": nan}.
    """

    test: Callable[..., None]
    values: dict[str, Any]

    def __str__(self) -> str:
        said = [f"{name}={value}" for name, value in self.values.items()]
        return " ".join([self.test.__name__, *said])

    def assert_kept_by(self, make: MakeEngine) -> None:
        """Fail if the engines that `make` opens do not keep it."""
        self.test(make=make, **self.values)


def promises() -> list[Promise]:
    """Every promise of the contract, once for each set of values that its marks name."""
    tests = [test for name, test in sorted(vars(contract).items()) if name.startswith("test_")]
    return [Promise(test, values) for test in tests for values in _values_of(test)]


def _values_of(test: Callable[..., None]) -> list[dict[str, Any]]:
    marks: list[pytest.Mark] = [
        mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"
    ]
    combined: list[dict[str, Any]] = [
        {name: value for part in parts for name, value in part.items()}
        for parts in product(*(_rows_of(mark) for mark in marks))
    ]
    wanted = set(inspect.signature(test).parameters)
    for values in combined:
        assert {"make", *values} == wanted, f"{test.__name__} wants a fixture of its own: {wanted}"
    return combined


def _rows_of(mark: pytest.Mark) -> list[dict[str, Any]]:
    names, rows = mark.args
    assert isinstance(names, str) and "," not in names, "one name a mark"
    return [{names: row} for row in rows]
