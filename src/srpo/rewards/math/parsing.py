"""Single expressions as sympy objects: LaTeX in one form, read by math-verify's parser.

Nothing is dropped on the way: capitals stay capitals, primes and letters after a number stay.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from srpo.rewards.math.text import CURRENCY

_PLAIN_NAMES = re.compile(
    r"(?<![\\A-Za-z])(pi|sin|cos|tan|sec|csc|cot|arcsin|arccos|arctan|log|ln|theta|alpha|beta)"
    r"(?![A-Za-z])"
)
_CALLS = (("sqrt", r"\sqrt"), ("exp", "e^"))
_ROUND_EXPONENT = re.compile(r"\^\s*\(([^()]*)\)")
_TEXT_LETTER = re.compile(r"\\text\s*\{\s*([A-Za-z])\s*\}")
_ODD_ROOT = re.compile(r"\\sqrt\s*\[\s*([3579])\s*\]\s*\{\s*-([^{}+-]+)\}")  # the real one
_ANGLE = re.compile(r"(\d+(?:\.\d+)?)\s*°")
_STAR = re.compile(r"(?<!\^)\*")
_PRIMES = re.compile(r"((?:\\[A-Za-z]+|[A-Za-z])(?:_(?:\{[A-Za-z0-9]{1,20}\}|\w))?)"
                     r"(?:\s*\^\s*\{\s*('+)\s*\}|\s*\^?\s*('+))")  # fmt: skip
_TRANSPOSED = re.compile(
    r"\^\s*(?:\{\s*(?:\\text\s*\{\s*T\s*\}|\\(?:top|intercal)|T)\s*\}|\\text\s*\{\s*T\s*\}"
    r"|\\(?:top|intercal)(?![A-Za-z])|T(?![A-Za-z_]))"
)


def marks_of(text: str) -> int:
    """How many primes, quotes and signs of a transpose the text has."""
    return text.count("'") + text.count('"') + len(_TRANSPOSED.findall(text))


def as_latex(text: str) -> str:
    """LaTeX of a piece that may be written as in a program: sqrt(3), 2*pi, x**(1/2)."""
    text = _TRANSPOSED.sub("^{T_{q}}", _PRIMES.sub(_primed, text))
    text = _ODD_ROOT.sub(r"(-\\sqrt[\1]{\2})", text)
    text = _ANGLE.sub(r"(\1 \\cdot \\frac{\\pi}{180})", text)
    text = _TEXT_LETTER.sub(r"\1", text).replace(CURRENCY, "").replace("°", "")
    for name, command in _CALLS:
        text = _call_as_latex(text, name, command)
    text = _ROUND_EXPONENT.sub(r"^{\1}", _PLAIN_NAMES.sub(r"\\\1 ", text))
    return _STAR.sub(r" \\cdot ", text)


def _primed(match: re.Match[str]) -> str:
    """A name with primes as a name of its own."""
    name, num = match[1], len(match[2] or match[3])
    head, _, low = name.partition("_")
    return f"{head}_{{{low.strip('{}')}{'q' * num}}}"


def _call_as_latex(text: str, name: str, command: str) -> str:
    for match in reversed(list(re.finditer(rf"(?<![\\A-Za-z]){name}\s*\(", text))):
        depth = 0
        for i in range(match.end() - 1, len(text)):
            depth += (text[i] == "(") - (text[i] == ")")
            if depth == 0:
                inner = text[match.end() : i]
                text = f"{text[: match.start()]}{command}{{{inner}}}{text[i + 1 :]}"
                break
    return text


@lru_cache(maxsize=512)
def parse(text: str) -> Any:
    """The sympy object of a cleaned text, or None if math-verify cannot read it."""
    from latex2sympy2_extended.math_normalization import normalize_latex

    latex = normalize_latex(as_latex(text), _normalization())
    try:
        parsed = _read_latex(latex)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - a border: whatever the parser raises, it could not read it
        return None
    return _with_unit_i(parsed)


@lru_cache(maxsize=1)
def _normalization() -> Any:
    """The parser's tidying, without its dropping of what might be a unit."""
    from latex2sympy2_extended import NormalizationConfig

    return NormalizationConfig(units=False, malformed_operators=True, nits=True, boxed="none")


def _read_latex(latex: str) -> Any:
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from math_verify.parser import should_treat_as_complex

    return latex2sympy(
        latex,
        is_real=not should_treat_as_complex(latex),
        convert_degrees=False,
        normalization_config=None,
        conversion_config=ConversionConfig(lowercase_symbols=False),
    )


def _with_unit_i(parsed: Any) -> Any:
    """With the imaginary unit for the letter i, if that is the only letter of an expression."""
    import sympy

    symbols = parsed.free_symbols if is_scalar(parsed) else ()
    if [str(symbol) for symbol in symbols] != ["i"]:
        return parsed
    return parsed.subs(next(iter(symbols)), sympy.I)


def is_scalar(expression: Any) -> bool:
    """True for an expression that is no matrix, set or relation."""
    import sympy

    matrix = isinstance(expression, (sympy.MatrixExpr, sympy.MatrixBase))
    return isinstance(expression, sympy.Expr) and not matrix
