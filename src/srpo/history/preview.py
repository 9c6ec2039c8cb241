"""The next history resampling, before it happens, from counts alone."""

from __future__ import annotations

from dataclasses import dataclass

from srpo.history.rows import SetSoFar


@dataclass(frozen=True, slots=True)
class Forecast:
    """What history resampling would do to one set if the epoch ended now.

    >>> Forecast("math", in_play=10, drops=3, comes_back=0, saved_tokens=120).drops
    3
    """

    set_name: str
    in_play: int  # problems before it
    drops: int
    comes_back: int  # dropped problems that the floor needs back
    saved_tokens: int  # that the dropped ones took in this epoch; an estimate of the next


def forecast(so_far: SetSoFar, floor: int) -> Forecast:
    """The counts that `srpo.selection.resampling.resample` would come to.

    All-correct problems are dropped (SRPO, arXiv 2504.14286). If fewer than `floor` (at most the
    whole set) are then left, problems dropped before come back first, and then as many of those
    just dropped stay; these take a proportional part of the tokens with them.

    >>> math = SetSoFar("math", 10, dropped=1, drawn=9, all_correct=6, tokens=90, solved_tokens=60)
    >>> forecast(math, floor=3)
    Forecast(set_name='math', in_play=9, drops=6, comes_back=0, saved_tokens=60)
    >>> forecast(math, floor=6)
    Forecast(set_name='math', in_play=9, drops=4, comes_back=1, saved_tokens=40)
    """
    solved = so_far.all_correct
    missing = max(0, min(floor, so_far.problems) - (so_far.in_play - solved))
    comes_back = min(missing, so_far.dropped)
    drops = solved - min(missing - comes_back, solved)
    saved = so_far.solved_tokens * drops // solved if solved else 0
    return Forecast(so_far.set_name, so_far.in_play, drops, comes_back, saved)
