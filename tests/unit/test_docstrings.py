"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import srpo

SOURCES = Path(srpo.__file__).parent
PROGRAMS = SOURCES / "rewards" / "exploits" / "programs"  # texts for the sandbox, no modules


def modules_with_examples() -> list[str]:
    """Dotted names of the modules in which an example stands."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        if PROGRAMS not in path.parents and ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(SOURCES.parent).with_suffix("").parts
            found.append(".".join(parts).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_hold(name: str) -> None:
    found = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert (found.failed, found.attempted > 0) == (0, True)
