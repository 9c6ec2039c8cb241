"""Emptying a folder that a hostile program filled. Only the standard library."""

from __future__ import annotations

import contextlib
import os


def empty_folder(folder: str) -> None:
    """Remove all that is in a folder. No recursion, no long paths: depth does not matter."""
    while True:
        entries = list(os.scandir(folder))
        if not entries:
            return
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in os.scandir(entry.path):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # a folder is only moved by who may write it
                    # A name that nobody could have foreseen, and so taken.
                    os.rename(inner.path, f"{folder}/.{os.urandom(16).hex()}")
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)


def holds_more(folder: str, max_entries: int, max_bytes: int) -> bool:
    """Whether there is more than that in a folder. Looks at no more entries than allowed."""
    waiting, entries, size = [folder], 0, 0
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as inside:
            for entry in inside:
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                if entries > max_entries or size > max_bytes:
                    return True
    return False
