"""The soft penalty of DAPO, by its formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.rewards.overlong import overlong_penalty


@pytest.mark.parametrize(
    ("length", "penalty"),
    [
        # arXiv 2503.14476: L_max 20480, L_cache 4096, so free up to 16384 tokens
        (0, 0.0),
        (16384, 0.0),
        (16385, -1 / 4096),
        (18432, -0.5),  # (16384 - 18432) / 4096
        (20479, -4095 / 4096),
        (20480, -1.0),
        (30000, -1.0),
    ],
)
def test_the_penalty_of_the_papers_lengths(length: int, penalty: float) -> None:
    assert overlong_penalty(length, 20480, 4096) == pytest.approx(penalty)


def test_without_a_buffer_only_what_is_too_long_is_punished() -> None:
    assert [overlong_penalty(n, 10, 0) for n in (9, 10, 11)] == [0.0, 0.0, -1.0]


@pytest.mark.parametrize("buffer", [-1, 11])
def test_a_buffer_has_to_fit(buffer: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        overlong_penalty(5, 10, buffer)


@given(st.integers(0, 300), st.integers(1, 200), st.data())
def test_longer_is_never_better(length: int, limit: int, data: st.DataObject) -> None:
    buffer = data.draw(st.integers(0, limit))
    shorter, longer = (overlong_penalty(n, limit, buffer) for n in (length, length + 1))
    assert -1.0 <= longer <= shorter <= 0.0
