"""What the documents name is there: tests, and the files they link to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = re.compile(r"\btest_[a-z0-9_]+\b")
PYTHON = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def known_tests() -> set[str]:
    """Names of all test modules and test functions."""
    names = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names.add(path.stem)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return names


KNOWN = known_tests()
MODULES = [
    path.relative_to(ROOT)
    for folder in ("src", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
]


def is_there(file: str, name: str | None) -> bool:
    """Whether a module's path ends in `file`, and defines `name` if there is one."""
    found = [path for path in MODULES if f"/{path.as_posix()}".endswith(f"/{file}")]
    return bool(found) and (name is None or any(_defines(path, name) for path in found))


def _defines(path: Path, name: str) -> bool:
    return f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_is_named_exists(document: Path) -> None:
    assert set(TEST.findall(document.read_text(encoding="utf-8"))) - KNOWN == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_is_named_exists_with_the_test_that_is_named_in_it(
    document: Path,
) -> None:
    named = PYTHON.findall(document.read_text(encoding="utf-8"))
    assert [f"{file}::{name}" for file, name in named if not is_there(file, name or None)] == []


@pytest.mark.parametrize(
    ("file", "name", "there"),
    [
        ("trainer.py", None, True),
        ("src/srpo/config/__init__.py", None, True),
        ("iner.py", None, False),  # half of a name
        ("unit/trainer.py", None, False),  # another folder
        ("repo/test_docs.py", "test_every_test_that_is_named_exists", True),
        ("repo/test_layers.py", "test_every_test_that_is_named_exists", False),
    ],
)
def test_a_module_is_known_by_the_end_of_its_path(file: str, name: str | None, there: bool) -> None:
    assert is_there(file, name) == there


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_linked_to_exists(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    own = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in own if not (document.parent / target).exists()] == []
