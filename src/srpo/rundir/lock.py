"""One run directory, one writer: the process that trains holds RUN/lock until it ends."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srpo.errors import RunDirectoryError
from srpo.rundir import RunDirectory


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold a run directory, which is made if it is not there; others are refused meanwhile.

    The system lets go of it with the process, however that ends. Raises `RunDirectoryError`,
    naming the process that holds it, or if the folder cannot be written.
    """
    path = RunDirectory(root).lock
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise RunDirectoryError(f"{root}: cannot be written: {error.strerror}") from None
    with file:
        if not take_lock(file.fileno(), path):
            raise RunDirectoryError(
                f"{root}: another process is training it ({_holder(path)}); wait for it, or stop it"
            )
        file.truncate(0)
        file.write(json.dumps(_me()) + "\n")
        file.flush()
        yield


def take_lock(descriptor: int, path: Path) -> bool:
    """Lock the file that was opened from `path`; False if another process holds it.

    Raises `RunDirectoryError` where the file system cannot lock files at all.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # it names no file of its own
        raise RunDirectoryError(
            f"{path}: cannot be locked: {error.strerror}; choose a folder on a file system that "
            "has file locks (flock)"
        ) from None
    return True


def _me() -> dict[str, object]:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"process": os.getpid(), "host": platform.node(), "since": since}


def _holder(path: Path) -> str:
    """Who wrote the lock, as far as it can be told."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said which"
