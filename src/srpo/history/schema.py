"""The ledger as a file: its tables, and how it is made, opened, and refused in one line.

Made for a million problems and ten epochs in less than 2 GB, so nothing is written twice: texts
that come again and again are in `words`, problems have small numbers, and groups are stored by
epoch and problem, so that an epoch is read in one go and sums up without sorting. `group_rows`
and `decision_rows` are the same in plain words, for whoever opens the file with `sqlite3`.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from srpo.errors import FaultError, RunDirectoryError
from srpo.types import Verdict

SCHEMA_VERSION = 2
APPLICATION_ID = int.from_bytes(b"srpo")
WAIT_S = 5.0  # for another process that writes
CACHE_KIB = 64 * 1024
STATEMENT_CHARS = 500  # the ledger keeps the beginning; the problem file has the whole
VERDICTS = tuple(verdict.value for verdict in Verdict)
# `also_in`: the sets of a problem beyond its first one. `starts`: decisions as of a stage's start,
# before its first step; `decisions` are those after a step
SCHEMA = f"""
CREATE TABLE words (key INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE problems (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, domain INTEGER, set_name INTEGER,
    name TEXT, source INTEGER, level INTEGER);
CREATE TABLE statements (problem INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE steps (step INTEGER PRIMARY KEY, stage INTEGER, epoch INTEGER, ends_epoch INTEGER);
CREATE TABLE groups (
    epoch INTEGER, problem INTEGER, step INTEGER, set_name INTEGER, prefix INTEGER,
    generated INTEGER, gradable INTEGER, {", ".join(f"{name} INTEGER" for name in VERDICTS)},
    domain INTEGER, why INTEGER, policy_version INTEGER, has_signal INTEGER, reused INTEGER,
    PRIMARY KEY (epoch, problem, step)) WITHOUT ROWID;
CREATE TABLE decisions (
    problem INTEGER, set_name INTEGER, step INTEGER, decision INTEGER,
    PRIMARY KEY (problem, set_name, step)) WITHOUT ROWID;
CREATE TABLE standing (
    problem INTEGER, set_name INTEGER, decision INTEGER,
    PRIMARY KEY (problem, set_name)) WITHOUT ROWID;
CREATE TABLE resamplings (
    step INTEGER, set_name INTEGER, domain INTEGER, decision INTEGER, problems INTEGER,
    PRIMARY KEY (step, set_name, domain, decision)) WITHOUT ROWID;
CREATE TABLE events (step INTEGER, kind TEXT, text TEXT);
CREATE TABLE also_in (
    problem INTEGER, set_name INTEGER, PRIMARY KEY (problem, set_name)) WITHOUT ROWID;
CREATE TABLE starts (
    problem INTEGER, set_name INTEGER, step INTEGER, decision INTEGER,
    PRIMARY KEY (problem, set_name, step)) WITHOUT ROWID;
CREATE VIEW group_rows AS
    SELECT s.stage, g.epoch, g.step, p.id AS problem, d.text AS domain, n.text AS set_name,
        w.text AS why, policy_version, has_signal, generated, reused, prefix, gradable,
        {", ".join(VERDICTS)}
    FROM groups g JOIN steps s ON s.step = g.step JOIN problems p ON p.key = g.problem
        LEFT JOIN words d ON d.key = g.domain LEFT JOIN words n ON n.key = g.set_name
        LEFT JOIN words w ON w.key = g.why;
CREATE VIEW decision_rows AS
    SELECT s.stage, s.epoch, x.step, p.id AS problem, n.text AS set_name, w.text AS decision,
        before_step
    FROM (SELECT *, 1 AS before_step FROM starts UNION ALL SELECT *, 0 FROM decisions) x
        JOIN steps s ON s.step = x.step JOIN problems p ON p.key = x.problem
        JOIN words n ON n.key = x.set_name JOIN words w ON w.key = x.decision;
"""
TABLES = re.findall(r"CREATE TABLE (\w+)", SCHEMA)
# what a disk says that takes no more
UNWRITTEN = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)


def open_file(path: Path, *, read_only: bool, wait_s: float = WAIT_S) -> sqlite3.Connection:
    """A connection to the ledger at `path`; one that is written is made if it is not there.

    Raises `RunDirectoryError` in one line if it is missing, no ledger, of another schema,
    damaged, locked or not permitted.
    """
    with clear_errors(path):
        if not read_only and not path.exists():
            _make(path)
        _check_file(path, read_only=read_only)
        db = _connect(path, read_only=read_only, wait_s=wait_s)
        try:
            _check_is_ledger(db, path)
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            if not read_only:
                db.execute("PRAGMA synchronous = FULL")  # a step is on disk before its checkpoint
                db.execute(f"PRAGMA journal_size_limit = {CACHE_KIB * 1024}")
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn what a user can mend into `RunDirectoryError`, and a full disk into `FaultError`."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) in UNWRITTEN:
            raise FaultError(f"{path}: cannot be written: {error}") from None
        reason = _reason(error)
        if reason is None:
            raise
        raise RunDirectoryError(f"{path}: {reason}") from None
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be opened: {error.strerror}") from None


def plain_commit(db: sqlite3.Connection) -> None:
    """Make a transaction durable, and nothing more."""
    db.execute("COMMIT")


@contextmanager
def transaction(
    db: sqlite3.Connection,
    path: Path,
    commit: Callable[[sqlite3.Connection], None] = plain_commit,
) -> Iterator[None]:
    """All of it or nothing. Raises `RunDirectoryError` if another process keeps the file locked."""
    with clear_errors(path):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            commit(db)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _reason(error: sqlite3.Error) -> str | None:
    """What is wrong with the file, and what to do; None if it is not the file's fault."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "locked by another process; nothing was written: try again when it is done"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_IOERR:
            return f"damaged or cut off ({error}); put back a copy of it"
        case sqlite3.SQLITE_NOTADB:
            return f"not a ledger of srpo ({error})"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY:
            return f"no permission to open or to change it ({error})"
    return None


def _make(path: Path) -> None:
    """A new, empty ledger; whole, or not there at all."""
    aside = path.with_name(path.name + ".partial")
    aside.unlink(missing_ok=True)
    with closing(sqlite3.connect(aside)) as db:
        db.executescript(f"BEGIN; {SCHEMA} COMMIT;")  # written once, not table by table
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("PRAGMA journal_mode = WAL")  # it may be read while it is written
    aside.replace(path)


def _check_file(path: Path, *, read_only: bool) -> None:
    if path.is_dir():
        raise RunDirectoryError(f"{path}: a folder, where the ledger should be a file")
    if not path.exists():
        raise RunDirectoryError(f"{path}: no ledger there; is this a run directory?")
    if not os.access(path, os.R_OK if read_only else os.R_OK | os.W_OK):
        raise RunDirectoryError(f"{path}: no permission to {'read' if read_only else 'write'} it")
    if path.stat().st_size == 0:
        raise RunDirectoryError(f"{path}: empty: cut off, or not a ledger; put back a copy of it")


def _connect(path: Path, *, read_only: bool, wait_s: float) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    waiting = path.with_name(path.name + "-wal")  # what a writer has not yet put into the file
    if read_only and not waiting.exists():
        uri += "&immutable=1"  # nobody writes; and SQLite puts no files of its own beside it
    return sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)


def _check_is_ledger(db: sqlite3.Connection, path: Path) -> None:
    """Raise `RunDirectoryError` if it is of another program or schema, or lacks a table."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    stamp = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if stamp != APPLICATION_ID:
        raise RunDirectoryError(f"{path}: a database of another program, not a ledger of srpo")
    if version > SCHEMA_VERSION:
        raise RunDirectoryError(
            f"{path}: ledger of schema {version}, but this srpo reads {SCHEMA_VERSION}: a "
            "newer srpo wrote it; update yours"
        )
    if version < SCHEMA_VERSION:
        raise RunDirectoryError(
            f"{path}: ledger of schema {version}, but this srpo reads {SCHEMA_VERSION}: read it "
            "with the srpo that wrote it (environment.json beside it says which), or train again"
        )
    missing = [name for name in TABLES if name not in tables]
    if missing:
        raise RunDirectoryError(
            f"{path}: a ledger without its tables {', '.join(missing)}: damaged, or written by "
            "another srpo; put back a copy of it, or train again"
        )
