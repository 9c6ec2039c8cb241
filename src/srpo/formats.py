"""How figures are written wherever they are shown: counts, shares, durations, names in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def in_order(domains: Iterable[Name]) -> list[Name]:
    """Domains in the order in which they are always shown: math, code, then all others.

    >>> in_order({"poems", "code", "math"})
    ['math', 'code', 'poems']
    """
    return sorted(domains, key=lambda name: (name != "math", name != "code", name))


def budget_text(rollouts: int, tokens: int) -> str:
    """The limits of a budget; one that is 0 is not counted.

    >>> budget_text(100, 20_000), budget_text(0, 20_000)
    ('100 rollouts and 20,000 generated tokens', '20,000 generated tokens')
    """
    limits = ((rollouts, "rollout"), (tokens, "generated token"))
    return " and ".join(counted(limit, noun) for limit, noun in limits if limit)


def counted(count: int, noun: str) -> str:
    """A count and its noun, in the plural unless it is one.

    >>> counted(1, "step"), counted(2_000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number(value: float | None) -> str:
    """Two decimals, `-` for none.

    >>> number(0.523), number(None)
    ('0.52', '-')
    """
    return "-" if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A share without its leading zero, `-` for none.

    >>> share(0.48), share(1.0), share(None)
    ('.48', '1.00', '-')
    """
    return number(value).removeprefix("0")


def percent(value: float | None) -> str:
    """A share in whole per cent, `-` for none.

    >>> percent(0.614)
    '61 %'
    """
    return "-" if value is None else f"{100 * value:.0f} %"


def short(value: float) -> str:
    """A count in at most three or four characters and a unit.

    >>> short(18), short(5_234), short(61_234), short(1_500_000)
    ('18', '5.2 k', '61 k', '1.5 M')
    """
    for unit in ("", " k", " M", " G"):
        if value < 999.5 or unit == " G":
            digits = 1 if unit and value < 9.95 else 0
            return f"{value:.{digits}f}{unit}"
        value /= 1000
    raise AssertionError("the last unit takes every value")


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, with hours and days where there are any.

    >>> clock(31.4), clock(3725), clock(93_784)
    ('0:31', '1:02:05', '1 d 2:03:04')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h}:{m:02d}:{s:02d}"
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"


def one_line(text: str) -> str:
    """The text without line ends and control characters, which could move the cursor."""
    return "".join(c if c.isprintable() else " " for c in text)
