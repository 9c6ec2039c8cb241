"""How the places of a step are cut among the problem sets."""

from __future__ import annotations

from collections.abc import Mapping


def quotas(weights: Mapping[str, float], size: int, owed: Mapping[str, float]) -> dict[str, int]:
    """Cut `size` places among sets by weight; `owed` carries the fractions of earlier steps.

    Largest remainder first, ties in the order of `weights`, so that over many steps every set
    gets its exact share.

    >>> quotas({"math": 1, "code": 2}, 32, {})
    {'math': 11, 'code': 21}
    """
    total = sum(weights.values())
    left = {name: size * w / total + owed.get(name, 0.0) for name, w in weights.items()}
    cut = dict.fromkeys(weights, 0)
    for _ in range(size):
        name = max(left, key=left.__getitem__)  # the first of equals
        cut[name] += 1
        left[name] -= 1.0
    return cut


def places(weights: Mapping[str, float], size: int) -> dict[str, int]:
    """Each set's share of a step, rounded up.

    >>> places({"math": 1, "code": 2}, 32)
    {'math': 11, 'code': 22}
    """
    total = sum(weights.values())
    return {name: -int(-size * weight // total) for name, weight in weights.items()}
