"""Resource limits of a program's process, and giving up privileges. Only the standard library."""

from __future__ import annotations

import os
import resource
import sys

from srpo.sandbox.server import kernel

_MIB = 1 << 20
_MIN_FILE_BYTES = _MIB
_MAX_OPEN_FILES = 64
_MAX_PROCESSES = 64  # and threads
_STACK_BYTES = 64 * _MIB


def lower(which: int, wanted: int) -> None:
    """Lower a limit for good, as far as it is not lower already."""
    _, hard = resource.getrlimit(which)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (value, value))


def limit_server() -> None:
    """Limits that are the same for all programs, set once by the server."""
    lower(resource.RLIMIT_CORE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(hard, _STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))  # for deep recursion in C
    if sys.platform == "linux":
        lower(resource.RLIMIT_MSGQUEUE, 0)
        lower(resource.RLIMIT_MEMLOCK, 0)


class ProgramLimits:
    """The limits of programs, set on the server, whose children have them from the start.

    They are soft ones, so that the next program can have others; a program cannot raise them, as
    the filter of system calls refuses it. `count_processes` where its user has no others.
    """

    def __init__(self, *, count_processes: bool) -> None:
        _set_soft(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
        if count_processes:
            _set_soft(resource.RLIMIT_NPROC, _MAX_PROCESSES)
        self._memory_mib = self._file_bytes = -1

    def set(self, *, memory_mib: int, file_bytes: int) -> None:
        """Set what differs from the last program's."""
        if memory_mib != self._memory_mib:
            _set_soft(resource.RLIMIT_AS, memory_mib * _MIB)
            self._memory_mib = memory_mib
        if file_bytes != self._file_bytes:
            _set_soft(resource.RLIMIT_FSIZE, max(file_bytes, _MIN_FILE_BYTES))
            self._file_bytes = file_bytes


def _set_soft(which: int, wanted: int) -> None:
    _, hard = resource.getrlimit(which)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (value, hard))


def become(user_id: int | None, *, keep_reading: bool = False) -> None:
    """Take another user's place (None: stay), without any capability. Raises OSError.

    `keep_reading` keeps the one that passes the old owner's private folders, for a Python that
    lies in one: only where Landlock says what can be read.
    """
    if user_id is not None:
        if keep_reading:
            kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(user_id, user_id, user_id)
        os.setresuid(user_id, user_id, user_id)
    if sys.platform == "linux":
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if kernel.machine() >= 0:
            kernel.drop_capabilities(kernel.CAP_DAC_READ_SEARCH if keep_reading else 0)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # its memory is no business of its equals
