"""The math-verify server: forks one killable child for every comparison.

Run as `python -m srpo.rewards.math_worker`. A request is a JSON object with `gold`, `answer`
and `timeout_s`; the reply is one of the words in `REPLIES`. Loads math-verify, never torch.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import resource
import sys
import time
import warnings
from typing import Any, cast

from srpo.sandbox.children import start_child
from srpo.sandbox.wire import receive_message, send_message

REPLIES = ("same", "different", "bad_gold", "bad_answer", "slow_gold", "slow_answer")
_MEMORY_BYTES = 2 << 30
_RECURSION_LIMIT = 4000
_DIGITS = 30
_WARM_UP = ((r"\frac{1}{2}+x", "x+0.5"), ("(1,2)", r"\{1,2\}"), (r"\sqrt{2}", r"2^{1/2}"))
_MARK_OF = {"same": b"=", "different": b"!", "bad_gold": b"g", "bad_answer": b"a"}
_READ_GOLD = b"."
_PLAIN_NAMES = re.compile(r"(?<![\\A-Za-z])(pi|sin|cos|tan|log|ln)(?![A-Za-z])")


def _parse(text: str) -> Any:
    """The sympy object of an answer, or None if math-verify cannot read it."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    text = _PLAIN_NAMES.sub(r"\\\1 ", text)  # pi/2 is not p times i over two
    how = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    try:
        found = parse("\\boxed{" + text + "}", how, parsing_timeout=None)
    except Exception:  # noqa: BLE001 - a border: whatever the parser raises, it could not read it
        return None
    return found[0] if found and not isinstance(found[0], str) else None


def _values(expression: Any) -> list[Any] | None:
    """The real and imaginary parts of all numbers in an answer, sorted; None if not numeric."""
    import sympy

    if isinstance(expression, sympy.Expr):
        if expression.free_symbols:
            return None
        number = sympy.N(expression, _DIGITS)
        parts = number.as_real_imag()
        return (
            [parts]
            if all(part.is_Float or part.is_Integer or part.is_Rational for part in parts)
            else None
        )
    if isinstance(expression, (sympy.FiniteSet, sympy.Tuple, sympy.Interval)):
        values: list[Any] = []
        for item in expression.args:
            if isinstance(item, sympy.Expr):
                inner = _values(item)
                if inner is None:
                    return None
                values += inner
        return sorted(values)
    return None


def _numerically_same(gold: Any, answer: Any, tolerance: float) -> bool:
    """Second opinion on a yes of math-verify, which rounds to six places. True if it has none."""
    golds, answers = _values(gold), _values(answer)
    if golds is None or answers is None or len(golds) != len(answers):
        return True
    for pair in zip(golds, answers, strict=True):
        (gold_re, gold_im), (answer_re, answer_im) = pair
        size = max(abs(part) for number in pair for part in number)
        if max(abs(gold_re - answer_re), abs(gold_im - answer_im)) > tolerance * size:
            return False
    return True


def compare(gold_text: str, answer_text: str, report_fd: int) -> str:
    """One of the first four `REPLIES`; tells `report_fd` once the gold answer is read."""
    from math_verify import verify

    gold = _parse(gold_text)
    if gold is None:
        return "bad_gold"
    os.write(report_fd, _READ_GOLD)
    answer = _parse(answer_text)
    if answer is None:
        return "bad_answer"
    try:
        if not verify([gold], [answer], timeout_seconds=None):
            return "different"
        decimals = "." in gold_text or "." in answer_text
        tolerance = 1e-6 if decimals else 1e-20
        return "same" if _numerically_same(gold, answer, tolerance) else "different"
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError):
        return "different"


def _answer(request: dict[str, Any]) -> str:
    def body(write_fd: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.setrecursionlimit(_RECURSION_LIMIT)
        os.write(write_fd, _MARK_OF[compare(request["gold"], request["answer"], write_fd)])

    child = start_child(body)
    deadline_s = time.monotonic() + request["timeout_s"]
    marks = b""
    while data := child.read(deadline_s):
        marks += data
    child.end(0.0)
    for reply, mark in _MARK_OF.items():
        if marks.endswith(mark):
            return reply
    # Out of time, memory or stack: which answer was being read says whose fault it is.
    return "slow_answer" if marks == _READ_GOLD else "slow_gold"


def main() -> None:
    """Answer requests until the parent closes its end."""
    logging.disable(logging.CRITICAL)
    warnings.filterwarnings("ignore")
    null_fd = os.open(os.devnull, os.O_WRONLY)
    for gold, answer in _WARM_UP:  # fills the parsers' caches, which every child inherits
        compare(gold, answer, null_fd)
    gc.collect()
    gc.freeze()
    send_message(1, {"torch": "torch" in sys.modules})
    while True:
        try:
            request = receive_message(0)
        except EOFError:
            return
        send_message(1, _answer(cast(dict[str, Any], request)))


if __name__ == "__main__":
    main()
