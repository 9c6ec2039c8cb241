"""A ledger that may not be read or written: one clear line."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from srpo.errors import RunDirectoryError
from srpo.history import Ledger, When
from tests.factories import group, math_problem

NOBODY = 65534
PROBLEM = math_problem()


def write_ledger(path: Path) -> Path:
    with Ledger(path) as ledger:
        ledger.add_problems("math", [PROBLEM])
        ledger.record_step(When(1, 1, 1), [group([1, 0], PROBLEM)], [], [])
    return path


def refusal(path: Path, *, read_only: bool = True) -> str:
    with pytest.raises(RunDirectoryError) as caught, Ledger(path, read_only=read_only):
        pass
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def as_nobody(action: Callable[[], None]) -> None:
    """Run `action` in a process that has no rights beyond everyone's; its failure is ours."""

    def drop_rights() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        action()

    process = multiprocessing.get_context("fork").Process(target=drop_rights)
    process.start()
    process.join(30)
    assert process.exitcode == 0


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    """A folder that everyone may look into."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    return tmp_path


def test_a_ledger_without_permission_is_refused(open_to_all: Path) -> None:
    path = write_ledger(open_to_all / "ledger.sqlite")
    path.chmod(0)

    def check() -> None:
        assert "no permission to read" in refusal(path)
        assert "no permission to write" in refusal(path, read_only=False)

    as_nobody(check)


def test_a_ledger_may_be_read_in_a_folder_that_may_not_be_written(open_to_all: Path) -> None:
    path = write_ledger(open_to_all / "ledger.sqlite")
    path.chmod(0o444)
    open_to_all.chmod(0o555)

    def check() -> None:
        with Ledger(path, read_only=True) as ledger:
            assert [row.groups for row in ledger.epochs()] == [1]
        assert "no permission to write" in refusal(path, read_only=False)

    as_nobody(check)
