"""Verdicts on math answers. docs/rewards.md says what counts as right, and why."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TypeAlias

from srpo.errors import InfraError
from srpo.rewards.answers import (
    bare_gold,
    bare_number,
    gold_problem,
    last_boxed,
    quick_comparison,
    too_heavy,
)
from srpo.sandbox.workers import WorkerPool, clean_env
from srpo.types import Verdict

__all__ = ["MathVerifier", "gold_problem", "last_boxed"]

Finding: TypeAlias = tuple[Verdict, str]  # a verdict, and why in a few words
_MAX_SERVERS = 4  # each has loaded sympy: some 100 MiB
_SLACK_S = 10.0
_COMMAND = (sys.executable, "-P", "-m", "srpo.rewards.math_worker")

_FINDINGS: dict[object, Finding] = {
    "same": (Verdict.CORRECT, ""),
    "different": (Verdict.WRONG, ""),
    "bad_answer": (Verdict.WRONG, "the answer cannot be read as mathematics"),
    "bad_gold": (Verdict.UNGRADABLE, "the gold answer cannot be read as mathematics"),
    "slow_answer": (Verdict.TIMED_OUT, "comparing took too long or too much memory"),
    "slow_gold": (Verdict.UNGRADABLE, "reading the gold answer takes too long"),
}


def find_answer(text: str) -> str | None:
    r"""The answer in what follows the thinking: its last box, or a bare number; else None.

    >>> find_answer(r"So it is \boxed{4}."), find_answer("4"), find_answer("It is 4.")
    ('4', '4', None)
    """
    boxed = last_boxed(text)
    return (boxed or None) if boxed is not None else bare_number(text)


class MathVerifier:
    """Compares answers with gold answers; slow comparisons run in processes that are killed.

    No process is started before the first comparison that needs one.
    """

    def __init__(self, timeout_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        size = max(1, min(_MAX_SERVERS, os.cpu_count() or 1))
        # Server processes find srpo and math-verify where this process does.
        env = {**clean_env("PYTHONPATH", "VIRTUAL_ENV"), "PYTHONHASHSEED": "0"}
        self._pool = WorkerPool(size, _COMMAND, env)

    def check(self, pairs: Sequence[tuple[str | None, str]]) -> list[Finding]:
        """A finding for each pair of gold answer and text of the answer, in order."""
        findings = {pair: self._decide(*pair) for pair in pairs}
        open_pairs = [pair for pair, finding in findings.items() if finding is None]
        answered = self._pool.map(self._ask, open_pairs) if open_pairs else []
        decided = {pair: finding for pair, finding in findings.items() if finding is not None}
        decided.update(zip(open_pairs, answered, strict=True))
        return [decided[pair] for pair in pairs]

    def _decide(self, gold: str | None, text: str) -> Finding | None:
        """The finding if it takes no parser, else None."""
        problem = gold_problem(gold)
        if gold is None or problem:
            return Verdict.UNGRADABLE, problem or ""
        answer = find_answer(text)
        if answer is None:
            return Verdict.NO_ANSWER, "there is no boxed answer"
        if reason := too_heavy(answer):
            return Verdict.WRONG, f"not compared: {reason}"
        same = quick_comparison(bare_gold(gold), answer)
        if same is None:
            return None
        return (Verdict.CORRECT, "") if same else (Verdict.WRONG, "")

    def _ask(self, pair: tuple[str | None, str]) -> Finding:
        gold, answer = bare_gold(pair[0] or ""), find_answer(pair[1])
        request = {"gold": gold, "answer": answer, "timeout_s": self._timeout_s}
        try:
            reply = self._pool.ask(request, self._timeout_s + _SLACK_S)
        except InfraError as error:
            return Verdict.INFRA_ERROR, str(error)
        return _FINDINGS.get(reply, (Verdict.INFRA_ERROR, "the math server is confused"))

    def close(self) -> None:
        """End the server processes."""
        self._pool.close()
