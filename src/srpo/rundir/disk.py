"""Every write of a run goes through here: on disk when the call returns, or one clear error.

This is also the place where a test lets a disk be full, read-only, or slow:
`train(machine=Machine(disk=...))`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srpo.errors import FaultError

FULL = (errno.ENOSPC, errno.EDQUOT)
# libraries that write files themselves hide the number of the error in a text
FULL_TEXTS = ("No space left", "disk is full", "Disk quota exceeded")


class Disk:
    """The file system, as a run writes to it. `FaultError` if it cannot be done."""

    def append(self, path: Path, text: str) -> None:
        """Add whole lines to a file; if that fails half of the way, none of them stays."""
        with reported(path):
            size = path.stat().st_size if path.exists() else 0
            try:
                with path.open("a", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):
                    os.truncate(path, size)
                raise

    def write(self, path: Path, text: str) -> None:
        """A whole file in place of what was there, or all as it was."""
        aside = path.with_name(path.name + ".partial")
        with reported(path):
            try:
                with aside.open("w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    aside.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def make_folder(self, path: Path) -> None:
        """A folder, if it is not there, in one that is: what was removed is not made anew."""
        with reported(path):
            path.mkdir(exist_ok=True)

    @contextmanager
    def filled(self, folder: Path) -> Iterator[None]:
        """Files that a library writes into a new, empty `folder`; if that fails, none stays."""
        with reported(folder):
            try:
                _remove(folder)
                folder.mkdir()
                yield
            except BaseException:
                with contextlib.suppress(OSError):
                    _remove(folder)
                raise

    def commit(self, path: Path, db: sqlite3.Connection) -> None:
        """What was written to the database at `path` since its transaction began is durable."""
        with reported(path):
            if not path.exists():  # it could be written for ever, and nobody would find it again
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            db.execute("COMMIT")

    def sync(self, path: Path) -> None:
        """A file's or folder's own bytes are on disk when this returns."""
        with reported(path):
            _sync(path)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name, in a folder that exists; on any disk."""
        with reported(new):
            try:
                old.rename(new)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._move_over(old, new)
            _sync(new.parent)

    def _move_over(self, old: Path, new: Path) -> None:
        """As a rename to another file system: a copy, whole or not there, then no original."""
        aside = new.with_name(new.name + ".partial")
        _remove(aside)
        if old.is_dir():
            shutil.copytree(old, aside)
        else:
            shutil.copy2(old, aside)
        for path in (aside, *aside.rglob("*")):
            _sync(path)
        aside.rename(new)
        _remove(old)

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, if it is there."""
        with reported(path):
            _remove(path)


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that names the path.

    What already names its own, and what has nothing to do with files, stays as it is.
    """
    try:
        yield
    except FaultError:
        raise
    except Exception as error:
        reason = fault_of(error)
        if reason is None:
            raise
        raise FaultError(f"{path}: cannot be written: {reason}") from error


def fault_of(error: Exception) -> str | None:
    """What is wrong with the disk, in words; None if the error is of another kind."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return os.strerror(errno.ENOSPC) if is_full(error) else None


def is_full(error: Exception) -> bool:
    """Whether a write failed for want of space, whichever library made it."""
    number = getattr(error, "errno", None)
    return number in FULL or any(text in str(error) for text in FULL_TEXTS)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
