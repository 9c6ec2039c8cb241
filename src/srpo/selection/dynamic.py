"""Dynamic sampling (DAPO, arXiv 2503.14476): other problems in place of groups without signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from srpo.types import Outcome


def vacant_places(
    places: Mapping[str, int], outcomes: Iterable[tuple[str, Outcome]]
) -> dict[str, int]:
    """Places of the step, by set, that no mixed group has filled yet.

    `outcomes`: (set, outcome) of every group of the step so far. DAPO draws whole new batches and
    cuts what is too much; here just as many are drawn as are missing, so nothing mixed is lost.

    >>> vacant_places({"math": 2}, [("math", Outcome.MIXED), ("math", Outcome.ALL_WRONG)])
    {'math': 1}
    """
    left = dict(places)
    for set_name, outcome in outcomes:
        if outcome is Outcome.MIXED:
            left[set_name] -= 1
    return {name: count for name, count in left.items() if count > 0}
