"""Prepared trusted tests, in their own process. Only the standard library."""

from __future__ import annotations

import importlib
import inspect
import io
import marshal
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import unittest

TESTS_NAME = "__main__"  # the guards of trusted tests run


class Prepared:
    """Tests as `tests_text.TestText.prepared` wrote them."""

    def __init__(self, data: bytes) -> None:
        fields: dict[str, Any] = marshal.loads(data)
        self.setup_code: types.CodeType = fields["setup_code"]
        self.tests_code: types.CodeType = fields["tests_code"]
        self.entry_point: str = fields["entry_point"]  # empty if none was given
        self.wanted: list[str] = fields["wanted"]  # names to look up in the program
        self.entries: list[str] = fields["entries"]
        self.uses_unittest: bool = fields["uses_unittest"]
        self._standard: dict[str, str] = fields["standard"]
        self._used_at_top = set(fields["used_at_top"])

    def standard(self) -> dict[str, Any]:
        """Modules and functions of the standard library that the tests use without an import."""
        return {
            name: getattr(importlib.import_module(module), name)
            if module
            else importlib.import_module(name)
            for name, module in self._standard.items()
        }

    def calls_check(self, space: dict[str, Any]) -> bool:
        """Whether there is a function `check` that the tests leave to be called."""
        return "check" not in self._used_at_top and _is_function(space.get("check"))

    def run_rest(self, space: dict[str, Any]) -> None:
        """Run unit tests and functions `test_*` that the tests define and do not run themselves.

        Raises AssertionError if one fails.
        """
        unit_tests: Any = sys.modules.get("unittest")  # if the tests have not loaded it, none
        for name, value in list(space.items()):
            if name in self._used_at_top:
                continue
            if unit_tests and isinstance(value, type) and issubclass(value, unit_tests.TestCase):
                _run_case(unit_tests, value)
            elif name.startswith("test_") and _is_function(value):
                _run_function(name, value)


def _is_function(value: object) -> bool:
    return isinstance(value, types.FunctionType) and value.__module__ == TESTS_NAME


def _run_case(unit_tests: Any, case: type[unittest.TestCase]) -> None:
    suite = unit_tests.defaultTestLoader.loadTestsFromTestCase(case)
    report = unit_tests.TextTestRunner(stream=io.StringIO(), verbosity=0, failfast=True).run(suite)
    problems = [*report.errors, *report.failures]
    if problems:
        raise AssertionError(problems[0][1].strip().splitlines()[-1])
    if not report.wasSuccessful():
        raise AssertionError(f"{case.__name__}: a test that should have failed did not")


def _run_function(name: str, function: types.FunctionType) -> None:
    needed = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise AssertionError(f"{name} needs arguments that nobody gives")
    function()
