"""The math-verify server: imports it once, and forks workers that are killed when they are slow.

Run as `python -m srpo.rewards.math.worker`; one JSON text a line on standard input and output.
A worker serves many requests, one at a time, and is replaced when it took too long, grew, or has
served enough. It forgets all that sympy remembers between two requests, so that no verdict
depends on the ones before it.

Requests, each with `timeout_s`, and their answers:

    {"do": "compare", "gold": text, "answers": [text]}   {"reply": one of `REPLIES`}
    {"do": "read", "texts": [text], "limit_s": s}        {"replies": [readable | unreadable | slow]}
    {"do": "alone", "gold": text, "text": text}          {"reply": one of `ALONE_REPLIES`}
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
from typing import Any, NoReturn

from srpo.rewards.math.compare import alone, compare, forget, readable

REPLIES = ("same", "different", "bad_gold", "bad_answer", "slow_gold", "slow_answer")
ALONE_REPLIES = ("same", "different", "no_gold", "no_answer", "slow")
_MEMORY_BYTES = 1 << 30  # address space of a worker
_MAX_GROWTH_KIB = 128 << 10  # of a worker's resident memory before it is replaced
_MAX_SERVED = 500
_MAX_CALM_S = 0.5  # a request that took longer may have left something behind
_RECURSION_LIMIT = 4000
_PR_SET_PDEATHSIG = 1
_READ_GOLD = b"."
_WARM_UP = (
    (r"\frac{1}{2}+x", "x+0.5"), (r"\sqrt{2}", r"2^{1/2}"), (r"3\sqrt{13}", r"\sqrt{117}"),
    (r"\left(3,\frac{\pi}{2}\right)", r"(3,\pi/2)"), (r"x^2+2x+1", "(x+1)^2"),
    (r"(-\infty,2)\cup[3,5]", r"[3,5]\cup(-\infty,1)"), (r"y=2x+3", r"2x-y+3=0"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&x\end{pmatrix}"),
    (r"\frac{\sin x}{\cos x}", r"\tan x"), ("1+2i", "2i-1"), (r"\log_2 x+e^{-x}", r"\ln x"),
)  # fmt: skip


class _Worker:
    """One forked process that answers requests until it is killed."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        server_pid = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            mine.close()
            _be_worker(theirs, server_pid)
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


def _be_worker(channel: socket.socket, server_pid: int) -> NoReturn:
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server_pid:  # else the server died before the line above
            null_fd = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null_fd, fd)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            sys.setrecursionlimit(_RECURSION_LIMIT)
            _serve(channel)
    finally:
        os._exit(0)  # a worker must never return into the server's loop


def _serve(channel: socket.socket) -> None:
    """Answer requests with a line each; without one, the worker cannot go on."""
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with channel.makefile("rb") as lines:
        for line in lines:
            request = json.loads(line)
            forget()
            reply = _do(request, channel)
            growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start_kib
            channel.sendall(f"{reply}\n".encode())
            if growth_kib > _MAX_GROWTH_KIB:
                return


def _do(request: dict[str, Any], channel: socket.socket) -> str:
    if request["do"] == "read":
        return "readable" if readable(request["text"]) else "unreadable"
    if request["do"] == "alone":
        return alone(request["gold"], request["text"])
    reply = "bad_gold"
    if readable(request["gold"]):
        channel.sendall(_READ_GOLD)
        for answer in request["answers"]:
            reply = compare(request["gold"], answer)
            if reply == "same":
                break
    return reply


class _Server:
    """Hands requests to a worker, and replaces it when it has to be."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, in its time."""
        if request["do"] == "read":
            return {"replies": self._read_all(request)}
        reply = self._ask(request)
        if reply in (b"", _READ_GOLD):  # out of time, memory or stack: on which of the two?
            slow = "slow_answer" if reply else "slow_gold"
            return {"reply": "slow" if request["do"] == "alone" else slow}
        return {"reply": reply.lstrip(_READ_GOLD).decode()}

    def _read_all(self, request: dict[str, Any]) -> list[str]:
        """The replies on the texts that the time is enough for."""
        deadline_s = time.monotonic() + request["limit_s"]
        replies: list[str] = []
        for text in request["texts"]:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            timeout_s = min(request["timeout_s"], left_s)
            reply = self._ask({"do": "read", "text": text, "timeout_s": timeout_s})
            if not reply and timeout_s < request["timeout_s"]:
                break  # it might have done with all of its time
            replies.append(reply.decode() or "slow")
        return replies

    def _ask(self, request: dict[str, Any]) -> bytes:
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
            self._worker = _Worker()
        return self._worker

    def retire(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


def main() -> None:
    """Answer requests until the parent closes its end."""
    logging.disable(logging.CRITICAL)
    warnings.filterwarnings("ignore")
    for gold, answer in _WARM_UP:  # fills the parsers' caches, which every worker inherits
        compare(gold, answer)
    gc.collect()
    gc.freeze()
    server = _Server()
    server.ready()
    _say({"torch": "torch" in sys.modules})
    for line in sys.stdin.buffer:
        _say(server.answer(json.loads(line)))
        server.ready()  # ahead of the next request
    server.retire()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
