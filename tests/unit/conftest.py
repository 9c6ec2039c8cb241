"""What several unit tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from srpo.history import Ledger
from tests.ledgers import CODE, EASY, HARD


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.add_problems("math", [EASY, HARD])
        opened.add_problems("code", [CODE])
        yield opened
