"""The server of other packages' scorers: loads reasoning-gym once, and forks workers that score.

Run as `python -m srpo.rewards.scorers.worker`; one JSON text a line on standard input and output.

Requests, each with `timeout_s`, and their answers:

    {"do": "known", "dataset": text}                     {"reply": known | unknown | evaluates}
    {"do": "score", "dataset", "entry", "answer": text}  {"reply": one of `REPLIES`, "note": text}
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from srpo.rewards.forks import Forks, serve

REPLIES = ("correct", "wrong", "bad_answer", "bad_gold", "slow_gold", "slow_answer")
CORRECT_FROM = 1 - 1e-9  # of a score from 0 to 1
_MEMORY_BYTES = 4 << 30  # address space of a worker: the package's libraries map a lot of it
_READ_GOLD = b"."
# a policy must not write Python that its own verifier runs; sympy's parser is Python's eval
_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify)\s*\(")


@cache
def _scorer(dataset: str) -> Any:
    """The data set of that name with its default options: all that its `score_answer` needs."""
    return importlib.import_module("reasoning_gym").create_dataset(dataset, size=1, seed=0)


@cache
def known(dataset: str) -> str:
    """Whether the installed package has this data set, with a scorer that only reads answers."""
    try:
        kinds = type(_scorer(dataset)).__mro__
        own = [kind for kind in kinds if kind.__module__.startswith("reasoning_gym.")]
        source = "".join(inspect.getsource(kind) for kind in own)
    except Exception:  # noqa: BLE001 - a border: another package's code
        return "unknown"
    return "evaluates" if _EVALUATES.search(source) else "known"


def _score(request: dict[str, Any], say: Callable[[bytes], None]) -> str:
    """Score the entry's own answer, then the given one, so that each has its own failures."""
    if request["do"] == "known":
        return known(request["dataset"])
    entry = request["entry"]
    if known(request["dataset"]) != "known":
        return "bad_gold no such scorer"
    gold = entry.get("answer")
    try:
        scorer = _scorer(request["dataset"])
        # some puzzles have many solutions and name none
        if gold is not None and not scorer.score_answer(gold, entry) >= CORRECT_FROM:
            return "bad_gold the scorer does not accept the entry's own answer"
    except Exception as error:  # noqa: BLE001 - a border: another package's code
        return f"bad_gold the scorer fails on the entry's own answer ({type(error).__name__})"
    say(_READ_GOLD)
    try:
        score = float(scorer.score_answer(request["answer"], entry))
    except MemoryError:
        raise  # ends the worker: the answer took too much
    except Exception as error:  # noqa: BLE001 - a border: another package's code
        # without an own answer that passed, the entry may be what is wrong
        whose = "bad_answer" if gold is not None else "bad_gold"
        return f"{whose} the scorer cannot read the answer ({type(error).__name__})"
    return "correct" if score >= CORRECT_FROM else f"wrong scored {score:.3g}"


class _Server:
    """Hands requests to a worker."""

    def __init__(self) -> None:
        self.forks = Forks(_score, _MEMORY_BYTES)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, in its time."""
        reply = self.forks.ask(request)
        if reply in (b"", _READ_GOLD):  # out of time, memory or stack: on which of the two?
            return {"reply": "slow_answer" if reply else "slow_gold", "note": ""}
        word, _, note = reply.removeprefix(_READ_GOLD).decode().partition(" ")
        return {"reply": word, "note": note}


def main() -> None:
    """Answer requests until the parent closes its end."""
    server = _Server()
    serve(lambda: importlib.import_module("reasoning_gym"), server.answer, server.forks)


if __name__ == "__main__":
    main()
