"""Where the answer of a completion begins, and which letters count as another language."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.rewards.format import Completion, split_completion
from srpo.rewards.language import mixing_share
from tests.growth import assert_linear


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>a b</think>4", "a b", "4"),
        ("\n <think>\na\n</think>\n\n4\n", "a", "4"),
        ("<think></think>4", "", "4"),
        ("<think>a</think><answer>4</answer>", "a", "4"),
        ("<think>a</think> so <answer>3</answer> no <answer> 4 </answer> end", "a", "4"),
        ("<think>a</think><answer>4", "a", "<answer>4"),
    ],
)
def test_tags_once_each_in_order(text: str, thinking: str, answer: str) -> None:
    cut = split_completion(text, prefilled_thinking=False)
    assert cut == Completion(thinking, answer, well_formed=True, has_tags=True)
    assert cut.thinks is bool(thinking)


def test_without_tags_all_of_it_is_the_answer() -> None:
    cut = split_completion(" It is 4. ", prefilled_thinking=False)
    assert cut == Completion("", "It is 4.", well_formed=True, has_tags=False)
    assert not cut.thinks


@pytest.mark.parametrize(
    "text",
    [
        "<think>a",
        "a</think>4",
        "</think><think>4",
        "x<think>a</think>4",
        "<think>a<think>b</think>4",
        "<think>a</think>b</think>4",
        "<think>a</think><think>b</think>4",
    ],
)
def test_malformed_tags_leave_no_answer(text: str) -> None:
    cut = split_completion(text, prefilled_thinking=False)
    assert not cut.well_formed and cut.answer == ""


def test_a_prefilled_completion_begins_inside_the_thinking() -> None:
    cut = split_completion("a</think>4", prefilled_thinking=True)
    assert cut == Completion("a", "4", well_formed=True, has_tags=True)
    for text in ("4", "<think>a</think>4", "a</think>b</think>4", ""):
        assert not split_completion(text, prefilled_thinking=True).well_formed


def test_an_answer_inside_the_thinking_is_not_the_answer() -> None:
    cut = split_completion(r"<think>\boxed{4} <answer>4</answer></think>", prefilled_thinking=False)
    assert cut.answer == ""


@pytest.mark.parametrize(
    "make", [lambda n: "<answer>" * n, lambda n: "<answer></answer" * n + "</answer>"]
)
def test_cutting_takes_linear_time(make: Callable[[int], str]) -> None:
    assert_linear(lambda text: split_completion(text, prefilled_thinking=False), make, 20_000)


@given(st.text(alphabet="<>/thinkaswer \n", max_size=80), st.booleans())
def test_every_text_can_be_cut(text: str, prefilled: bool) -> None:
    cut = split_completion(text, prefilled_thinking=prefilled)
    assert cut.well_formed or cut.answer == ""


@pytest.mark.parametrize(
    ("text", "prompt", "share"),
    [
        ("only english", "What is 2 + 2?", 0.0),
        ("we 得到 4", "What is 2 + 2?", 0.5),  # 2 of 4 letters
        ("привет abc", "abc", 6 / 9),
        ("привет abc", "реши", 0.0),
        ("得到 four", "求 2 + 2", 0.0),  # the prompt's script, and Latin
        ("こたえ 答", "求", 0.0),  # kana and Han count as one
        ("4 + 4 = 8", "x", 0.0),
        ("", "x", 0.0),
        (r"so $\alpha + β$ and \(γδ\) and \[ε\] hold", "x", 0.0),
        ("the angle β", "x", 0.0),  # a Greek letter on its own is a symbol
        ("is λόγος", "x", 5 / 7),  # a Greek word is not
        ("Δx over ℝ is 2πr, 3 µm, 𝑥", "x", 0.0),  # the letters ℝ, µ and 𝑥 are of no script
        ("ᏣᎳᎩ ok", "ⵜⵉⴼ", 3 / 5),  # Cherokee is not Tifinagh
        ("```python\n# 注释\n```\nok", "x", 0.0),
        ("`变量` ok", "x", 0.0),
        ("<think>变</think><answer>o</answer>", "x", 0.5),  # the tags are no text
        ("~~~\n变\n~~~\nok", "x", 0.0),
        ("````\n```\n变\n```\n````\nok", "x", 0.0),
        ("```\n不", "x", 0.0),  # a block that is never closed is code too
        ("ﬁn", "x", 0.0),  # a Latin ligature
    ],
)
def test_share_of_letters_in_other_scripts(text: str, prompt: str, share: float) -> None:
    assert mixing_share(text, prompt) == pytest.approx(share)


@pytest.mark.parametrize(
    ("piece", "share"), [("ab 得 ", 1 / 3), ("$", 0.0), (r"\(", 0.0), ("```", 0.0)]
)
def test_long_texts_take_linear_time(piece: str, share: float) -> None:
    assert mixing_share(piece * 20_001, "abc") == pytest.approx(share)
    assert_linear(lambda text: mixing_share(text, "abc"), lambda n: piece * n, 40_000)
