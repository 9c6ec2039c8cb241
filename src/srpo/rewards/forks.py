"""Forked workers that answer one request at a time, and are killed when they are slow.

A server process loads what the work needs once, and forks. A worker serves many requests, and is
replaced when it took too long, grew, or has served enough. Requests are JSON objects with
`timeout_s`, answers are lines of text.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

# (request, say): the last line of an answer; `say` sends a part of it ahead
Work: TypeAlias = Callable[[dict[str, Any], Callable[[bytes], None]], str]

_MAX_GROWTH_KIB = 128 << 10  # of a worker's resident memory before it is replaced
_MAX_SERVED = 500
_MAX_CALM_S = 0.5  # a request that took longer may have left something behind
_RECURSION_LIMIT = 4000
_PR_SET_PDEATHSIG = 1


class Forks:
    """Hands requests to a worker, and replaces it when it has to be.

    `work` answers a request in the worker; `memory_bytes` is the worker's address space.
    """

    def __init__(self, work: Work, memory_bytes: int) -> None:
        self._work = work
        self._memory_bytes = memory_bytes
        self._worker: _Worker | None = None

    def ask(self, request: dict[str, Any]) -> bytes:
        """The reply without the end of its line; what came of it if it did not come in time."""
        start_s = time.monotonic()
        for _ in range(2):
            worker = self.ready()
            written = worker.ask(request, start_s + request["timeout_s"])
            took_s = time.monotonic() - start_s
            finished = written.endswith(b"\n")
            if not finished or took_s > _MAX_CALM_S or worker.num_served >= _MAX_SERVED:
                self.retire()
            if finished:
                return written[:-1]
            if took_s > _MAX_CALM_S:
                break  # else it may have died of what came before, or been killed
        return written

    def ready(self) -> _Worker:
        """The worker, forked if there is none."""
        if self._worker is None:
            self._worker = _Worker(self._work, self._memory_bytes)
        return self._worker

    def retire(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class _Worker:
    """One forked process that answers requests until it is killed."""

    def __init__(self, work: Work, memory_bytes: int) -> None:
        mine, theirs = socket.socketpair()
        server_pid = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            mine.close()
            _be_worker(theirs, server_pid, work, memory_bytes)
        theirs.close()
        self.channel = mine
        self.num_served = 0

    def ask(self, request: dict[str, Any], deadline_s: float) -> bytes:
        """All that the worker writes up to the end of a line, or up to its end or the deadline."""
        written = b""
        with contextlib.suppress(OSError):
            self.channel.sendall(json.dumps(request).encode() + b"\n")
            poll = select.poll()
            poll.register(self.channel.fileno(), select.POLLIN)
            while not written.endswith(b"\n"):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not poll.poll(left_s * 1000):
                    break
                data = self.channel.recv(4096)
                if not data:
                    break
                written += data
        self.num_served += 1
        return written

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.channel.close()


def _be_worker(channel: socket.socket, server_pid: int, work: Work, memory_bytes: int) -> NoReturn:
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server_pid:  # else the server died before the line above
            null_fd = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null_fd, fd)
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            sys.setrecursionlimit(_RECURSION_LIMIT)
            _serve(channel, work)
    finally:
        os._exit(0)  # a worker must never return into the server's loop


def _serve(channel: socket.socket, work: Work) -> None:
    """Answer requests with a line each; without one, the worker cannot go on."""
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with channel.makefile("rb") as lines:
        for line in lines:
            reply = work(json.loads(line), channel.sendall)
            growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_kib
            channel.sendall(f"{reply}\n".encode())
            if growth_kib > _MAX_GROWTH_KIB:
                return


def serve(
    load: Callable[[], object], answer: Callable[[dict[str, Any]], dict[str, Any]], forks: Forks
) -> None:
    """Answer the requests on standard input, a JSON line each, until the parent closes its end.

    First `load` what the work needs, without a word from the packages; every worker inherits it.
    """
    logging.disable(logging.CRITICAL)
    warnings.filterwarnings("ignore")
    load()
    gc.collect()
    gc.freeze()
    forks.ready()
    _say({"torch": "torch" in sys.modules})
    for line in sys.stdin.buffer:
        _say(answer(json.loads(line)))
        forks.ready()  # ahead of the next request
    forks.retire()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()
