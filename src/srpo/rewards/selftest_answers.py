"""Answers that freeze or fool math graders, and what graders in use were found to get wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass

from srpo.case_rows import parse_tests
from srpo.rewards.code_values import same_value
from srpo.rewards.exploits.holding import Holding
from srpo.rewards.format import split_completion
from srpo.rewards.math import MathVerifier
from srpo.row_words import BadRowError
from srpo.types import Verdict

_SLACK_S = 1.0  # for starting a server on a busy machine
_RIGHT, _NOT_RIGHT = (Verdict.CORRECT,), (
    Verdict.WRONG, Verdict.NO_ANSWER, Verdict.BAD_FORMAT, Verdict.TIMED_OUT,
)  # fmt: skip
_UNGRADABLE = (Verdict.UNGRADABLE,)


@dataclass(frozen=True, slots=True)
class Answer:
    """A text, the gold answer it is judged by, and the verdicts that are right.

    >>> Answer("a plain sum", "4", r"So \\boxed{4}", (Verdict.CORRECT,)).gold
    '4'
    """

    name: str
    gold: str
    text: str
    wanted: tuple[Verdict, ...]


def _box(content: str) -> str:
    return rf"So the answer is \boxed{{{content}}}."


ANSWERS = (
    Answer("right, off the main thread", "4", _box("4"), _RIGHT),
    Answer("wrong, off the main thread", "4", _box("5"), _NOT_RIGHT),
    Answer("a fraction and its decimal", "0.5", _box(r"\frac{1}{2}"), _RIGHT),
    Answer("a product and its sum", "x^2-1", _box("(x-1)(x+1)"), _RIGHT),
    Answer("tower of nines", "4", _box("9^{9^{9^{9}}}"), _NOT_RIGHT),
    Answer("tower of tens", "4", _box("10^{10^{10}}"), _NOT_RIGHT),
    Answer("factorial", "4", _box("(123456789)!"), _NOT_RIGHT),
    Answer("factorial of a factorial", "4", _box("((99!)!)!"), _NOT_RIGHT),
    Answer("power of a power of two", "4", _box("2^{2^{40}}"), _NOT_RIGHT),
    Answer("huge exponent of a sum", "4", _box("(x+1)^{99999999}"), _NOT_RIGHT),
    Answer("binomial", "4", _box(r"\binom{99999999}{44444444}"), _NOT_RIGHT),
    Answer("nested roots", "4", _box(r"\sqrt{1+" * 400 + "1" + "}" * 400), _NOT_RIGHT),
    Answer("nested fractions", "4", _box(r"\frac{1}{1+" * 400 + "1" + "}" * 400), _NOT_RIGHT),
    Answer("20,000 unclosed boxes", "4", r"\boxed{" * 20_000, _NOT_RIGHT),
    Answer("a megabyte of digits", "4", _box("7" * 1_000_000), _NOT_RIGHT),
    Answer("a megabyte of brackets", "4", _box("(" * 500_000 + ")" * 500_000), _NOT_RIGHT),
    Answer(
        "a giant matrix", "4",
        _box(r"\begin{pmatrix}" + r"1&2\\" * 20_000 + r"\end{pmatrix}"), _NOT_RIGHT,
    ),
    Answer("a sum to infinity", "4", _box(r"\sum_{n=1}^{10^{12}} n^{n}"), _NOT_RIGHT),
    Answer("an integral", "4", _box(r"\int_0^1 x^{x^{x^{x}}} e^{\sin(x^9)} dx"), _NOT_RIGHT),
    Answer("digits of another script", "4", _box("４４４"), _NOT_RIGHT),
    Answer("differs in the 30th place", "1/2^{98}", _box("1/2^{99}"), _NOT_RIGHT),
    Answer("an empty box", "4", _box(""), _NOT_RIGHT),
    Answer("nothing at all", "4", "", _NOT_RIGHT),
    Answer("a gold answer that is none", "", _box("4"), _UNGRADABLE),
    Answer("a gold answer that cannot be read", r"\frac{1}{", _box("4"), _UNGRADABLE),
)  # fmt: skip


def hold_answers(timeout_s: float) -> tuple[Holding, ...]:
    """Judge `ANSWERS`, each with `timeout_s` seconds for its comparison."""
    holdings = []
    with_servers = MathVerifier(timeout_s)
    try:
        with_servers.check([("x^2-1", _box("(x-1)(x+1)"))])  # starts the servers
        for answer in ANSWERS:
            start_s = time.monotonic()
            ((verdict, note),) = with_servers.check([(answer.gold, answer.text)])
            seconds = time.monotonic() - start_s
            broken = [] if verdict in answer.wanted else [f"judged {verdict} {note}".strip()]
            if seconds > timeout_s + _SLACK_S:
                broken.append(f"took {seconds:.1f} s")
            holdings.append(Holding(f"math: {answer.name}", tuple(broken), seconds))
    finally:
        with_servers.close()
    return tuple(holdings)


def hold_parts() -> tuple[Holding, ...]:
    """Mistakes that were found in graders of others, and that need no process to try."""
    checks = {
        "format: a prefilled <think> is well formed": split_completion(
            "2 and 2</think>4", prefilled_thinking=True
        ).well_formed,
        "format: an answer inside the thinking is none": split_completion(
            r"<think>\boxed{4}", prefilled_thinking=False
        ).answer
        == "",
        "code: no tests are not passed tests": _has_no_tests(),
        "code: a list of another length is not equal": not same_value([1, 2], [1, 2, 3]),
        "code: true is not 1": not same_value(1, True),
    }
    return tuple(
        Holding(name, () if fine else ("it does not hold",)) for name, fine in checks.items()
    )


def _has_no_tests() -> bool:
    """Whether empty tests are refused, or stay empty (and so ungradable)."""
    try:
        return parse_tests([]) == ()
    except BadRowError:
        return True
