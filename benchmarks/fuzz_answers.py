"""Fuzz the reading and comparing of math answers with atheris, for as long as you like.

    pip install atheris
    python -m benchmarks.fuzz_answers -max_total_time=600 -max_len=400

Not part of the tests (tests/unit/test_math_properties.py has a bounded run with hypothesis) nor
of any extra, as atheris exists for few versions of Python only. It stops at the first exception,
at an answer that is not itself, at a comparison that depends on the order, and at an input that
takes more than half a second.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

SLOW_S = 0.5
_PIECES = (
    r"\boxed{", "}", "{", r"\frac", r"\sqrt", r"\text{", "^{", "_2", "$", r"\$", "(", ")", "[", "]",
    r"\{", r"\}", ",", ";", "=", "<", r"\le", r"\cup", r"\pm", r"\infty", " or ", "and", ":", "°",
    r"\begin{pmatrix}", r"\end{pmatrix}", r"\\", "&", "%", "!", "|", "1", "23", "0.5", "x", " km",
)  # fmt: skip


def answer_of(data: bytes) -> str:
    """Text from bytes: those below 128 stand for themselves, the others for pieces of LaTeX."""
    return "".join(
        chr(byte) if byte < 128 else _PIECES[(byte - 128) % len(_PIECES)] for byte in data
    )


def check(answers: Any, data: bytes) -> None:
    """Read and compare the two answers that the bytes make. Raises whatever is found."""
    one_bytes, _, other_bytes = data.partition(b"\x00")
    one, other = answer_of(one_bytes), answer_of(other_bytes)
    start_s = time.process_time()
    for text in (one, other, one + r"\boxed{" + other + "}"):
        answers.find_answer(text)
        answers.find_stated_answer(text)
        answers.joined_boxes(text)
        answers.gold_problem(text)
        answers.too_heavy(text)
    if answers.quick_comparison(one, one) is False:
        raise AssertionError(f"not itself: {one!r}")
    if answers.quick_comparison(one, other) is not answers.quick_comparison(other, one):
        raise AssertionError(f"not symmetric: {one!r} {other!r}")
    if time.process_time() - start_s > SLOW_S:
        raise AssertionError(f"slow: {one[:200]!r} {other[:200]!r}")


def main() -> None:
    """Hand the check to atheris; the arguments are libFuzzer's."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["srpo.rewards"]):  # so that it sees what was reached
        answers = importlib.import_module("srpo.rewards.math.answers")

    def check_one(data: bytes) -> None:
        check(answers, data)

    atheris.Setup(sys.argv, check_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
