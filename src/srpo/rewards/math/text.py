"""One way of writing a math answer: signs, spacing, delimiters and synonyms out of the way.

Nothing here changes what an answer means. Every pattern is matched in time linear in the text,
and callers cap the text at `MAX_ANSWER_CHARS` first.
"""

from __future__ import annotations

import re
import unicodedata

MAX_ANSWER_CHARS = 1000
CURRENCY = "¤"  # stands for an amount of dollars in cleaned text

_SIGNS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ",
    "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "，": ",", "（": "(",
    "）": ")", "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "°": "°", "º": "°", "≤": r"\le ",
    "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≦": r"\le ", "≧": r"\ge ",
    "≠": r"\ne ", "≈": r"\approx ", "％": "%",
    "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}", "′": "'", "’": "'", "⟨": r"\langle ", "⟩": r"\rangle ",
    "⁰": "^{0}", "¹": "^{1}", "²": "^{2}", "³": "^{3}", "⁴": "^{4}", "⁵": "^{5}", "⁶": "^{6}",
    "⁷": "^{7}", "⁸": "^{8}", "⁹": "^{9}", "⁻": "-", "₀": "_{0}", "₁": "_{1}", "₂": "_{2}",
    "₃": "_{3}", "₄": "_{4}", "₅": "_{5}", "₆": "_{6}", "₇": "_{7}", "₈": "_{8}", "₉": "_{9}",
    # invisible: zero width and direction marks, soft hyphen
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0x2061, 0x2062,
                     0x2063, 0x2064, 0xFEFF, 0xAD), ""),
})  # fmt: skip
_CODE_SIGNS = (
    ("**", "^"), ("<=", r"\le "), (">=", r"\ge "), ("!=", r"\ne "),
)  # fmt: skip
_HAS_CODE = re.compile(r"\*\*|[<>!]=")

_SYNONYMS = {
    "leq": r"\le ", "leqslant": r"\le ", "geq": r"\ge ", "geqslant": r"\ge ", "neq": r"\ne ",
    "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]",
    "lparen": "(", "rparen": ")", "infin": r"\infty ", "degree": "°", "degrees": "°",
    "varnothing": r"\emptyset ", "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac",
    "tbinom": r"\binom", "dbinom": r"\binom", "simeq": r"\approx ", "thickapprox": r"\approx ",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "prime": "'", "colon": ":",
    "ast": "*", "land": r"\text{and}", "lor": r"\text{or}", "bmod": r"\mod ",
    "R": r"\mathbb{R}", "reals": r"\mathbb{R}", "notin": r"\not\in ",
    # spacing, sizes and styles
    **dict.fromkeys(("left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr",
                     "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr", "displaystyle",
                     "textstyle", "scriptstyle", "limits", "nolimits", "nobreak"), ""),
    **dict.fromkeys(("quad", "qquad", "enspace", "thinspace", "space"), " "),
    # texts
    **dict.fromkeys(("textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox",
                     "hbox", "mathrm", "mathbf", "mathit", "mathsf", "boldsymbol", "bf", "rm",
                     "it", "operatorname"), r"\text"),
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_STUCK_QUAD = re.compile(r"\\(?:q?quad)(?=[a-z])")
_OVER_ESCAPED = re.compile(r"\\\\(?=[A-Za-z{}%$!,;:])")
_THOUSANDS_TEX = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,|\\!)\s*(?=\d{3}(?!\d))")
_THIN = re.compile(r"(?<!\\)\\[,!;:> \n]")
_DECIMAL_COMMA = re.compile(r"(?<=\d)\{,\}(?=\d)")
_BLACKBOARD = re.compile(r"\\mathbb\s*([A-Z])(?![A-Za-z])")
_HAS_SIGN = re.compile(r"\\[^A-Za-z]|\{,\}|(?:left|right)\s*\.")
_INVISIBLE_DELIMITER = re.compile(r"\\(?:left|right)\s*\.")
_DEGREES = re.compile(r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\}|°|\{\s*°\s*\})")
_FRAC_DIGITS = re.compile(r"\\frac(?:\s*(?=\d)|\s+)(\w)\s*(\w)")
_FRAC_DIGIT_GROUP = re.compile(r"\\frac\s*(\d)\s*\{")
_FRAC_GROUP_DIGIT = re.compile(r"(\\frac\s*\{[^{}\\]{0,60}\})\s*(\d)")
_FRAC_SPACES = re.compile(r"\\frac\s+\{")
_BINOM_DIGITS = re.compile(r"\\binom\s*(\d)\s*(\d)")
_PERIOD_DIGIT = re.compile(r"\\(bar|overline|dot)\s*(\d)")
_COLORED = re.compile(r"\\(?:textcolor|color)\s*\{[a-zA-Z]{1,20}\}")
_STARS = re.compile(r"\s*(\*\*|`|\*)([^*`]{1,200})\1\s*")
_SQRT_DIGIT = re.compile(r"\\sqrt\s*(\d)")
_ONE_LETTER = re.compile(r"\\text\s*\{\s*([ei])\s*\}")  # the numbers e and i
_FUNCTION = re.compile(
    r"\\text\s*\{\s*((?:arc|a)?(?:sin|cos|tan|cot|sec|csc)h?|log|ln|exp|gcd|lcm|max|min|det)\s*\}"
)
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_PERCENT = re.compile(r"\\?%|(?<=[\d}\s{])\\text\{\s*(?:percent(?:age)?|pct)\s*\}"
                      r"|(?<=[\d}\s])(?:percent(?:age)?|pct)(?![A-Za-z])")  # fmt: skip
_SIMPLE = re.compile(r"[-+]?(?:[0-9/.]{1,400}|[A-Za-z]{1,40})")
_SPACES = re.compile(r"\s+")
_LONE_DOLLAR = re.compile(r"\$\s*(?=[\d.])")
_TRAILING = " .,;:\\"


def clean(text: str) -> str:
    r"""The answer as all others are written.

    >>> clean(r"$\left( \dfrac12 ,\, 3^\circ \right).$")
    '( \\frac{1}{2} , 3° )'
    """
    text = text.strip()
    if _SIMPLE.fullmatch(text):
        return text.rstrip(_TRAILING)
    if not text.isascii():
        text = _plain_unicode(text)
    if text[:1] in ("*", "`") and (marked := _STARS.fullmatch(text)):
        text = marked[2].strip()
    if _HAS_CODE.search(text):
        for written, meant in _CODE_SIGNS:
            text = text.replace(written, meant)
    if "\\" in text or "°" in text:
        text = _plain_latex(text)
    if "$" in text:
        text = _without_dollars(text)
    if "{,}" in text:
        text = _DECIMAL_COMMA.sub(".", _THOUSANDS_TEX.sub("", text))
    if "%" in text or "pct" in text or "percent" in text:
        text = _PERCENT.sub("%", text)
    text = _SPACES.sub(" ", text.replace("~", " "))
    return text.strip().rstrip(_TRAILING).lstrip(" :=").lstrip()


def _plain_unicode(text: str) -> str:
    text = text.translate(_SIGNS)
    return text if text.isascii() else unicodedata.normalize("NFKC", text)[: 2 * MAX_ANSWER_CHARS]


def _plain_latex(text: str) -> str:
    if r"\begin" not in text:
        text = _OVER_ESCAPED.sub(r"\\", text)
    if "quad" in text:
        text = _STUCK_QUAD.sub(" ", text)
    if _HAS_SIGN.search(text):
        text = _INVISIBLE_DELIMITER.sub("", _THOUSANDS_TEX.sub("", text))
        text = _DELIMITERS.sub(" ", _THIN.sub(" ", text))
    if "circ" in text or "°" in text:
        text = _DEGREES.sub("°", text)
    text = _COMMAND.sub(_synonym, text)
    if r"\mathbb" in text:
        text = _BLACKBOARD.sub(r"\\mathbb{\1}", text)
    if r"\text" in text:
        text = _ONE_LETTER.sub(r"{\1}", _FUNCTION.sub(r"\\\1 ", text))
    text = _PERIOD_DIGIT.sub(r"\\\1{\2}", _BINOM_DIGITS.sub(r"\\binom{\1}{\2}", text))
    if "color" in text:
        text = _COLORED.sub("", text)
    if r"\frac" in text:
        text = _FRAC_DIGITS.sub(r"\\frac{\1}{\2}", _FRAC_SPACES.sub(r"\\frac{", text))
        text = _FRAC_DIGIT_GROUP.sub(r"\\frac{\1}{", text)
        text = _FRAC_GROUP_DIGIT.sub(r"\1{\2}", text)
    return _SQRT_DIGIT.sub(r"\\sqrt{\1}", text) if r"\sqrt" in text else text


def _synonym(match: re.Match[str]) -> str:
    return _SYNONYMS.get(match[1], match[0])


def _without_dollars(text: str) -> str:
    r"""Without the delimiters of formulas; `\$`, and a `$` without a partner, is a currency."""
    text = text.replace(r"\$", CURRENCY)
    if text.count("$") == 1:
        text = _LONE_DOLLAR.sub(CURRENCY, text)
        if text.endswith("$") and text[:-1].rstrip()[-1:].isdigit():
            return text[:-1] + CURRENCY
    return text.replace("$", " ")


_LOOSE = re.compile(r"(?<!\d) | (?!\d)")
_TEXT_GROUP = re.compile(r"\\text\s*\{([^{}]*)\}")
_BRACED_ATOM = re.compile(r"\{([A-Za-z0-9])\}")


def key(cleaned: str) -> str:
    """What is left of a cleaned answer without spaces: equal keys are equal answers."""
    if "\\" not in cleaned and " " not in cleaned and "{" not in cleaned:
        return cleaned
    text = _TEXT_GROUP.sub(r"\1", cleaned) if r"\text" in cleaned else cleaned
    text = _BRACED_ATOM.sub(r"\1", text).replace(r"\cdot", "*").replace(r"\times", "*")
    return _LOOSE.sub("", _SPACES.sub(" ", text.strip())) if " " in text else text


def without_text(cleaned: str) -> str:
    r"""The cleaned answer with the contents of its \text{} groups in their place."""
    return _SPACES.sub(" ", _TEXT_GROUP.sub(r" \1 ", cleaned)).strip()


def is_balanced(text: str) -> bool:
    """True if round, square and curly brackets close as often as they open, never before.

    Kinds may mix, as in the interval [0, 1).
    """
    depth = 0
    for char in text:
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


def split_at_top(text: str, separators: re.Pattern[str]) -> list[str]:
    """The pieces between separators that stand outside of all brackets."""
    pieces: list[str] = []
    depth = start = position = 0
    matches = separators.finditer(text)
    for match in matches:
        for char in text[position : match.start()]:
            if char in "([{":
                depth += 1
            elif char in ")]}":
                depth -= 1
        position = match.start()
        if depth == 0:
            pieces.append(text[start : match.start()])
            start = position = match.end()
    pieces.append(text[start:])
    return pieces
