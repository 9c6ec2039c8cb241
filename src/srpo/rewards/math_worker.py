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
_DECIMAL_TOLERANCE, _EXACT_TOLERANCE = 1e-6, 1e-20  # relative
_ZERO = 1e-25  # what remains of an exact zero at that precision
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


def _number(expression: Any) -> tuple[Any, Any] | None:
    """Real and imaginary part to 30 digits; None if it is not one finite number."""
    import sympy

    if not isinstance(expression, sympy.Expr) or expression.free_symbols:
        return None
    parts = sympy.N(expression, _DIGITS).as_real_imag()
    if not all((part.is_Float or part.is_Rational) and part.is_finite for part in parts):
        return None
    return parts[0], parts[1]


def _numbers(collection: Any) -> list[tuple[Any, Any]] | None:
    """The numbers of a set, tuple or interval, sorted; None if some of it is not a number."""
    import sympy

    if not isinstance(collection, (sympy.FiniteSet, sympy.Tuple, sympy.Interval)):
        return None
    numbers = [_number(item) for item in collection.args if isinstance(item, sympy.Expr)]
    known = [number for number in numbers if number is not None]
    return sorted(known) if len(known) == len(numbers) else None


def _close(one: tuple[Any, Any], other: tuple[Any, Any], tolerance: float) -> bool:
    size = max(abs(part) for number in (one, other) for part in number)
    allowed = tolerance * size + _ZERO
    return all(abs(a - b) <= allowed for a, b in zip(one, other, strict=True))


def _same(gold: Any, answer: Any, tolerance: float) -> bool:
    """Numbers and sets of numbers are compared by value; the rest by math-verify.

    math-verify rounds to six places: of other collections the numbers are compared as well.
    """
    import sympy
    from math_verify import verify

    one, other = _number(gold), _number(answer)
    if one is not None and other is not None:
        return _close(one, other, tolerance)
    golds, answers = _numbers(gold), _numbers(answer)
    if golds is None or answers is None or len(golds) != len(answers):
        return bool(verify([gold], [answer], timeout_seconds=None))
    if not all(_close(a, b, tolerance) for a, b in zip(golds, answers, strict=True)):
        return False
    both_sets = isinstance(gold, sympy.FiniteSet) and isinstance(answer, sympy.FiniteSet)
    return both_sets or bool(verify([gold], [answer], timeout_seconds=None))


def compare(gold_text: str, answer_text: str, report_fd: int) -> str:
    """One of the first four `REPLIES`; tells `report_fd` once the gold answer is read."""
    gold = _parse(gold_text)
    if gold is None:
        return "bad_gold"
    os.write(report_fd, _READ_GOLD)
    answer = _parse(answer_text)
    if answer is None:
        return "bad_answer"
    decimals = "." in gold_text or "." in answer_text
    try:
        same = _same(gold, answer, _DECIMAL_TOLERANCE if decimals else _EXACT_TOLERANCE)
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError):
        return "different"  # what sympy cannot compare is not shown to be the same
    return "same" if same else "different"


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
