"""The math-verify server: imports it once, and forks workers that are killed when they are slow.

Run as `python -m srpo.rewards.math.worker`; one JSON text a line on standard input and output.
A worker (`srpo.rewards.forks`) forgets all that sympy remembers between two requests, so that no
verdict depends on the ones before it.

Requests, each with `timeout_s`, and their answers:

    {"do": "compare", "gold": text, "answers": [text]}   {"reply": one of `REPLIES`}
    {"do": "read", "texts": [text], "limit_s": s}        {"replies": [readable | unreadable | slow]}
    {"do": "alone", "gold": text, "text": text}          {"reply": one of `ALONE_REPLIES`}
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from srpo.rewards.forks import Forks, serve
from srpo.rewards.math.compare import alone, compare, forget, readable

REPLIES = ("same", "different", "bad_gold", "bad_answer", "slow_gold", "slow_answer")
ALONE_REPLIES = ("same", "different", "no_gold", "no_answer", "slow")
_MEMORY_BYTES = 1 << 30  # address space of a worker
_READ_GOLD = b"."
_WARM_UP = (
    (r"\frac{1}{2}+x", "x+0.5"), (r"\sqrt{2}", r"2^{1/2}"), (r"3\sqrt{13}", r"\sqrt{117}"),
    (r"\left(3,\frac{\pi}{2}\right)", r"(3,\pi/2)"), (r"x^2+2x+1", "(x+1)^2"),
    (r"(-\infty,2)\cup[3,5]", r"[3,5]\cup(-\infty,1)"), (r"y=2x+3", r"2x-y+3=0"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&x\end{pmatrix}"),
    (r"\frac{\sin x}{\cos x}", r"\tan x"), ("1+2i", "2i-1"), (r"\log_2 x+e^{-x}", r"\ln x"),
)  # fmt: skip


def _do(request: dict[str, Any], say: Callable[[bytes], None]) -> str:
    """The reply to one request, as if it were the first."""
    forget()
    if request["do"] == "read":
        return "readable" if readable(request["text"]) else "unreadable"
    if request["do"] == "alone":
        return alone(request["gold"], request["text"])
    reply = "bad_gold"
    if readable(request["gold"]):
        say(_READ_GOLD)
        for answer in request["answers"]:
            reply = compare(request["gold"], answer)
            if reply == "same":
                break
    return reply


class _Server:
    """Hands requests to a worker."""

    def __init__(self) -> None:
        self.forks = Forks(_do, _MEMORY_BYTES)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, in its time."""
        if request["do"] == "read":
            return {"replies": self._read_all(request)}
        reply = self.forks.ask(request)
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
            reply = self.forks.ask({"do": "read", "text": text, "timeout_s": timeout_s})
            if not reply and timeout_s < request["timeout_s"]:
                break  # it might have done with all of its time
            replies.append(reply.decode() or "slow")
        return replies


def _warm_up() -> None:
    """Fill the parsers' caches."""
    for gold, answer in _WARM_UP:
        compare(gold, answer)


def main() -> None:
    """Answer requests until the parent closes its end."""
    server = _Server()
    serve(_warm_up, server.answer, server.forks)


if __name__ == "__main__":
    main()
