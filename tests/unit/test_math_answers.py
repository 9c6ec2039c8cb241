"""Which math answers count as right. Each row is a fact that can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.rewards.math.answers import (
    Number,
    bare_gold,
    find_answer,
    find_stated_answer,
    gold_problem,
    joined_boxes,
    last_boxed,
    quick_comparison,
    read_number,
    read_words,
    same_number,
    too_heavy,
)
from tests.growth import assert_linear


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{4}", "4"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{ 7 }", "7"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{5", None),
        (r"\boxed{5} and then \boxed{6", "5"),
        (r"\boxed{ \boxed{5}", "5"),
        (r"\boxed{x = \boxed{5} + 1}", r"x = \boxed{5} + 1"),
        ("} {4} }", None),
        (r"\boxed 5", "5"),
        (r"\\boxed{5}", "5"),
        (r"\beginboxed{5}", "5"),
        (r"\boxed{}", ""),
        ("", None),
    ],
)
def test_the_last_closed_box_counts(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda n: r"\boxed{" * n, 20_000),
        (lambda n: "}" * n, 99_999),
        (lambda n: r"\boxed{" * n + "}" * n, 9_000),
    ],
)
def test_finding_the_box_takes_linear_time(make: Callable[[int], str], size: int) -> None:
    assert_linear(last_boxed, make, size)


NUMBERS = [
    ("4", 4),
    ("-4", -4),
    ("−4", -4),
    ("+0.50", Fraction(1, 2)),
    (".5", Fraction(1, 2)),
    ("5.", 5),
    ("1,234,567.5", Fraction(2469135, 2)),
    ("1{,}234", 1234),
    (r"1\,234", 1234),
    ("10 000", 10000),
    (r"\frac{3}{4}", Fraction(3, 4)),
    (r"\dfrac34", Fraction(3, 4)),
    (r"\frac{-3}{4}", Fraction(-3, 4)),
    (r"-\frac{3}{4}", Fraction(-3, 4)),
    ("3/4", Fraction(3, 4)),
    (r"2\frac{1}{2}", Fraction(5, 2)),
    ("-2 1/2", Fraction(-5, 2)),
    (r"3 \times 10^{4}", 30000),
    (r"2.5\cdot10^{-2}", Fraction(1, 40)),
    ("1.5e3", 1500),
    (r"\$12.50", Fraction(25, 2)),
    ("€7", 7),
    (r"90^\circ", 90),
    ("90°", 90),
    (r"5\text{ cm}", 5),
    (r"5 \mathrm{m}^2", 5),
    ("12 apples", 12),
    ("$42$", 42),
    ("x = 7", 7),
    (r"x_1 = 7", 7),
    ("7.", 7),
    (r"5 \text{ million}", 5_000_000),
    (r"\$1.5 \text{ billion}", 1_500_000_000),
    ("10^{-2}", Fraction(1, 100)),
    (r"0.\overline{3}", Fraction(1, 3)),
    (r"0.1\overline{6}", Fraction(1, 6)),  # 1/10 + 6/90
    ("9.8 m/s^2", Fraction(49, 5)),
    (r"25^\circ\text{C}", 25),
    ("２５", 25),  # full-width digits
    ("4\u200b2", 42),  # a space of no width
    (r"\\frac{1}{2}", Fraction(1, 2)),  # a doubled backslash
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers_are_read_exactly(text: str, value: int | Fraction) -> None:
    number = read_number(text)
    assert number is not None and number.value == value


@pytest.mark.parametrize(
    "text",
    ["", "x", "1/0", r"\frac{1}{0}", "1,23", "1,2,3", "(1,2)", r"\sqrt{2}", "3 or 4", "2 pi", "5 x",
     "1e999", "1.2.3", "--1", "2^3", "1" * 500,
     "5 squared", "5 thirds", "3 is wrong", "5m", r"2\text{ or }3"],
)  # fmt: skip
def test_other_texts_are_no_numbers(text: str) -> None:
    assert read_number(text) is None


def test_a_percent_sign_is_a_unit_or_a_hundredth() -> None:
    percent = read_number(r"50\%")
    assert percent == Number(Fraction(50), percent=True)
    assert quick_comparison("50", r"50\%") and quick_comparison("0.5", "50%")
    assert quick_comparison("50%", r"50\%")
    assert quick_comparison("50%", "0.5%") is False
    assert quick_comparison("500", "50%") is False


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        # 1/3 - 0.333333 = 1/3000000, which is one part in a million of 1/3
        (r"\frac{1}{3}", "0.333333", True),
        (r"\frac{1}{3}", "0.33333", False),
        (r"\frac{2}{3}", "0.6666667", True),
        # 0.125 has finite decimals, so only that will do
        (r"\frac{1}{8}", "0.125", True),
        (r"\frac{1}{8}", "0.1250001", False),
        ("1000000", "1000000.4", False),
        ("12345678901234567890", "12345678901234567891", False),
        ("0.1", r"\frac{1}{10}", True),
        (r"\text{East}", "east", True),
        ("(B)", "B", True),
        ("B", "C", False),
        ("east", "seat", False),
        ("even function", "Even  Function", True),
        ("x", r"\sqrt{2}", None),
        ("ab", "ba", None),  # products: a parser must tell
    ],
)
def test_quick_comparisons(gold: str, answer: str, same: bool | None) -> None:
    assert quick_comparison(gold, answer) is same


def test_words_are_letters_only() -> None:
    assert read_words("3 cats") is None
    assert read_words(r"\text{not defined}") is not None


rationals = st.fractions(max_denominator=10**6)


def decimals(value: Fraction) -> str:
    return f"{float(value):.6f}"


spellings = st.sampled_from(
    [
        lambda v: f"{v.numerator}/{v.denominator}",
        lambda v: rf"\frac{{{v.numerator}}}{{{v.denominator}}}",
        decimals,
        lambda v: rf"{v.numerator}\%",
        lambda v: f"${v.numerator}$",
    ]
)


@given(rationals, rationals, spellings, spellings)
def test_comparing_numbers_is_symmetric_and_reflexive(a, b, spell_a, spell_b) -> None:  # type: ignore[no-untyped-def]  # lambdas
    one, other = read_number(spell_a(a)), read_number(spell_b(b))
    assert one is not None and other is not None
    assert same_number(one, one) and same_number(other, other)
    assert same_number(one, other) == same_number(other, one)


@given(rationals, rationals)
def test_fractions_are_the_same_only_if_equal(a: Fraction, b: Fraction) -> None:
    same = quick_comparison(f"{a.numerator}/{a.denominator}", f"{b.numerator}/{b.denominator}")
    assert same is (a == b)


@given(st.text(max_size=60))
def test_no_text_breaks_the_readers(text: str) -> None:
    read_number(text)
    read_words(text)
    last_boxed("\\boxed{" + text + "}")
    assert quick_comparison(text, text) is not False
    too_heavy(text)
    gold_problem(text)


@pytest.mark.parametrize(
    "text",
    ["9^{9^{9^{9}}}", "10^{10^{10}}", "(123456789)!", "2^{2^{40}}", "7**7**7**7", "3!!!",
     "2^{123456}", r"\sqrt{" * 11, r"\sum_{k=1}^{1000} k", r"\int" * 4, "9 ^ 9 ^ 9",
     "7" * 401, "{" * 26 + "}" * 26, "x" * 1001, r"\binom{1000000}{500000}",
     "&" * 101],
)  # fmt: skip
def test_absurd_answers_reach_no_parser(text: str) -> None:
    assert too_heavy(text)


@pytest.mark.parametrize(
    "text",
    ["2^{10}", "x^{2}+y^{2}", "6!", r"e^{x^{2}}", "(2^3)^2", "10^{100}", r"2^{\frac{1}{2}}",
     "x^5 - x^4 + x^3 - x^2 + x - 1", "2^{2^{10}}", "2004!", "2024^{4046}", r"\sum_{k=1}^{99} k"],
)  # fmt: skip
def test_ordinary_answers_do(text: str) -> None:
    assert too_heavy(text) is None


@pytest.mark.parametrize(
    "answer",
    [None, "", "  ", "@@", "?", r"\boxed{}", "{1", r"\frac{1}{2", "9^{9^{9^{9}}}", "x" * 2000,
     "(1, 2", r"\frac{1}{0}", "1/0", "__import__('os')", "1" * 300_000],
)  # fmt: skip
def test_a_gold_answer_that_cannot_be_graded_is_told(answer: str | None) -> None:
    assert gold_problem(answer)


@pytest.mark.parametrize(
    "answer", ["4", r"\boxed{4}", r"\{1, 2\}", "(B)", r"\infty", "[0, 1)", "]0, 1[", "B)"]
)
def test_a_gold_answer_that_can_be_graded_passes(answer: str) -> None:
    assert gold_problem(answer) is None


@pytest.mark.parametrize(
    "text",
    ["42", "-1/2", r"\frac{1}{2}", "x^2+1", "(1,2)", "B", r"$\frac12$", "x + 1", "B) 4", "5 km",
     r"\{1, 2\}", "sqrt(3)/2", "3 or 4", r"\begin{pmatrix}1\\2\end{pmatrix}", "[0, 1)",
     "12 apples"],
)  # fmt: skip
def test_without_a_box_a_short_bare_answer_is_one(text: str) -> None:
    assert find_answer(f" {text}\n") == text


@pytest.mark.parametrize(
    "text",
    ["The answer is 42.", "41\n42", "", r"\boxed{ }", "4" * 101, "I guess 4", "none", "So x = 4",
     "4 is the answer, or 5, or 6", "?", r"\boxed{4", "...", "1 " * 1000],
)  # fmt: skip
def test_without_a_box_prose_holds_no_answer(text: str) -> None:
    assert find_answer(text) is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{4} is it, not 5", "4"),
        ("The answer is 42.", "42"),
        ("**Final answer:** 42", "42"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("First we add.\n42", "42"),
        (r"Therefore $x \geq 5$ is the solution.", r"x \geq 5"),
        ("So the result is\n\\[\n9\n\\]", "9"),
        ("After 3 steps there are 12 of them left", None),
        ("It is 4 or 5", "4 or 5"),  # one answer, of two parts: right for neither
        ("42 because it must be", "42"),
        ("I do not know.", None),
        ("$1$ and then $2$", "2"),
        (r"it was \boxed{4", None),
        ("The answer is 7.<|im_end|>user 8", "7"),
    ],
)
def test_a_stated_answer_is_found_in_one_place(text: str, answer: str | None) -> None:
    assert find_stated_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [r"\boxed{5}0", r"10\boxed{5}", r"-\boxed{5}", r"\boxed{1}\boxed{000}", r"$x=-\boxed{5}$",
     r"$2\cdot\boxed{5}$", r"$\boxed{5}^2$", r"$\boxed{5}x$", r"$\sqrt{\boxed{5}}$",
     r"$\boxed{5} + 3$"],
)  # fmt: skip
def test_a_box_that_is_cut_out_of_something_is_no_answer(text: str) -> None:
    assert find_answer(text) is None


@pytest.mark.parametrize(
    "text",
    [r"So it is\boxed{5}.", r"**\boxed{5}**", r"$\boxed{5}\text{ cm}$", r"$\boxed{5}^\circ$",
     r"$\boxed{5}$ m", r"costs $5 and is \boxed{5} a day", r"$$x=\boxed{5}$$", "- \\boxed{5}",
     r"The answer:\boxed{5}!", r"$4 \equiv \boxed{5} \pmod{11}$", r"\boxed{5}\%"],
)  # fmt: skip
def test_other_things_around_a_box_do_not_matter(text: str) -> None:
    assert find_answer(text) == "5"


@pytest.mark.parametrize(
    "text", ["The answer is not 42.", "42 is not the answer.", "The answer isn't 42."]
)
def test_what_is_denied_is_not_stated(text: str) -> None:
    assert find_stated_answer(text) is None


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"\boxed{1}, \boxed{2}, \boxed{3}", "1, 2, 3"),
        (r"$\boxed{1}\boxed{2}$", None),
        (r"\boxed{1}0 and \boxed{2}", None),
        (r"$\boxed{1} \quad \text{and} \quad \boxed{2}$", "1, 2"),
        (r"\boxed{1} papers and \boxed{2} bins", "1, 2"),
        (r"\boxed{3}, so it is \boxed{1} or \boxed{2}", "1, 2"),
        (r"\boxed{1} and then \boxed{2}", None),
        (r"\boxed{1}, no, \boxed{2} is wrong, \boxed{3}.", None),
        (r"\boxed{1}", None),
    ],
)
def test_boxes_that_stand_together(text: str, joined: str | None) -> None:
    assert joined_boxes(text) == joined


def test_a_gold_answer_is_taken_out_of_its_boxes() -> None:
    assert bare_gold(r"So it is $\boxed{4}$.") == "4"
    assert bare_gold(r"\(\boxed{1}\) and \(\boxed{-2}\).") == "1, -2"
    assert bare_gold(" 4 ") == "4"
    assert bare_gold(r"\boxed{4") == "4"


def test_a_box_is_found_before_and_after_a_million_characters() -> None:
    assert find_answer(r"\boxed{4}" + "a " * 500_000) == "4"
    assert find_answer("{ " * 500_000 + r"\boxed{4}") == "4"
