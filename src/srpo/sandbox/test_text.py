"""What the text of trusted tests says: which names it takes from the program, what it runs.

Only the standard library.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import io
import symtable
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import unittest

TESTS_NAME = "__main__"  # the guards of trusted tests run
# Comparisons and copies that tests may take for granted are never the program's.
_TRUSTED = {"isclose": "math", "deepcopy": "copy"}


class TestText:
    """Setup and tests, parsed and compiled. Raises SyntaxError if they are not Python.

    >>> TestText("import math", "assert round(math.pi) == third(9)", "").wanted()
    ['third']
    """

    __test__ = False  # not a test class, whatever its name

    def __init__(self, setup: str, tests: str, entry_point: str) -> None:
        self._trees = [ast.parse(setup), ast.parse(tests)]
        self._bound: set[str] = set()
        self._free: set[str] = set()
        for source in setup, tests:
            self._scan(symtable.symtable(source, "<tests>", "exec"), top=True)
        self._used_at_top = self._names_used_at_top(tests)
        self.entry_point = entry_point or self._only_builtin()
        self.setup_code = _compiled(self._trees[0], "setup")
        self.tests_code = _compiled(self._trees[1], TESTS_NAME)

    def _scan(self, table: symtable.SymbolTable, *, top: bool = False) -> None:
        for symbol in table.get_symbols():
            name = symbol.get_name()
            binds = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
            if binds and (top or symbol.is_declared_global()):
                self._bound.add(name)
            if symbol.is_referenced() and (top or symbol.is_global()):
                self._free.add(name)
        for child in table.get_children():
            self._scan(child)

    @staticmethod
    def _names_used_at_top(tests: str) -> set[str]:
        symbols = symtable.symtable(tests, "<tests>", "exec").get_symbols()
        return {symbol.get_name() for symbol in symbols if symbol.is_referenced()}

    def _only_builtin(self) -> str:
        """The builtin name that the tests call, if they use no other name of the program.

        Some problems ask for a function called `sum` or `pow`.
        """
        unknown = self._free - self._bound - set(dir(builtins)) - set(self.standard())
        called = {
            node.func.id
            for node in ast.walk(self._trees[1])
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        } & set(dir(builtins)) - self._bound
        return called.pop() if not unknown and len(called) == 1 else ""

    def mentions(self, name: str) -> bool:
        """Whether setup or tests use or bind this name."""
        return name in self._bound | self._free

    def wanted(self) -> list[str]:
        """Names that are looked up in the program: the entry point, and what nobody defines."""
        names = self._free - self._bound - set(dir(builtins)) - set(self.standard())
        return sorted(names | set(self.entries()))

    def entries(self) -> list[str]:
        """The entry point, and of a dotted one also the name that it begins with."""
        first = self.entry_point.split(".")[0].removesuffix("()")
        return sorted({self.entry_point, first} - {""})

    def standard(self) -> dict[str, Any]:
        """Modules and functions of the standard library that the tests use without an import."""
        bases = {
            node.value.id
            for tree in self._trees
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        called = {
            node.func.id
            for tree in self._trees
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        free = self._free - self._bound
        found: dict[str, Any] = {
            name: importlib.import_module(name)
            for name in (free & bases & sys.stdlib_module_names) - called
        }
        for name in free & set(_TRUSTED):
            found[name] = getattr(importlib.import_module(_TRUSTED[name]), name)
        return found

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


def _compiled(tree: ast.Module, name: str) -> types.CodeType:
    """Code in which an import that fails leaves its name undefined, and the rest runs."""
    body: list[ast.stmt] = []
    for statement in tree.body:
        plain = isinstance(statement, ast.Import) or (
            isinstance(statement, ast.ImportFrom)
            and statement.module not in ("__future__", "solution")
        )
        body.append(_tolerant(statement) if plain else statement)
    lenient = ast.fix_missing_locations(ast.Module(body, []))
    return compile(lenient, f"<{name}>", "exec", dont_inherit=True, optimize=0)


def _tolerant(statement: ast.stmt) -> ast.stmt:
    kind = ast.Name("ImportError", ast.Load())
    handler = ast.ExceptHandler(kind, None, [ast.Pass()])
    return ast.copy_location(ast.Try([statement], [handler], [], []), statement)
