"""What the text of trusted tests says: which names it takes from the program, what it runs.

Worked out by the parent, once for all programs that are put to the same tests, so that the tests'
own process has only to run them (`tests_run`).
"""

from __future__ import annotations

import ast
import builtins
import marshal
import symtable
import sys
import types

from srpo.sandbox.channel.tests_run import TESTS_NAME

# Comparisons and copies that tests may take for granted are never the program's.
_TRUSTED = {"isclose": "math", "deepcopy": "copy"}
# Nor are packages that are not to be had here: a program's own `np.allclose` may say anything.
_PACKAGES = {"np", "numpy", "pandas", "pd", "pytest", "scipy", "sympy", "torch"}


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
        self._has_entry_point = bool(entry_point)
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

    def wanted(self) -> list[str]:
        """Names that are looked up in the program: the entry point, and what nobody defines."""
        names = self._free - self._bound - set(dir(builtins)) - set(self.standard())
        return sorted((names - _PACKAGES) | set(self.entries()))

    def entries(self) -> list[str]:
        """The entry point, and of a dotted one also the name that it begins with."""
        first = self.entry_point.split(".")[0].removesuffix("()")
        return sorted({self.entry_point, first} - {""})

    def standard(self) -> dict[str, str]:
        """What the tests use of the standard library without an import, and its module.

        A module has an empty text.
        """
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
        modules = (free & bases & sys.stdlib_module_names) - called
        return dict.fromkeys(sorted(modules), "") | {
            name: _TRUSTED[name] for name in sorted(free & set(_TRUSTED))
        }

    def prepared(self) -> bytes:
        """All that `tests_run.Prepared` needs, for a process of this very Python."""
        return marshal.dumps(
            {
                "setup_code": self.setup_code,
                "tests_code": self.tests_code,
                "entry_point": self.entry_point if self._has_entry_point else "",
                "wanted": self.wanted(),
                "entries": self.entries(),
                "standard": self.standard(),
                "used_at_top": sorted(self._used_at_top),
                "uses_unittest": "unittest" in self._bound | self._free,
            }
        )


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
