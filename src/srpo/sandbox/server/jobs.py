"""One program from the request to the reply: fork, confine, watch, kill, collect.

A request is a JSON object with `role`, `timeout_s`, `memory_mib` and `file_bytes`; with it come
descriptors: the payload (which only the child reads, so that the server never holds a program),
then what becomes 0, 1, 2, ... of the child. The reply has `started`, `exit` (negative: a
signal), `killed` ("", "timeout", "asked" or "scratch") and `seconds`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from srpo.sandbox.server.isolation import Isolation

Role = Callable[[bytes], None]

_STARTED = b"+"
_LIFTED_FD, _MAX_FD = 40, 1 << 16
_PATIENCE_MS, _NAP_MS = 50, 2
_MAX_ERROR_BYTES = 300
_LONG_PAYLOAD_BYTES = 1 << 20


class Runner:
    """Runs one program after another, each in a child of its own."""

    def __init__(self, isolation: Isolation, control: socket.socket) -> None:
        self._isolation = isolation
        self._control = control
        self.spoiled = False  # the folder of programs is not what it should be
        self._poll = select.poll()
        self._poll.register(control.fileno(), select.POLLIN)

    def run(self, request: dict[str, Any], fds: Sequence[int], role: Role) -> dict[str, Any]:
        """Run a program to its end; the reply. Raises OSError if it cannot be started.

        SystemExit if the parent is gone.
        """
        start_s = time.monotonic()
        deadline_s = start_s + request["timeout_s"]
        said_fd, write_fd = os.pipe()
        try:
            memory_mib, file_bytes = request["memory_mib"], request["file_bytes"]
            pid = self._isolation.fork(memory_mib=memory_mib, file_bytes=file_bytes)
            if pid == 0:
                _be_child(self._isolation, fds, write_fd, role)
            # As little as can be from here until the child has ended: each page of memory that
            # both touch has to be copied.
            killed = self._wait(pid, deadline_s)
            self._isolation.end(pid)  # also what it may have started
            _, status = os.waitpid(pid, 0)
        finally:
            os.close(write_fd)
            said = os.read(said_fd, _MAX_ERROR_BYTES)
            os.close(said_fd)
        self._clean()
        return {
            "started": said == _STARTED,
            "error": said.removeprefix(_STARTED).decode("utf-8", "replace"),
            "exit": os.waitstatus_to_exitcode(status),
            "killed": killed,
            "seconds": time.monotonic() - start_s,
        }

    def _clean(self) -> None:
        """Leave nothing for the next program; a folder that cannot be emptied is the last one's.

        It is no reason to take back what the program came to.
        """
        try:
            self._isolation.clean()
        except OSError:
            self.spoiled = True

    def _wait(self, pid: int, deadline_s: float) -> str:
        """Why the child has to be killed; "" if it ended by itself."""
        if not hasattr(os, "pidfd_open"):
            return self._nap(pid, deadline_s)
        pid_fd = os.pidfd_open(pid)
        self._poll.register(pid_fd, select.POLLIN)
        try:
            while True:
                left_ms = (deadline_s - time.monotonic()) * 1000
                if left_ms <= 0:
                    return "timeout"
                ready = self._poll.poll(min(left_ms, _PATIENCE_MS))
                if ready:
                    return "" if any(fd == pid_fd for fd, _ in ready) else self._asked(pid)
                if self._isolation.too_much_left():
                    return "scratch"
        finally:
            self._poll.unregister(pid_fd)
            os.close(pid_fd)

    def _nap(self, pid: int, deadline_s: float) -> str:
        """The same without descriptors of processes (macOS): look every other millisecond."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while time.monotonic() < deadline_s:
            if os.waitid(os.P_PID, pid, how) is not None:
                return ""
            if self._poll.poll(_NAP_MS):
                return self._asked(pid)
        return "timeout"

    def _asked(self, pid: int) -> str:
        """The parent wants the program ended, or is gone itself."""
        if self._control.recv(16):
            return "asked"
        self._isolation.end(pid)
        os.waitpid(pid, 0)
        self._isolation.clean()
        os._exit(0)


def _be_child(isolation: Isolation, fds: Sequence[int], said_fd: int, role: Role) -> NoReturn:
    """Become the program's process. What goes wrong before it starts is told to the server.

    But a text that fills all of its memory is the program's own doing, no failure of ours.
    """
    too_long = False
    try:
        too_long = os.fstat(fds[0]).st_size > _LONG_PAYLOAD_BYTES
        if isolation.plan.strength == "none":
            os.setsid()  # so that what it starts can be killed with it
        payload = _read(fds[0])
        said_fd = _arrange([*fds[1:], said_fd])
        isolation.confine()
    except BaseException as error:  # noqa: BLE001 - a child must never return to the loop
        own_fault = too_long and isinstance(error, MemoryError)
        told = f"{type(error).__name__}: {error}".encode()[:_MAX_ERROR_BYTES]
        with contextlib.suppress(OSError):
            os.write(said_fd, _STARTED if own_fault else told)
        os._exit(71 if own_fault else 70)
    try:
        os.write(said_fd, _STARTED)
        os.close(said_fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        role(payload)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - as above; the program is to blame
        os._exit(71)


def _read(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _arrange(fds: Sequence[int]) -> int:
    """Make the descriptors 0, 1, 2, ... and close all others; the last one's new number."""
    # First far above all targets, so that no copy overwrites one that is still needed.
    lifted = [os.dup2(fd, _LIFTED_FD + i) for i, fd in enumerate(fds)]
    for target, fd in enumerate(lifted):
        os.dup2(fd, target, inheritable=target < 3)
    os.closerange(len(fds), _MAX_FD)
    return len(fds) - 1
