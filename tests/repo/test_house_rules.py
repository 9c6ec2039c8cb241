"""The repository about itself: sizes, habits, and how fast it starts."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import srpo

ROOT = Path(__file__).parents[2]
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
DATA = ROOT / "src/srpo/rewards/exploits/programs"  # programs that attack the sandbox: only text
# written in pieces, so that this file holds none of them itself
LEFTOVERS = re.compile("|".join((r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b")))


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(p for p in (ROOT / folder).rglob("*.py") if DATA not in p.parents)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(*folders: str) -> tuple[tuple[str, ast.Module], ...]:
    return tuple(
        (short(path), ast.parse(path.read_text(encoding="utf-8")))
        for path in python_files(*folders)
    )


def calls_of(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


# --- sizes and habits -------------------------------------------------------------------------


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    lengths = {
        short(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("src", "tests")
    }
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_function_is_longer_than_a_page() -> None:
    long = [
        f"{path}: {node.name}"
        for path, tree in parsed("src", "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_every_zip_says_whether_lengths_must_agree() -> None:
    loose = [
        f"{path}:{call.lineno}"
        for path, tree in parsed("src", "tests")
        for call in calls_of(tree, "zip")
        if not any(keyword.arg == "strict" for keyword in call.keywords)
    ]
    assert loose == []


def test_only_the_command_line_prints() -> None:
    talkative = [
        f"{path}:{call.lineno}"
        for path, tree in parsed("src")
        for call in calls_of(tree, "print")
        if not path.endswith(("srpo/cli.py", "embedded/pretrain.py", "embedded/base_report.py"))
    ]
    assert talkative == []


def test_nothing_is_left_for_later() -> None:
    kinds = ("*.py", "*.md", "*.toml")
    folders = [ROOT / name for name in ("src", "tests", "docs", "configs", "examples")]
    left = [
        f"{short(path)}:{number}"
        for folder in folders
        for kind in kinds
        for path in sorted(folder.rglob(kind))
        if DATA not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if LEFTOVERS.search(line)
    ]
    assert left == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path, tree in parsed("src") if not ast.get_docstring(tree)]
    assert silent == []


# --- public names -------------------------------------------------------------------------------


def public_modules() -> list[str]:
    """Every module of the package that names what it exports."""
    names = ["srpo"]
    for found in pkgutil.walk_packages(srpo.__path__, "srpo."):
        path = ROOT / "src" / Path(*found.name.split("."))
        file = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        if "__all__" in file.read_text(encoding="utf-8"):
            names.append(found.name)
    return names


@pytest.mark.parametrize("name", public_modules())
def test_every_exported_name_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert [export for export in module.__all__ if not hasattr(module, export)] == []
    assert len(set(module.__all__)) == len(module.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = srpo.trian


# --- tests --------------------------------------------------------------------------------------


def states_something(function: ast.FunctionDef) -> bool:
    """Whether a test asserts, expects an error, or hands over to a helper that asserts."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("raises", "warns", "fail") or called.startswith("assert"):
                return True
    return False


def test_every_test_states_a_fact() -> None:
    empty = [
        f"{path}: {node.name}"
        for path, tree in parsed("tests")
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not states_something(node)
    ]
    assert empty == []


def test_there_are_no_test_classes_and_no_mocks() -> None:
    for path, tree in parsed("tests"):
        assert not [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name[:4] == "Test"]
        modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        assert not {"unittest", "unittest.mock", "mock"} & {*modules, *names}, path


# --- starting -----------------------------------------------------------------------------------


def seconds_of(*command: str) -> float:
    """Processor time of the quickest of three runs, after one that warms the disk."""
    taken = []
    for _ in range(4):
        before_s = _children_s()
        subprocess.run([sys.executable, *command], check=True, capture_output=True, env=_ENV)
        taken.append(_children_s() - before_s)
    return min(taken[1:])


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def loaded_by(statement: str) -> set[str]:
    """Top-level packages that a statement loads."""
    code = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=_ENV
    )
    return set(done.stdout.split())


HEAVY = {"torch", "transformers", "numpy", "pyarrow", "sympy", "matplotlib"}


def test_importing_the_package_loads_nothing_heavy_and_is_quick() -> None:
    assert loaded_by("import srpo") & (HEAVY | {"pydantic", "rich", "click"}) == set()
    assert seconds_of("-c", "import srpo") < 0.15


@pytest.mark.parametrize(
    "module",
    [
        "config.files", "problems", "selection", "prompts", "rollouts", "rewards.judge", "batching",
        "history", "schedule", "run.figures", "run.watcher", "run.session", "run.recording",
        "rundir", "resuming.checkpoints", "trainer", "evaluation", "engines.scripted",
        "embedded.world", "insight.judge_command",
    ],
)  # fmt: skip
def test_everything_but_the_engine_can_be_imported_without_torch(module: str) -> None:
    assert loaded_by(f"import srpo.{module}") & {"torch", "transformers"} == set()


def test_the_command_line_helps_at_once() -> None:
    assert loaded_by("import srpo.cli") & HEAVY == set()
    assert (
        seconds_of(
            "-c", "import sys; sys.argv = ['srpo', '--help']; from srpo.cli import main; main()"
        )
        < 0.3
    )


def test_every_folder_of_tests_is_run() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]
    folders = {short(path.parent) for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(options["ini_options"]["testpaths"]) == folders
