"""What counts as the same answer without a parser: the policy of docs/rewards.md, row by row."""

from __future__ import annotations

from fractions import Fraction

import pytest

from srpo.rewards.math.answers import quick_comparison
from srpo.rewards.math.text import clean, key
from srpo.rewards.math.units import Unit, read_unit

SAME = [
    # signs, spacing, style
    (r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})"),
    (r"\frac12", r"\dfrac{1}{2}"),
    (r"\frac{\sqrt2}{2}", r"\tfrac{\sqrt{2}}{2}"),
    ("x²", "x^{2}"),
    (r"\tfrac{1}{2} +\! \frac1{72}", r"\\dfrac{1}{2} +\frac{1}{72}"),
    ("E", r"\mathrm{E}"),
    (r"\mathrm{e}^2", "e^{2}"),
    ("7.", "$7$"),
    # numbers
    ("0.5", r"\frac{1}{2}"),
    ("918.5", r"918\frac{1}{2}"),
    ("1234", "1,234"),
    ("12345678", r"12\,345\,678"),
    ("1500", r"1.5 \times 10^3"),
    ("10%", "10"),
    ("0.335", r"33.5\%"),
    (r"28\%", "28 percent"),
    ("2.74", "2{,}74"),
    ("1000.99", "1000,99"),
    ("0,111", "0.111"),
    ("185", "185\\"),
    # currency, degrees, units
    ("10", r"\$10"),
    ("15000", r"\$15,\!000"),
    ("1000.99", "1,000.99€"),
    ("74", r"74^\circ"),
    ("74°", r"74^{\circ}"),
    ("17", r"17\text{ any text}"),
    ("5 km", "5000 m"),
    ("1 h", "60 minutes"),
    ("9.8 m/s^2", r"9.8\ \mathrm{m/s^2}"),
    ("9.8 m/s^2", "9.8 N/kg"),  # N = kg m/s^2
    (r"15\text{ cm}^2", r"15\ \text{square centimeters}"),
    (r"3\sqrt{2}\text{ cm}", r"3\sqrt{2}\ \mathrm{cm}"),
    # names, approximations, text around
    ("x=2", "2=x"),
    ("2", "y = 2"),
    (r"\frac{1}{3}", r"x = 1/3 \approx 0.333"),
    ("11", r"x \approx 11"),
    ("18", r"\approx 18"),
    ("18", r"\text{approximately } 18"),
    ("25 °C", "25"),
    ("5", r"\text{The answer is } 5"),
    ("74°", r"\angle APC = 74^\circ"),
    ("1", "|AB|=1"),
    ("1", "f(x)=1"),
    ("11", "z = 5+6 = 11"),
    # lists, sets, tuples, intervals
    ("1,2,3", "3, 2, 1"),
    ("1,2", r"1 \text{ and } 2"),
    ("1,2", "x=1 or x=2"),
    ("1,2", "x=1,2"),
    (r"\{1,2\}", "2,1"),
    (r"\pm 2", r"\{-2,2\}"),
    (r"1\pm\sqrt{5}", r"1-\sqrt{5}, 1+\sqrt{5}"),
    ("(1,2)", "1,2"),
    ("(p,q)=(3,2)", "(3,2)"),
    ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
    ("(2,1),(1,2)", "(1,2),(2,1),(1,2)"),  # a solution named twice counts once
    ("a_3 = 2, a_{37} = 19", r"a_{37} = 19, \quad a_3 = 2"),
    ("(0,1)", "]0,1["),
    (r"(2,\infty)", "x>2"),
    ("2<x", "x>2"),
    (r"[-2,7)", r"-2 \le x < 7"),
    (r"x \in [-2,7]", r"-2 \le x \le 7"),
    (r"(-\infty,-8)\cup (8,\infty)", r"(8,\infty) \cup (-\infty,-8)"),
    (r"\mathbb{R}", r"(-\infty,\infty)"),
    # matrices, ratios, bases, choices, words
    (r"\begin{pmatrix}1\\3\end{pmatrix}", r"\left[\begin{array}{c}1 \\ 3\end{array}\right]"),
    ("7:32", "S:T=7:32"),
    ("3:30", "3:30"),
    ("1011_2", "1011_{2}"),
    ("11_{10}", "11"),
    (r"\text{(B)}", "B"),
    ("B", "B) 4"),
    ("(B)", "B. the second one"),
    (r"\text{Even}", "even"),
    (r"1,2,\ldots,n", r"1, 2, \ldots, n"),
    ("Yes", "yes"),
    ("5 apples", r"5\text{ Apple}"),
    ("5 mph", "5 miles per hour"),
    ("|AB|=5", "AB=5"),
    ("f(x)=5", "f=5"),
    (r"f^{-1}(x)=\frac{x-3}{2}", r"\frac{x-3}{2}"),
    ("5", "2+3=5"),
    ("B", "Option B"),
    ("(B)", "Answer: B"),
    ("42", "**42**"),
    ("42", r"\textcolor{red}{42}"),
    (r"0.\bar3", "1/3"),
    (r"20^\circ\text{C}", r"20^\circ C"),
    ("(1011)_2", "1011_2"),
    (r"\mathbb{R}^2", r"\mathbb R^2"),
    (r"\frac xy", r"\frac{x}{y}"),
]  # fmt: skip

DIFFERENT = [
    ("5", "5.001"),
    ("99999999999", "100000000000"),
    ("1000000", "1000000.4"),
    ("32349", "32, 349"),
    ("12", "(1,2)"),
    ("5 km", "5 m"),
    ("5 kg", "5 m"),
    (r"9.8\ \mathrm{m/s^2}", "9.8 m/s"),
    (r"\$5", "5€"),
    ("12:00", "1:00"),
    ("1:2", "2:1"),
    ("1011_2", "1011_3"),
    ("1011_2", "1011"),
    ("1011_2", "11"),  # its value, but not its digits
    ("(1,2)", "(2,1)"),
    ("[0,1)", "(0,1)"),
    ("(1,2,3)", "(1,2)"),
    ("1,2", "1"),
    (r"\{1,2\}", r"\{1,3\}"),
    (r"\pm 2", "2"),
    ("x=1,y=2", "x=2,y=1"),
    ("x=1,y=2", "2,1"),
    ("x=2", "y=2"),
    ("x>2", "x<2"),
    (r"x>2", r"x\ge 2"),
    ("2x + z = 1", "1"),
    ("7 = 11a+c", "11a+c"),
    (r"\infty", r"-\infty"),
    ("3", r"\infty"),
    ("B", "C) B"),
    ("B", r"\text{D}"),
    ("odd", r"\text{oddd}"),
    (r"1,2,\ldots,n", "1,2,n"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    # a list is no decimal; one choice is not several; a value needs a true calculation
    ("1,2", "1.2"),
    ("B", "(B), (C)"),
    ("5", "2+2=5"),
    ("5", "6=5"),
    ("(1,2,3)", "[1,2,3]"),
    (r"\{\{1\}\}", r"\{1\}"),
    (r"\{x\}", "x"),
    (r"\{\emptyset\}", r"\emptyset"),
    ("5 km", "5 apples"),
    # words after a number
    ("5 AM", "5 PM"),
    (r"300\text{ BC}", r"300\text{ AD}"),
    ("5 miles east", "5 miles west"),
    (r"5\text{ profit}", r"5\text{ loss}"),
    (r"5\%\text{ increase}", r"5\%\text{ decrease}"),
    (r"3\sqrt{2}\text{ gain}", r"3\sqrt{2}\text{ loss}"),
    ("B", "Option C"),
    ("42", "**41**"),
    (r"0.\bar3", "0.3"),
    (r"20^\circ\text{C}", r"20^\circ F"),
    # names
    ("P(A)=1/2", "P(B)=1/2"),
    ("f(2)=5", "f(3)=5"),
    ("AB=5", "BC=5"),
    ("(x,y)=(1,2)", "(y,x)=(1,2)"),
    ("f(1)=2,f(2)=3", "f(1)=3,f(2)=2"),
    (r"\frac xy=3", r"\frac yx=3"),
    ("x:y=3:4", "y:x=3:4"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_answer(one: str, other: str) -> None:
    assert quick_comparison(one, other) is True
    assert quick_comparison(other, one) is True


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_answer(one: str, other: str) -> None:
    assert quick_comparison(one, other) is False
    assert quick_comparison(other, one) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [("x+1", "1+x"), (r"\sqrt{4}", "2"), ("5 m", "5"), ("5m", "5"), ("-x>-1", "x<1"),
     (r"[1,3]", r"[1,2]\cup[2,3]")],
)  # fmt: skip
def test_what_takes_a_parser_is_left_open(one: str, other: str) -> None:
    assert quick_comparison(one, other) is None and quick_comparison(other, one) is None


@pytest.mark.parametrize(
    ("text", "factor", "bases"),
    [
        ("km", 1000, (("m", 1),)),
        ("cm^2", Fraction(1, 10_000), (("m", 2),)),
        ("square cm", Fraction(1, 10_000), (("m", 2),)),
        ("meters per second squared", 1, (("m", 1), ("s", -2))),
        ("kg m/s^2", 1000, (("g", 1), ("m", 1), ("s", -2))),
        ("N", 1000, (("g", 1), ("m", 1), ("s", -2))),
        ("km/h", Fraction(5, 18), (("m", 1), ("s", -1))),  # 1000 m in 3600 s
        ("J/(mol K)", 1000, (("K", -1), ("g", 1), ("m", 2), ("mol", -1), ("s", -2))),
        ("m s^{-1}", 1, (("m", 1), ("s", -1))),
        ("µm", Fraction(1, 10**6), (("m", 1),)),
        ("inches", Fraction(254, 10_000), (("m", 1),)),
    ],
)
def test_units_are_read_exactly(
    text: str, factor: int | Fraction, bases: tuple[tuple[str, int], ...]
) -> None:
    assert read_unit(text) == Unit(Fraction(factor), bases)


@pytest.mark.parametrize("text", ["apples", "", "units", "m^", "^2", "m/s/??"])
def test_other_words_are_no_units(text: str) -> None:
    assert read_unit(text) is None


def test_cleaning_twice_changes_nothing_more() -> None:
    for text in (one for pair in SAME for one in pair):
        assert key(clean(clean(text))) == key(clean(text))
