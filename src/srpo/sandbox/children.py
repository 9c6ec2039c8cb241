"""Forked children under a deadline, for servers that fork one process per piece of work.

Only the standard library. The server is single-threaded, talks to its parent over descriptors
0 and 1, and leaves as soon as the parent is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

CONTROL_FD = 0  # the pipe from the parent; it hangs up when the parent ends
_PR_SET_PDEATHSIG = 1
_FIRST_NAP_S = 0.00005
_LONGEST_NAP_S = 0.005
_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """One forked process, leader of its own session, and the pipe it writes to."""

    def __init__(self, pid: int, pipe_fd: int) -> None:
        self.pid = pid
        self.pipe_fd = pipe_fd
        self._poll = select.poll()
        self._poll.register(pipe_fd, select.POLLIN)
        self._poll.register(CONTROL_FD, 0)  # only its hang-up

    def read(self, deadline_s: float) -> bytes | None:
        """The next bytes from the child; b"" at the end, None once the deadline has passed.

        `deadline_s` is a time of `time.monotonic`. If the parent of this server is gone, the
        child is killed and SystemExit ends the server.
        """
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return None
            ready = [fd for fd, _ in self._poll.poll(left_s * 1000)]
            if CONTROL_FD in ready:
                self.end(0.0)
                sys.exit(0)
            if ready:
                return os.read(self.pipe_fd, 1 << 16)

    def end(self, deadline_s: float) -> int | None:
        """Wait until the deadline, kill the whole session, and collect the child.

        Returns the exit code (negative: the signal that ended it), or None if it had to be
        killed. Must be called exactly once for every child.
        """
        os.close(self.pipe_fd)
        exited = self._wait_until(deadline_s)
        # Before the child is collected its id cannot be taken by another process.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status) if exited else None

    def _wait_until(self, deadline_s: float) -> bool:
        nap_s = _FIRST_NAP_S
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(nap_s)
            nap_s = min(2 * nap_s, _LONGEST_NAP_S)
        return True


def start_child(body: Callable[[int], None]) -> Child:
    """Fork a child that runs `body(write_fd)` and then exits with 0, or with 70 if it raises.

    The child gets its own session and dies with the server. `body` runs on top of a copy of
    the server: it must drop what it should not keep.
    """
    read_fd, write_fd = os.pipe()
    server_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(body, read_fd, write_fd, server_pid)
    os.close(write_fd)
    return Child(pid, read_fd)


def _be_child(
    body: Callable[[int], None], read_fd: int, write_fd: int, server_pid: int
) -> NoReturn:
    code = 70
    try:
        os.setsid()
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server_pid:  # else the server died before the line above
            os.close(read_fd)
            body(write_fd)
            code = 0
    except BaseException:  # noqa: BLE001 - a child must never return into the server's loop
        code = 70
    finally:
        os._exit(code)
