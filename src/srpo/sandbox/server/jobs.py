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


class Job:
    """A child that runs one program."""

    def __init__(
        self, isolation: Isolation, request: dict[str, Any], fds: Sequence[int], role: Role
    ) -> None:
        self.isolation = isolation
        self.start_s = time.monotonic()
        self.deadline_s = self.start_s + request["timeout_s"]
        self._said_fd, write_fd = os.pipe()
        try:
            self.pid = isolation.fork(
                memory_mib=request["memory_mib"], file_bytes=request["file_bytes"]
            )
        except OSError:
            os.close(self._said_fd)
            os.close(write_fd)
            raise
        if self.pid == 0:
            _be_child(isolation, fds, write_fd, role)
        os.close(write_fd)

    def watch(self, control: socket.socket) -> dict[str, Any]:
        """Wait for its end, or end it; the reply. SystemExit if the parent is gone."""
        killed = self._wait(control)
        self.isolation.end(self.pid)  # also what it may have started
        _, status = os.waitpid(self.pid, 0)
        said = os.read(self._said_fd, _MAX_ERROR_BYTES)
        os.close(self._said_fd)
        self.isolation.clean()
        return {
            "started": said == _STARTED,
            "error": said.removeprefix(_STARTED).decode("utf-8", "replace"),
            "exit": os.waitstatus_to_exitcode(status),
            "killed": killed,
            "seconds": time.monotonic() - self.start_s,
        }

    def _wait(self, control: socket.socket) -> str:
        """Why it has to be killed; "" if it ended by itself."""
        poll = select.poll()
        poll.register(control.fileno(), select.POLLIN)
        pid_fd = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        if pid_fd >= 0:
            poll.register(pid_fd, select.POLLIN)
        try:
            while True:
                left_ms = (self.deadline_s - time.monotonic()) * 1000
                if left_ms <= 0:
                    return "timeout"
                ready = [
                    fd
                    for fd, _ in poll.poll(min(left_ms, _PATIENCE_MS if pid_fd >= 0 else _NAP_MS))
                ]
                if pid_fd in ready or (pid_fd < 0 and self._has_ended()):
                    return ""
                if control.fileno() in ready:
                    self._leave_if_alone(control)
                    return "asked"
                if not ready and self.isolation.too_much_left():
                    return "scratch"
        finally:
            if pid_fd >= 0:
                os.close(pid_fd)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _leave_if_alone(self, control: socket.socket) -> None:
        if control.recv(16):
            return
        self.isolation.end(self.pid)
        os._exit(0)


def _be_child(isolation: Isolation, fds: Sequence[int], said_fd: int, role: Role) -> NoReturn:
    """Become the program's process. What goes wrong before it starts is told to the server."""
    try:
        if isolation.plan.strength == "none":
            os.setsid()  # so that what it starts can be killed with it
        payload = _read(fds[0])
        said_fd = _arrange([*fds[1:], said_fd])
        isolation.confine()
    except BaseException as error:  # noqa: BLE001 - a child must never return to the loop
        with contextlib.suppress(OSError):
            os.write(said_fd, f"{type(error).__name__}: {error}".encode()[:_MAX_ERROR_BYTES])
        os._exit(70)
    try:
        os.write(said_fd, _STARTED)
        os.close(said_fd)
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
        os.dup2(fd, target, inheritable=False)
    os.closerange(len(fds), _MAX_FD)
    return len(fds) - 1
