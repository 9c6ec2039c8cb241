"""Files in memory, by which texts reach programs and come back."""

from __future__ import annotations

import os
import sys
import tempfile

_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # no more seals, no shrinking, no growing, no writing
_F_ADD_SEALS = 1033


def sealed(data: bytes) -> int:
    """A descriptor of a file that holds the bytes, at its start; nobody can change it (Linux)."""
    fd = empty()
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
    return fd


def empty() -> int:
    """A descriptor of an empty file. How large it may get is up to its writer's limits."""
    if sys.platform == "linux":
        return os.memfd_create("srpo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def content(fd: int, max_bytes: int) -> bytes | None:
    """All that was written to the file; None if it is more than `max_bytes`."""
    size = os.fstat(fd).st_size
    if size > max_bytes:
        return None
    data = bytearray()
    while part := os.pread(fd, size - len(data), len(data)):
        data += part
    return bytes(data)


def tail(fd: int, max_bytes: int) -> str:
    """The end of the file as text."""
    size = os.fstat(fd).st_size
    data = os.pread(fd, max_bytes, max(0, size - max_bytes))
    return data.decode("utf-8", "replace").strip()
