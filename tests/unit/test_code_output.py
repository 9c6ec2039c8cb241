"""When two outputs of a program are the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.rewards.code.output import CHECKERS, checker_problem, same_stdout
from srpo.rewards.code.values import same_value
from tests.growth import assert_linear


@pytest.mark.parametrize(
    ("expected", "stdout", "same"),
    [
        ("3\n", "3", True),
        ("1 2\n", " 1\t2 \r\n\n", True),
        ("\n\n3\n", "3\n", True),
        ("1 2\n", "1\n2\n", False),
        # numbers with a point or an exponent: within 1e-6, relative or absolute
        ("0.3\n", "0.30\n", True),
        ("0.333333", "0.3333333333", True),  # off by 3.3e-7
        ("0.333333", "0.333335", False),  # off by 2e-6
        ("2000000.0", "2000001.0", True),  # off by 5e-7 of its size
        ("2000000.0", "2000003.0", False),
        ("0.0", "0.0000009", True),
        ("1.0", "1", True),
        (".5", "5e-1", True),
        ("1e3", "1000", True),
        ("-0.0", "0", True),
        # integers are exact, and a decimal is not one
        ("1000000000001", "1000000000002", False),
        ("3", "3.0", True),  # as C++ and Python print one float
        ("1000000000001", "1000000000001.00", True),
        ("1000000000001", "1000000000001.01", False),
        ("3", "3.00000001", False),
        ("3", ".3", False),
        ("3", "3e0", False),
        ("-0", "0.0", False),
        ("3", "03", False),
        ("3", "+3", False),
        # what float() would take, and a person would not
        ("nan", "nan", True),
        ("nan", "0.0", False),
        ("1.0", "nan", False),
        ("0.5", "infinity", False),
        ("1e400", "1e401", False),
        ("1e400", "inf", False),
        ("1e308", "1e400", False),
        ("1000.0", "1_000.0", False),
        ("16.0", "0x10", False),
        ("3.0", "３.0", False),  # a full-width digit
        ("1.5", "1,5", False),
        ("1.2.3", "1.2.30", False),
        ("0." + "3" * 500, "0." + "3" * 499, False),  # too long to be read as a number
        # nothing is only the same as nothing
        ("", "\n \n", True),
        ("", "x", False),
        (" \n", "", True),
        ("0.0", "", False),
    ],
)
def test_lines_of_tokens(expected: str, stdout: str, same: bool) -> None:
    assert same_stdout(expected, stdout) is same


@pytest.mark.parametrize(
    ("checker", "expected", "stdout", "same"),
    [
        ("tokens", "1 2\n", "1\n2\n", True),
        ("tokens", "1 2\n", "2 1\n", False),
        ("tokens", "0.5", "0.50", True),
        ("exact", "a  b\n", "a  b", True),
        ("exact", "a  b\n", "a b", False),
        ("exact", "a\n", "a\n\n", False),
        ("unordered_lines", "a b\nc\n", "c\n\na  b", True),
        ("unordered_lines", "a\na\nb\n", "a\nb\nb\n", False),
        ("unordered_tokens", "1 2 2", "2\n1 2", True),
        ("unordered_tokens", "1 2 2", "1 1 2", False),
        ("case_insensitive", "Yes\n", "YES", True),
        ("case_insensitive", "Yes\n", "no", False),
        ("float:1e-2", "3 4.001", "3.009 4", True),
        ("float:1e-2", "1", "1.02", False),
        ("float:0.01", "yes 1", "no 1", False),
        ("float:1e-2", "1", "nan", False),
    ],
)
def test_checkers_by_name(checker: str, expected: str, stdout: str, same: bool) -> None:
    assert same_stdout(expected, stdout, checker) is same


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("token", ["'token'", "did you mean 'tokens'?"]),
        ("case-insensitive", ["did you mean 'case_insensitive'?"]),
        ("float:", ["needs a tolerance"]),
        ("float:nan", ["needs a tolerance"]),
        ("float:2", ["between 0 and 1"]),
        ("zzz", ["known:", "unordered_lines"]),
        ("", ["known:"]),
    ],
)
def test_an_unknown_checker_names_the_nearest(name: str, parts: list[str]) -> None:
    problem = checker_problem(name)
    assert all(part in problem for part in parts)
    with pytest.raises(ValueError, match="checker"):
        same_stdout("a", "a", name)


@given(st.text(max_size=40), st.sampled_from((*CHECKERS, "float:1e-6")))
def test_every_output_is_the_same_as_itself(text: str, checker: str) -> None:
    assert same_stdout(text, text, checker)


@given(st.text(max_size=40), st.sampled_from(("lines", "tokens", "unordered_tokens")))
def test_nothing_expected_passes_for_nothing_alone(text: str, checker: str) -> None:
    assert same_stdout("", text, checker) is (not text.split())


def test_what_a_peer_let_pass_is_wrong() -> None:
    # ROLL: "User" in the output made it a search for the expected text; nothing expected passed
    counted = "User 0 " + " ".join(map(str, range(100)))
    assert not same_stdout("42", counted)
    assert not same_stdout("", "anything")
    assert not same_stdout("42", "the answer is 42")


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda n: ("1.5 " * n, "1.50 " * n), 10_000),
        (lambda n: ("\n" * n + "x", "x"), 100_000),
        (lambda n: ("9" * n, "1."), 200_000),
    ],
    ids=["numbers", "lines", "digits"],
)
@pytest.mark.parametrize("checker", [*CHECKERS, "float:1e-6"])
def test_long_outputs_are_compared_in_linear_time(
    checker: str, make: Callable[[int], tuple[str, str]], size: int
) -> None:
    assert_linear(lambda pair: same_stdout(*pair, checker), make, size)


# -- returned values -----------------------------------------------------------------------------


def nested(depth: int, end: object) -> object:
    made = end
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("expected", "value", "same"),
    [
        (nested(50_000, 1), nested(50_000, 1), True),
        (nested(50_000, 1), nested(50_000, 2), False),
        (10**12 + 1, 1e12, False),  # an integer is exact
        (2, 2.0, True),
        (3, 3.0000000001, False),
        (0.5, 0.5 + 1e-12, True),
        ({"1": 0}, {10**5000: 0}, False),  # Python will not write an integer so long
        ({"True": 1}, {True: 1}, False),
        ({"1": 1, "2": 2}, {2: 2, 1: 1}, True),
        ({"1": 1, "2": 2}, {1: 1, "1": 1}, False),
        ({}, [], False),
        ([], (), True),
        (None, False, False),
        ("1", b"1", False),
    ],
)
def test_values(expected: object, value: object, same: bool) -> None:
    assert same_value(expected, value) is same


def test_keys_that_collide_are_not_put_together() -> None:
    # all hash to 0, so that a dictionary of them takes quadratic time to build
    colliding = {str(i): 0 for i in range(100)}
    hostile = {key * (2**61 - 1): 0 for key in range(100)}
    assert not same_value(colliding, hostile)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=20,
    )
)
def test_every_value_is_the_same_as_itself(value: object) -> None:
    assert same_value(value, value)
