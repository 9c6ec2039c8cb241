"""What may be wrong with a ledger's file: one clear line, and nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from srpo.errors import RunDirectoryError
from srpo.history import Ledger, When, check_same_problems
from srpo.history.schema import STATEMENT_CHARS
from tests.factories import group, math_problem

PROBLEMS = [math_problem(f"What is 2 + {i}?", id=f"p{i:03d}") for i in range(400)]


@cache
def whole_ledger() -> bytes:
    """Four hundred problems and one step: some dozen pages of SQLite."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as ledger:
            ledger.add_problems("math", PROBLEMS)
            ledger.record_step(When(1, 1, 1), [group([1, 0], p) for p in PROBLEMS], [], [])
        return path.read_bytes()


def write_ledger(path: Path) -> Path:
    path.write_bytes(whole_ledger())
    return path


def refusal(path: Path, *, read_only: bool = True) -> str:
    with pytest.raises(RunDirectoryError) as caught, Ledger(path, read_only=read_only) as ledger:
        ledger.epochs()
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_a_missing_ledger_is_missed_by_whoever_only_reads(tmp_path: Path) -> None:
    assert "no ledger there" in refusal(tmp_path / "ledger.sqlite")
    assert not (tmp_path / "ledger.sqlite").exists()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_is_no_ledger(tmp_path: Path, read_only: bool) -> None:
    assert "a folder" in refusal(tmp_path, read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_text_is_no_ledger_and_stays_as_it_is(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at by SQLite\n" * 30)
    before = path.read_bytes()
    assert "not a ledger" in refusal(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_database_of_another_program_is_left_alone(
    tmp_path: Path, read_only: bool, version: int
) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE groups (name TEXT)")
        db.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    assert "another program" in refusal(path, read_only=read_only)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["other.sqlite"]


def test_an_older_ledger_says_its_schema_and_what_to_do(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")
    for read_only in (True, False):
        text = refusal(path, read_only=read_only)
        assert "ledger of schema 1, but this srpo reads 2" in text
        assert "the srpo that wrote it" in text


def test_a_newer_ledger_asks_for_a_newer_srpo(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    text = refusal(path)
    assert "schema 7" in text
    assert "update" in text


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("left", [0.0, 0.001, 0.1, 0.5, 0.97])
def test_a_ledger_that_was_cut_off_is_refused(tmp_path: Path, left: float, read_only: bool) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    text = refusal(path, read_only=read_only)
    assert "cut off" in text or "not a ledger" in text


def test_a_ledger_with_a_damaged_page_is_refused_when_it_is_met(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    content = bytearray(path.read_bytes())
    content[3 * 4096 :] = b"\xff" * (len(content) - 3 * 4096)
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_ledger_that_another_process_writes_is_locked_and_loses_nothing(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    second = [group([1, 1], p) for p in PROBLEMS]
    with Ledger(path, wait_s=0.05) as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RunDirectoryError, match=r"ledger\.sqlite: locked by another process"):
            ledger.record_step(When(2, 1, 1), second, [], [("x", "y")])
        assert [row.groups for row in ledger.epochs()] == [400]  # it can be read all the same
        other.rollback()
        ledger.record_step(When(2, 1, 1), second, [], [("x", "y")])
        assert [row.groups for row in ledger.epochs()] == [800]
        assert len(ledger.events()) == 1


def test_a_ledger_that_nobody_else_may_even_read_is_said_to_be_locked(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RunDirectoryError, match="locked by another process"):
            Ledger(path, read_only=True, wait_s=0.05)


def test_a_ledger_that_ends_before_the_checkpoint_is_not_gone_on_with(tmp_path: Path) -> None:
    with Ledger(write_ledger(tmp_path / "ledger.sqlite")) as ledger:
        with pytest.raises(RunDirectoryError, match="ends at step 1, before step 20"):
            ledger.forget_after(20)
        ledger.forget_after(1)


def test_a_ledger_of_other_problems_is_refused_and_some_in_common_are_counted(
    tmp_path: Path,
) -> None:
    with Ledger(write_ledger(tmp_path / "ledger.sqlite")) as ledger:
        others = [math_problem(id=f"q{i}") for i in range(3)]
        with pytest.raises(RunDirectoryError) as caught:
            check_same_problems(ledger, others)
        assert str(caught.value) == (
            f"{ledger.path}: a ledger of other problems (math: 400); it knows none of the 3 "
            "problems of this run"
        )
        # two of five are known, and 398 of the 400 are not asked for
        note = check_same_problems(ledger, [*others, *PROBLEMS[:2]])
        assert "knows 2 of the 5 problems of this run; 398 others" in note
        assert "knows all 400 problems" in check_same_problems(ledger, PROBLEMS)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_that_lacks_a_table_is_refused_by_its_name(
    tmp_path: Path, read_only: bool
) -> None:
    path = write_ledger(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP VIEW decision_rows; DROP TABLE starts; DROP TABLE also_in")
    assert "without its tables also_in, starts: damaged" in refusal(path, read_only=read_only)


def test_the_ledger_keeps_no_more_than_the_beginning_of_a_statement(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add_problems("math", [math_problem("x" * 5000, id="long")])
        (found,) = ledger.find_problems("long")
    assert found.statement == "x" * STATEMENT_CHARS + "..."
