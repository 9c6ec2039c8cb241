"""Verdicts by the scorers of other packages, which problems may name. docs/rewards.md says how.

The scorer runs in a process that is killed when it is slow, and never in the trainer's.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from srpo.errors import InfraError
from srpo.rewards.math.found import find_answer
from srpo.rewards.servers import Servers
from srpo.types import Json, Problem, Scorer, Verdict

Finding: TypeAlias = tuple[Verdict, str]  # a verdict, and why in a few words

_WORKER = "srpo.rewards.scorers.worker"
_KNOWN_TIMEOUT_S = 30.0  # a data set may read files of its package when it is first asked for
_MAX_ANSWER_CHARS = 10_000
_SLOW = "scoring took too long or too much memory"
_VERDICTS = {
    "correct": Verdict.CORRECT,
    "wrong": Verdict.WRONG,
    "bad_answer": Verdict.WRONG,
    "bad_gold": Verdict.UNGRADABLE,
    "slow_answer": Verdict.TIMED_OUT,
    "slow_gold": Verdict.UNGRADABLE,
}
_REASONS = {
    "unknown": "reasoning-gym has no data set of this name",
    "evaluates": "its scorer runs answers as Python, which no verifier may do with a model's text",
}


def answer_for_scorer(text: str, gold: Json) -> str | None:
    r"""The answer in what follows the thinking: as `find_answer`, or the own answer word for word.

    Prose is no answer, however short: it would be rewarded for its form. Of an equation it is what
    stands after the last sign, unless the own answer is an equation.

    >>> answer_for_scorer(r"It is \boxed{Friday}.", "Friday"), answer_for_scorer("4", "5")
    ('Friday', '4')
    >>> answer_for_scorer("friday", "Friday"), answer_for_scorer("It is Monday.", "Friday")
    ('friday', None)
    >>> answer_for_scorer("3 + 4 = 7.", "7"), answer_for_scorer("x = 7", "x = 7")
    ('7', 'x = 7')
    """
    bare = text.strip()
    if isinstance(gold, str) and bare and bare.casefold() == gold.strip().casefold():
        return bare
    found = find_answer(text)
    if found is None or "=" not in found or (isinstance(gold, str) and "=" in gold):
        return found
    return found.rpartition("=")[2].strip().removesuffix(".") or None


class ScorerVerifier:
    """Asks the scorers that problems name. `close` ends the process, which starts when needed."""

    def __init__(self, timeout_s: float = 2.0) -> None:
        self._timeout_s = timeout_s
        self._servers = Servers("scorer", _WORKER, size=1)  # has loaded the package: some 100 MiB

    def problem_with(self, problems: Iterable[Problem]) -> str | None:
        """What keeps the scorers of these problems from being used, as a line; None if nothing.

        Looks for the package first, and then asks it for each data set once.
        """
        named: dict[tuple[str, str], Problem] = {}
        for problem in problems:
            if problem.scorer is not None:
                named.setdefault((problem.scorer.package, problem.scorer.dataset), problem)
        for (package, dataset), problem in named.items():
            who = f"problem {problem.name or problem.id} of {problem.source}"
            if importlib.util.find_spec(package) is None:
                return (
                    f"{who} is scored by the package {package}, which is not installed; run: "
                    "pip install 'srpo[examples]'"
                )
            request = {"do": "known", "dataset": dataset, "timeout_s": _KNOWN_TIMEOUT_S}
            try:
                reply = self._servers.ask(request, _KNOWN_TIMEOUT_S).get("reply")
            except InfraError as error:
                return f"{who} cannot be scored: {error}"
            if reply != "known":
                reason = _REASONS.get(str(reply), "it cannot be looked up")
                return (
                    f"{who}: field 'scorer' names the data set {dataset!r}: {reason}; take it out"
                )
        return None

    def check(self, pairs: Sequence[tuple[Scorer, str]]) -> list[Finding]:
        """A finding for each scorer and text with the answer, in order.

        None takes longer than the time-out; it is `timed_out` then. A failure of the machinery
        is the verdict `infra_error`. Equal pairs are asked about once.
        """
        found = {pair: self._check_one(*pair) for pair in dict.fromkeys(pairs)}
        return [found[pair] for pair in pairs]

    def _check_one(self, scorer: Scorer, text: str) -> Finding:
        entry = json.loads(scorer.entry)
        answer = answer_for_scorer(text, entry.get("answer"))
        if answer is None:
            return Verdict.NO_ANSWER, "there is no boxed answer"
        if len(answer) > _MAX_ANSWER_CHARS:
            return Verdict.WRONG, f"not scored: over {_MAX_ANSWER_CHARS:,} characters"
        request = {
            "do": "score",
            "dataset": scorer.dataset,
            "entry": entry,
            "answer": answer,
            "timeout_s": self._timeout_s,
        }
        try:
            said = self._servers.ask(request, self._timeout_s)
        except InfraError as error:
            return Verdict.INFRA_ERROR, str(error)
        reply = said.get("reply")
        verdict = _VERDICTS.get(str(reply))
        if verdict is None:
            return Verdict.INFRA_ERROR, "the scorer's server is confused"
        return verdict, _SLOW if str(reply).startswith("slow") else str(said.get("note", ""))

    def close(self) -> None:
        """End the process. It would start again if asked."""
        self._servers.close()
