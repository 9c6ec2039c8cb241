"""Comparing answers with math-verify and sympy. Runs only in processes that may be killed.

Answers are taken apart as in `shape`, single expressions are compared by value where
they have one, and math-verify decides the rest. The caller sees to time and memory.
"""

from __future__ import annotations

import re
from typing import Any

from srpo.rewards.math.answers import quick_comparison, quick_piece
from srpo.rewards.math.numbers import split_unit
from srpo.rewards.math.parsing import is_scalar, marks_of, parse
from srpo.rewards.math.quick import same_shape
from srpo.rewards.math.samples import holds_derivative, is_stepped, sample_places, worked_out
from srpo.rewards.math.shape import Shape, read_shape
from srpo.rewards.math.text import clean
from srpo.rewards.math.units import read_unit

_DIGITS = 30
_DECIMAL_TOLERANCE, _EXACT_TOLERANCE = 1e-6, 1e-20  # relative
_ZERO_BITS = 10  # a value known to fewer is what remains of an exact zero
_DECIMAL_ZERO = 1e-15  # what remains of zero if decimals were subtracted
_MAX_SYMBOLS = 8
_MOST_DIGITS = 20_000  # of a number that is worked out exactly


def forget() -> None:
    """Empty the caches of sympy and of the parser, on which no verdict may depend."""
    from sympy.core.cache import clear_cache

    clear_cache()
    parse.cache_clear()


def alone(gold: str, text: str) -> str:
    """What math-verify says by itself, with its defaults, on the texts as they are.

    Only a gold answer without delimiters is put into a box, as math-verify would not read it.
    """
    from math_verify import parse as parse_text
    from math_verify import verify

    delimited = any(mark in gold for mark in ("$", "boxed", "\\(", "\\["))
    golds = parse_text(gold if delimited else f"\\boxed{{{gold}}}", parsing_timeout=None)
    if not golds:
        return "no_gold"
    answers = parse_text(text, parsing_timeout=None)
    if not answers:
        return "no_answer"
    return "same" if verify(golds, answers, timeout_seconds=None) else "different"


def readable(text: str) -> bool:
    """Whether an answer says something that others can be compared with, beyond its text."""
    cleaned = clean(text)
    if _ONLY_AS_TEXT.search(cleaned):
        return True  # the same text is the same answer
    return all(_readable_piece(piece) for piece in _pieces(read_shape(cleaned)))


_ONLY_AS_TEXT = re.compile(r"\\mathbb\{[A-Z]\}\s*\^|\\[|]|\\begin\{cases\}|\(\d+\)_")
_WORDY = re.compile(r"[A-Za-z]{2,}")


def _readable_piece(piece: str) -> bool:
    if quick_piece(piece, piece) is None:
        return False
    body, _, perhaps_product = split_unit(piece)
    body = piece if perhaps_product else body
    if r"\text" in body or parse(body) is not None:
        return True
    return len(_WORDY.findall(body.replace("\\", " "))) > 0 and "{" not in body


def _pieces(shape: Shape) -> list[str]:
    if shape.kind == "atom":
        return [shape.text]
    return [piece for part in shape.parts for piece in _pieces(part)]


def compare(gold_text: str, answer_text: str) -> str:
    """`same`, `different`, or `bad_answer` if the answer cannot be read.

    Whether they are the same does not change if the two are exchanged.
    """
    same = quick_comparison(gold_text, answer_text)
    if same is not None:
        return "same" if same else "different"
    gold, answer = clean(gold_text), clean(answer_text)
    ordered = sorted((gold, answer))  # so that an exchange changes nothing
    try:
        same = same_shape(read_shape(ordered[0]), read_shape(ordered[1]), same_piece)
        if same is None:
            same = _same_whole(ordered[0], ordered[1])
    except _COMPARISON_ERRORS:
        same = False  # what sympy cannot compare is not shown to be the same
    if same:
        return "same"
    return "different" if readable(answer_text) else "bad_answer"


_COMPARISON_ERRORS = (
    TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError, KeyError,
    IndexError, AssertionError, RecursionError,
)  # fmt: skip


def same_piece(one: str, other: str) -> bool:
    """Whether two single expressions are the same; a known unit must then be the same too."""
    quick = quick_piece(one, other)
    if quick is not None:
        return quick
    bodies, factors = [], []
    for text in (one, other):
        body, unit_text, perhaps_product = split_unit(text)
        unit = None if perhaps_product else read_unit(unit_text)
        bodies.append(rf"{body} \cdot {unit_text}" if perhaps_product else body)
        factors.append(unit.factor if unit else None)
    if marks_of(bodies[0]) != marks_of(bodies[1]):
        return False
    parsed = parse(bodies[0]), parse(bodies[1])
    if parsed[0] is None or parsed[1] is None:
        return False
    if factors[0] and factors[1] and factors[0] != factors[1]:
        import sympy

        ratio = factors[0] / factors[1]
        parsed = parsed[0] * sympy.Rational(ratio.numerator, ratio.denominator), parsed[1]
    decimals = "." in one or "." in other
    return _same(parsed[0], parsed[1], _DECIMAL_TOLERANCE if decimals else _EXACT_TOLERANCE)


def _same_whole(one: str, other: str) -> bool:
    if marks_of(one) != marks_of(other):
        return False
    parsed = parse(one), parse(other)
    if parsed[0] is None or parsed[1] is None:
        return False
    decimals = "." in one or "." in other
    return _same(parsed[0], parsed[1], _DECIMAL_TOLERANCE if decimals else _EXACT_TOLERANCE)


def _same(one: Any, other: Any, tolerance: float) -> bool:
    """By value if both have one; else by math-verify, which rounds to six places, and by value
    at a few places, which has to agree.
    """
    numbers = _number(one), _number(other)
    if numbers[0] is not None and numbers[1] is not None:
        close = _close(numbers[0], numbers[1], tolerance)
        return close and (tolerance != _EXACT_TOLERANCE or _vanishes(one - other))
    collections = _numbers(one), _numbers(other)
    if collections[0] is not None and collections[1] is not None:
        if len(collections[0]) != len(collections[1]):
            return False
        pairs = zip(collections[0], collections[1], strict=True)
        if not all(_close(a, b, tolerance) for a, b in pairs):
            return False
    if _cells(one) and _cells(other):
        return _same_cells(one, other, tolerance)
    if holds_derivative(one) or holds_derivative(other):
        return bool(one == other)  # worked out, \\frac{dy}{dx} would be zero
    one, other = worked_out(one), worked_out(other)
    sampled = _same_at_samples(one, other, tolerance)
    if sampled is not None:
        return sampled
    return _math_verify_says_same(one, other)


def _cells(value: Any) -> bool:
    import sympy

    return isinstance(value, (sympy.MatrixExpr, sympy.MatrixBase))


def _vanishes(difference: Any) -> bool:
    """Whether nothing is left of a number when it is worked out to as many digits as it takes.

    That is exact for rationals; else at most a hundred digits more than its largest part has.
    """
    import sympy

    exact = difference.doit()
    if exact.is_Rational:
        return bool(exact == 0)
    sizes = [abs(sympy.N(part, 5)) for part in sympy.Add.make_args(exact)]
    digits = max((int(sympy.log(size, 10)) for size in sizes if size.is_Float and size), default=0)
    largest = min(_MOST_DIGITS, 100 + max(0, digits))
    return _parts(sympy.N(exact, _DIGITS, maxn=4 * largest)) == (0, 0)


def _same_cells(one: Any, other: Any, tolerance: float) -> bool:
    """Two matrices, worked out and compared cell by cell."""
    import sympy

    matrices = one.doit(), other.doit()
    if not all(isinstance(matrix, sympy.MatrixBase) for matrix in matrices):
        return _math_verify_says_same(one, other)
    if matrices[0].shape != matrices[1].shape:
        return False
    cells = zip(matrices[0].flat(), matrices[1].flat(), strict=True)
    return all(_same(a, b, tolerance) for a, b in cells)


def _math_verify_says_same(one: Any, other: Any) -> bool:
    from math_verify import verify

    how = {"timeout_seconds": None, "allow_set_relation_comp": True}
    return bool(verify([one], [other], **how)) or bool(verify([other], [one], **how))


def _number(expression: Any) -> tuple[Any, Any] | None:
    """Real and imaginary part to 30 digits; None if it is not one finite number."""
    import sympy

    if not is_scalar(expression) or expression.free_symbols:
        return None
    return _parts(sympy.N(expression, _DIGITS))


def _parts(value: Any) -> tuple[Any, Any] | None:
    parts = value.as_real_imag()
    if not all((part.is_Float or part.is_Rational) and part.is_finite for part in parts):
        return None
    zero_real, zero_imaginary = (_is_rest_of_zero(part) for part in parts)
    return 0 if zero_real else parts[0], 0 if zero_imaginary else parts[1]


def _is_rest_of_zero(part: Any) -> bool:
    return bool(part.is_Float and part._prec < _ZERO_BITS)


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
    allowed = tolerance * size + (_DECIMAL_ZERO if tolerance == _DECIMAL_TOLERANCE else 0)
    return bool(all(abs(a - b) <= allowed for a, b in zip(one, other, strict=True)))


_NUM_SAMPLES, _ENOUGH_SAMPLES = 5, 2


def _same_at_samples(one: Any, other: Any, tolerance: float) -> bool | None:
    """Whether two expressions with variables, or two equations, agree at a few places.

    None: not such a pair, functions without a definition or with steps, or too few places at
    which both have values. Equations agree if their sides' differences have one ratio.
    """
    import sympy

    equations = isinstance(one, sympy.Eq) and isinstance(other, sympy.Eq)
    if equations:
        one, other = one.lhs - one.rhs, other.lhs - other.rhs
    if not (is_scalar(one) and is_scalar(other)):
        return None
    symbols = sorted(one.free_symbols | other.free_symbols, key=lambda symbol: str(symbol))
    if not symbols or len(symbols) > _MAX_SYMBOLS or is_stepped(one) or is_stepped(other):
        return None
    places = sample_places(one, other, symbols, _NUM_SAMPLES)
    pairs = [_values_at(place, one, other) for place in places]
    known = [pair for pair in pairs if pair is not None]
    if equations:
        return _one_ratio(known, tolerance) or None
    if any(not _same(a, b, tolerance) for a, b in known):
        return False
    return True if len(known) > _ENOUGH_SAMPLES else None


def _values_at(at: dict[Any, Any], one: Any, other: Any) -> tuple[Any, Any] | None:
    """The two numbers that come of fixed numbers for the symbols; None if one is none."""
    values = one.subs(at), other.subs(at)
    return values if all(_number(value) is not None for value in values) else None


def _one_ratio(pairs: list[tuple[Any, Any]], tolerance: float) -> bool:
    if len(pairs) <= _ENOUGH_SAMPLES:
        return False
    if any((0, 0) in (_number(one), _number(other)) for one, other in pairs):
        return False  # a place that solves an equation says nothing about the ratio
    first = pairs[0][0] / pairs[0][1]
    return all(_same(one, first * other, tolerance) for one, other in pairs[1:])
