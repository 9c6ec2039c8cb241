"""What a line of each file must be like to be worked with; anything else is damage.

A check raises `ValueError`, `TypeError`, `KeyError` or `AttributeError`, and returns nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from srpo.run.figures import evaluation_from

COUNTS = ("step", "stage", "epoch", "all/groups", "tokens/step")  # in every line of metrics


def check_metrics(row: Mapping[str, Any]) -> None:
    """Numbers or nothing, and the counts are there."""
    for name in COUNTS:
        _check(isinstance(row[name], int) and row[name] >= 0)
    _check(all(value is None or _is_number(value) for value in row.values()))


def check_times(row: Mapping[str, Any]) -> None:
    """Seconds."""
    _check(all(_is_number(value) and math.isfinite(value) for value in row.values()))


def check_evaluation(row: Mapping[str, Any]) -> None:
    """What an evaluation is made of again."""
    evaluation_from(row)
    _check(isinstance(row["split"], str))


def check_opinions(row: Mapping[str, Any]) -> None:
    """How many were asked, and a list of disagreements."""
    _check(isinstance(row["asked"], int) and isinstance(row["disagreements"], list))


def check_attempt(row: Mapping[str, Any]) -> None:
    """What an attempt is compared by."""
    _check(all(isinstance(row[name], int) for name in ("number", "from_step")))
    _check(all(isinstance(row[name], dict) for name in ("settings", "code", "facts", "set_aside")))
    _check(isinstance(row["announced"], list))


def check_environment(data: Mapping[str, Any]) -> None:
    """The digests of the problems, and of the probe its parts."""
    _check(all(isinstance(data.get(name, {}), dict) for name in ("problems", "probe")))
    probe = data.get("probe", {})
    _check(isinstance(probe.get("tokens", {}), dict) and isinstance(probe.get("said", []), list))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(holds: bool) -> None:
    if not holds:
        raise ValueError
