"""A bounded run of every fuzz target: its seeds, the seeds damaged, and arbitrary bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed in which a piece is replaced."""
    seed = draw(st.sampled_from(seeds))
    start = draw(st.integers(0, len(seed)))
    end = draw(st.integers(start, len(seed)))
    return seed[:start] + draw(st.binary(max_size=8)) + seed[end:]


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_keep_the_promises(name: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode) | damaged(SEEDS[name]))
    def run(data: bytes) -> None:
        assert TARGETS[name](data) in (True, False)  # whatever they are, it comes to an end

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_get_through_and_rubbish_does_not(name: str) -> None:
    assert [seed for seed in SEEDS[name] if not TARGETS[name](seed)] == []
    assert not TARGETS[name](b"\xff\0")


def test_every_target_has_seeds() -> None:
    assert SEEDS.keys() == TARGETS.keys() and all(SEEDS.values())
