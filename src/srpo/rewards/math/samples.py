"""Places at which two expressions are worked out to see whether they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any


def sample_places(
    one: Any, other: Any, symbols: Sequence[Any], num_places: int
) -> list[dict[Any, Any]]:
    """A rational number for each symbol, for each place, some positive and some negative.

    They follow from both expressions together, so that none can be written that happens to
    agree with another one there. An exchange of the two changes nothing.
    """
    import sympy

    texts = "\n".join(sorted((str(one), str(other))))
    places = []
    for i_place in range(num_places):
        place = {}
        for i_symbol, symbol in enumerate(symbols):
            seed = f"{i_place} {i_symbol} {texts}".encode()
            drawn = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big")
            size = sympy.Rational(1 + drawn % 4999, 1009 + 2 * (drawn // 4999 % 251))
            place[symbol] = -size if (i_place + i_symbol) % 2 else size
        places.append(place)
    return places


def is_stepped(expression: Any) -> bool:
    """Whether it has functions without a definition, or with steps."""
    import sympy
    from sympy.core.function import AppliedUndef

    stepped = (
        sympy.floor, sympy.ceiling, sympy.Mod, sympy.Piecewise, sympy.sign, sympy.factorial,
        sympy.binomial, sympy.gamma, sympy.Sum, sympy.Product, sympy.Integral, sympy.Derivative,
        sympy.Limit, AppliedUndef,
    )  # fmt: skip
    return bool(expression.has(*stepped))


def holds_derivative(expression: Any) -> bool:
    """Whether a derivative of something unknown is a part of it, as dy/dx, which would be 0."""
    import sympy

    if not isinstance(expression, sympy.Basic):
        return False
    return any(derivative.doit() == 0 for derivative in expression.atoms(sympy.Derivative))


def worked_out(expression: Any) -> Any:
    """With its derivatives worked out."""
    import sympy

    derives = isinstance(expression, sympy.Expr) and expression.has(sympy.Derivative)
    return expression.doit() if derives else expression
