"""How the processor time of some work grows with the size of what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_TRIES = 2  # the quicker one counts
_NOTHING_S = 0.01  # no quadratic work on the sizes of these tests is done in it

Given = TypeVar("Given")


def assert_linear(work: Callable[[Given], object], make: Callable[[int], Given], size: int) -> None:
    """Fail if `size` takes eight times the processor time of a quarter of it, or more.

    Linear work takes four times as long, quadratic work sixteen times.
    """
    whole_s = _seconds(work, make(size))
    assert whole_s < _NOTHING_S or whole_s < 8 * _seconds(work, make(size // 4))


def _seconds(work: Callable[[Given], object], given: Given) -> float:
    taken = []
    for _ in range(_TRIES):
        started_s = time.thread_time()
        work(given)
        taken.append(time.thread_time() - started_s)
    return min(taken)
