"""Verdicts on math answers. docs/rewards.md says what counts as right, and why."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeAlias, TypeVar

from srpo.errors import InfraError
from srpo.rewards.math.answers import (
    bare_gold,
    find_answer,
    find_stated_answer,
    gold_problem,
    joined_boxes,
    last_boxed,
    quick_comparison,
    reads_quickly,
    same_text,
    too_heavy,
)
from srpo.rewards.servers import Servers
from srpo.types import Verdict

__all__ = ["Finding", "MathVerifier", "find_answer", "find_stated_answer", "gold_problem",
           "last_boxed"]  # fmt: skip

Finding: TypeAlias = tuple[Verdict, str]  # a verdict, and why in a few words
_Pair: TypeAlias = tuple[str | None, str]  # gold answer, and the text that holds the answer
_Question: TypeAlias = tuple[str, list[str], float]  # gold, readings of the answer, seconds left
_LEAST_S = 0.05  # that a worker gets, however long finding the answer took
_WORKER = "srpo.rewards.math.worker"
_MAX_SERVERS = 4  # each has loaded sympy: some 100 MiB
_GOLDS_AT_ONCE = 50

_SLOW = "comparing took too long or too much memory"
_UNREADABLE = "the gold answer cannot be read as mathematics"
_FINDINGS: dict[object, Finding] = {
    "same": (Verdict.CORRECT, ""),
    "different": (Verdict.WRONG, ""),
    "bad_answer": (Verdict.WRONG, "the answer cannot be read as mathematics"),
    "bad_gold": (Verdict.UNGRADABLE, _UNREADABLE),
    "slow_answer": (Verdict.TIMED_OUT, _SLOW),
    "slow_gold": (Verdict.UNGRADABLE, "reading the gold answer takes too long"),
}
_ALONE: dict[object, Finding] = {
    "same": (Verdict.CORRECT, "math-verify finds them the same"),
    "different": (Verdict.WRONG, "math-verify finds them different"),
    "no_gold": (Verdict.UNGRADABLE, "math-verify cannot read the gold answer"),
    "no_answer": (Verdict.NO_ANSWER, "math-verify finds no answer in the text"),
    "slow": (Verdict.TIMED_OUT, "math-verify took too long or too much memory"),
}

Item = TypeVar("Item")
Result = TypeVar("Result")


class MathVerifier:
    """Compares answers with gold answers; slow comparisons run in processes that are killed.

    With `stated`, an answer may be stated in prose (`find_stated_answer`); without, it stands
    in a box or alone. `workers` processes load math-verify (0: as many as there are cores, at
    most four); none is started before the first comparison that needs one, or `start`. All
    methods may be called from any thread, also at the same time. A context manager.
    """

    def __init__(self, timeout_s: float = 2.0, *, stated: bool = False, workers: int = 0) -> None:
        self._timeout_s = timeout_s
        self._find = find_stated_answer if stated else find_answer
        size = workers or max(1, min(_MAX_SERVERS, os.cpu_count() or 1))
        self._servers = Servers("math", _WORKER, size)

    def start(self) -> None:
        """Start the processes now, so that no answer waits for it. Raises InfraError."""
        self._servers.start()

    def check(self, pairs: Sequence[_Pair]) -> list[Finding]:
        """A finding for each pair of gold answer and text with the answer, in order.

        No comparison takes longer than the time-out; it is `timed_out` then. A failure of the
        machinery is the verdict `infra_error`.
        """
        decided: dict[_Pair, Finding] = {}
        open_pairs: dict[_Pair, _Question] = {}
        for pair in dict.fromkeys(pairs):
            start_s = time.monotonic()
            found = self._decide(*pair)
            if isinstance(found, tuple):
                decided[pair] = found
            else:
                left_s = self._timeout_s - (time.monotonic() - start_s)
                open_pairs[pair] = (bare_gold(pair[0] or ""), found, max(left_s, _LEAST_S))
        questions = list(open_pairs.values())
        decided.update(zip(open_pairs, self._side_by_side(self._ask, questions), strict=True))
        return [decided[pair] for pair in pairs]

    def check_one(self, gold: str | None, text: str) -> Finding:
        """The finding for one gold answer and one text."""
        return self.check([(gold, text)])[0]

    def _decide(self, gold: str | None, text: str) -> Finding | list[str]:
        """The finding if it takes no parser, else the readings of the answer to compare."""
        problem = gold_problem(gold)
        if gold is None or problem:
            return Verdict.UNGRADABLE, problem or ""
        wanted = bare_gold(gold)
        answer = self._find(text)
        if "box" not in text and same_text(wanted, text.strip()):
            return Verdict.CORRECT, ""
        if answer is None:
            return Verdict.NO_ANSWER, "there is no boxed answer"
        joined = joined_boxes(text)  # several boxes may be one answer of several parts
        readings = [answer] if joined is None else [answer, joined]
        return self._decide_readings(wanted, readings)

    def _decide_readings(self, wanted: str, readings: Sequence[str]) -> Finding | list[str]:
        undecided: list[str] = []
        reasons = [too_heavy(reading) for reading in readings]
        for reading, reason in zip(readings, reasons, strict=True):
            same = None if reason else quick_comparison(wanted, reading)
            if same:
                return Verdict.CORRECT, ""
            if same is None and not reason:
                undecided.append(reading)
        if undecided:
            return undecided
        return Verdict.WRONG, f"not compared: {reasons[0]}" if reasons[0] else ""

    def _ask(self, question: _Question) -> Finding:
        gold, answers, limit_s = question
        request = {"do": "compare", "gold": gold, "answers": answers}
        return self._reply(request, _FINDINGS, limit_s)

    def _reply(
        self, request: dict[str, Any], findings: dict[object, Finding], limit_s: float
    ) -> Finding:
        try:
            answer = self._servers.ask({**request, "timeout_s": limit_s}, limit_s)
        except InfraError as error:
            return Verdict.INFRA_ERROR, str(error)
        confused = (Verdict.INFRA_ERROR, "the math server is confused")
        return findings.get(answer.get("reply"), confused)

    def check_gold(self, answers: Iterable[str], limit_s: float = 60.0) -> dict[str, str]:
        """Which gold answers no completion can be checked against, each with the reason.

        `gold_problem` of each, and a look by the parser at those that it lets pass, within
        `limit_s` in all. What is not reached in that time, or fails for other reasons, is left
        out: it turns out to be `ungradable` when it is met.
        """
        deadline_s = time.monotonic() + limit_s
        problems = {answer: gold_problem(answer) for answer in dict.fromkeys(answers)}
        unread = [
            answer for answer, problem in problems.items()
            if problem is None and not reads_quickly(bare_gold(answer))
        ]  # fmt: skip
        size = max(1, min(_GOLDS_AT_ONCE, len(unread) // self._servers.size))
        parts = [unread[i : i + size] for i in range(0, len(unread), size)]

        def read(part: list[str]) -> None:
            for answer, reply in zip(part, self._read(part, deadline_s), strict=False):
                if reply != "readable":
                    problems[answer] = _FINDINGS["slow_gold" if reply == "slow" else "bad_gold"][1]

        self._side_by_side(read, parts)
        return {answer: problem for answer, problem in problems.items() if problem}

    def _read(self, part: list[str], deadline_s: float) -> list[str]:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return []
        each_s = min(self._timeout_s, left_s)
        texts = [bare_gold(answer) for answer in part]
        request = {"do": "read", "texts": texts, "timeout_s": each_s, "limit_s": left_s}
        try:
            return [str(reply) for reply in self._servers.ask(request, left_s)["replies"]]
        except (InfraError, KeyError, TypeError):
            return []

    def ask_math_verify(self, rows: Sequence[tuple[str, str]]) -> list[Finding]:
        """What math-verify alone says, with its defaults, of each gold answer and whole text."""

        def ask(row: tuple[str, str]) -> Finding:
            request = {"do": "alone", "gold": row[0], "text": row[1]}
            return self._reply(request, _ALONE, self._timeout_s)

        return self._side_by_side(ask, rows)

    def _side_by_side(self, ask: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`ask` of every item, in order, from as many threads as there are servers.

        An exception of `ask`, or an interruption, is raised once the threads have stopped.
        """
        if len(items) < 2 or self._servers.size == 1:
            return [ask(item) for item in items]
        results: dict[int, Result] = {}
        errors: list[BaseException] = []
        waiting: queue.SimpleQueue[tuple[int, Item]] = queue.SimpleQueue()
        for numbered in enumerate(items):
            waiting.put(numbered)

        def work() -> None:
            while not errors:
                try:
                    i_item, item = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    results[i_item] = ask(item)
                except BaseException as error:  # noqa: BLE001 - raised again below
                    errors.append(error)

        threads = [
            threading.Thread(target=work, daemon=True)
            for _ in range(min(self._servers.size, len(items)))
        ]
        for thread in threads:
            thread.start()
        _join(threads, errors)
        if errors:
            raise errors[0]
        return [results[i_item] for i_item in range(len(items))]

    def close(self) -> None:
        """End the processes, each once it is not busy."""
        self._servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _join(threads: Sequence[threading.Thread], errors: list[BaseException]) -> None:
    """Wait for the threads. An interruption (Ctrl-C) ends each after the item it has in hand."""
    try:
        for thread in threads:
            thread.join()
    except BaseException as interruption:
        errors.append(interruption)
        for thread in threads:
            thread.join()
        raise
