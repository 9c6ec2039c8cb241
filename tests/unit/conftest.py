"""What several unit tests begin with."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srpo.embedded.world import generate
from srpo.history import Ledger
from srpo.types import Problem
from tests.ledgers import CODE, EASY, HARD


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.add_problems("math", [EASY, HARD])
        opened.add_problems("code", [CODE])
        yield opened


@pytest.fixture(scope="session", autouse=True)
def demo_problems_made_once() -> Iterator[None]:
    """A problem set of the embedded world is always the same; making the demo's takes 0.2 s."""
    once = functools.cache(generate)

    def generated(*given: Any) -> list[Problem]:
        return list(once(*given))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("srpo.run.problem_sets.generate", generated)
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of a comparison without the figure, which takes longer than all the rest."""
    monkeypatch.setattr("srpo.comparison.comparing.draw_comparison", lambda *_: None)
