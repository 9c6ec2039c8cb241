"""The codec and the frames between trusted and untrusted processes."""

from __future__ import annotations

import collections
import enum
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.sandbox.channel import encoding
from srpo.sandbox.channel.decoding import Decoder, MalformedError, Record, decode
from srpo.sandbox.channel.encoding import (
    COUNT,
    MAX_DEPTH,
    Encoder,
    NotPlainError,
    Shared,
    TooLargeError,
    encode,
)
from srpo.sandbox.channel.peer import ChannelClosedError, ChannelTimeoutError, Frames, describe

MIB = 1 << 20

# --- values that cross ------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(1 << 5000), max_value=1 << 5000),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False, places=3),
)
texts = st.text(st.characters(exclude_categories=())) | st.binary()
moments = st.datetimes() | st.dates() | st.times() | st.timedeltas()
hashable = st.recursive(
    st.none() | st.booleans() | numbers | texts | moments,
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)
values = st.recursive(
    hashable | st.binary().map(bytearray) | st.builds(range, st.integers(), st.integers()),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.lists(inner, max_size=5).map(deque)
        | st.sets(hashable, max_size=5)
        | st.dictionaries(hashable, inner, max_size=5)
    ),
    max_leaves=15,
)


def exactly(value: Any) -> Any:
    """A picture of a value in which types, signs of zero and NaN can be compared."""
    if isinstance(value, list | tuple | deque):
        return type(value), [exactly(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(exactly(item)) for item in value)
    if isinstance(value, dict):
        return dict, [(exactly(key), exactly(item)) for key, item in value.items()]
    return type(value), repr(value)


@given(values)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert exactly(decode(encode(value, MIB))) == exactly(value)


@given(values, st.data())
def test_a_part_of_a_value_is_no_value(value: object, data: st.DataObject) -> None:
    whole = encode(value, MIB)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedError):
        decode(whole[:cut])
    with pytest.raises(MalformedError, match="more than one"):
        decode(whole + b"N")


@given(values, st.data())
def test_a_damaged_value_is_another_value_or_malformed(value: object, data: st.DataObject) -> None:
    damaged = bytearray(encode(value, MIB))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255) | st.sampled_from(b"bgifsyYljtnqSzdRQDwrTHLE*"))
    try:
        decoded = decode(bytes(damaged))
    except MalformedError:
        return
    assert exactly(decode(encode(decoded, MIB))) == exactly(decoded)


@given(st.binary(max_size=200))
def test_noise_is_malformed_or_a_value(noise: bytes) -> None:
    try:
        decoded = decode(noise)
    except MalformedError:
        return
    assert exactly(decode(encode(decoded, MIB))) == exactly(decoded)


class Sly(int):
    def __index__(self) -> int:
        return 3

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class SlyText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "right"

    def encode(self, *args: Any) -> bytes:
        return b"right"


class SlyList(list[int]):
    def __iter__(self) -> Iterator[int]:
        return iter([3])

    def __len__(self) -> int:
        return 1


class SlyDict(dict[str, int]):
    def items(self) -> Any:
        return [("right", 3)]


class Pair(NamedTuple):
    x: int
    y: Any


class Colour(enum.IntEnum):
    RED = 7


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Sly(7), 7),
        (SlyText("wrong"), "wrong"),
        (SlyList([1, 2]), [1, 2]),
        (SlyDict(a=1), {"a": 1}),
        (Colour.RED, 7),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (Pair(1, 2), (1, 2)),
    ],
)
def test_a_sub_class_crosses_as_the_plain_value_it_carries(value: object, plain: object) -> None:
    assert exactly(decode(encode(value, MIB))) == exactly(plain)


@pytest.mark.parametrize(
    "value",
    [object(), print, [lambda: 0], {1: iter(())}, Decimal("1e999999"), ..., {frozenset({print})}],
)
def test_other_values_are_not_plain(value: object) -> None:
    with pytest.raises(NotPlainError):
        encode(value, MIB)


def test_depth_and_size_are_limited() -> None:
    deep: list[object] = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert decode(encode(deep, MIB)) == deep
    with pytest.raises(NotPlainError, match="deep"):
        encode([deep], MIB)
    row: list[object] = [0] * 10
    for _ in range(9):
        row = [row] * 10  # a billion items in ten lists
    for huge in (row, "x" * 101, b"x" * 101, [0] * 101, 1 << 900, range(1 << 900)):
        with pytest.raises(TooLargeError):
            encode(huge, 100)
    with pytest.raises(TooLargeError):
        encode(1 << encoding.MAX_INT_BITS, MIB)


# --- hostile bytes ----------------------------------------------------------------------------


def node(letter: bytes, content: bytes) -> bytes:
    return letter + COUNT.pack(len(content)) + content


def block(*nodes: bytes) -> bytes:
    return b"*" + COUNT.pack(len(nodes)) + b"".join(nodes)


SAME_HASH = block(*(encode(n * sys.hash_info.modulus, MIB) for n in range(1, 20_000)))


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"?",
        b"l*\xff\xff\xff\xff",
        b"lq\xff\xff\xff\xff" + bytes(64),
        b"y\xff\xff\xff\xff",
        node(b"s", b"\xff"),
        node(b"i", b"\0"),
        node(b"i", bytes(1 << 18)),
        node(b"D", b"1E+999999999"),
        node(b"D", b"1_0"),
        node(b"D", b"sNaN"),
        node(b"D", b"9" * 5001),
        b"Q" + encode(1, MIB) + encode(0, MIB),
        b"Q" + encode(1 << 70_000, MIB) + encode(3, MIB),
        b"R" + encode(0, MIB) * 3,
        b"S" + block(b"l" + block()),
        b"z" + block(b"S" + block()),
        b"dd" + block(b"N", b"1") + block(b"N"),
        b"dd" + block(b"1", encode(1, MIB)) + block(b"N", b"N"),
        b"dc" + block() + block(),
        b"d?" + block() + block(),
        b"n" + block(encode("x", MIB)) + block(b"N"),
        b"q" + encode(-1, MIB) + block(),
        b"wa" + block(encode(0, MIB)),
        b"wb" + encode([9999, 13, 1], MIB)[1:],
        b"w?" + block(),
        b"r\0\0\0\0",
        b"T" + COUNT.pack(3) + b"int",
        b"H" + bytes(8),
        b"l*\0\0\0\1" * 200 + b"N",
        b"l*\0\0\0\1" * 100_000 + b"N",
        b"S" + SAME_HASH,
        b"dd" + SAME_HASH + SAME_HASH,
    ],
    ids=lambda forged: str(forged[:12]),
)
def test_forged_bytes_are_malformed_at_once(forged: bytes) -> None:
    started_s = time.thread_time()
    with pytest.raises(MalformedError):
        decode(forged)
    assert time.thread_time() - started_s < 1  # 0.02 at most


def test_a_range_stays_a_range() -> None:
    assert decode(encode(range(10**30), MIB)) == range(10**30)


# --- arguments that are changed ---------------------------------------------------------------


def passed_on(value: object) -> tuple[Any, Shared, Shared]:
    """A value as the callee gets it, and the containers that both sides have numbered."""
    mine, theirs = Shared(), Shared()
    encoder = Encoder(MIB, shared=mine, number_new=True)
    encoder.add(value)
    decoder = Decoder(bytes(encoder.data), shared=theirs, number_new=True)
    return decoder.value(), mine, theirs


def test_a_list_that_is_passed_twice_is_one_list_there() -> None:
    row = [0]
    (first, second, grid), mine, theirs = passed_on((row, row, [row, {"a": row}]))
    assert first is second and grid[0] is first and grid[1]["a"] is first
    assert [type(c) for c in mine.containers] == [type(c) for c in theirs.containers]
    assert len(mine.containers) == 3


def test_a_list_that_holds_itself_can_be_passed() -> None:
    ring: list[object] = []
    ring.append(ring)
    there, _, _ = passed_on(ring)
    assert there[0] is there


def test_a_named_tuple_keeps_its_names_where_objects_may_cross() -> None:
    encoder = Encoder(MIB, export=lambda value: b"N")
    encoder.add(Pair(1, [2]))
    record: Any = Decoder(bytes(encoder.data), resolve=lambda tag, decoder: None).value()
    assert type(record) is Record and tuple(record) == (1, [2]) and record.y == [2]
    assert record._asdict() == {"x": 1, "y": [2]}
    with pytest.raises(AttributeError):
        _ = record.z


def test_an_exception_is_described_without_its_own_methods() -> None:
    class LoudError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert describe(LoudError("a", 2, object())) == "LoudError: a: 2"
    assert describe(ValueError(10**10_000)) == "ValueError"
    assert len(describe(ValueError("x" * 1000))) == 200


# --- frames -----------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Ends = tuple[socket.socket, socket.socket]


def test_frames_arrive_one_by_one(ends: Ends) -> None:
    ours, theirs = (Frames(end.fileno(), 100, timed=True) for end in ends)
    ours.send(b"a")
    ours.send(b"bc")
    assert theirs.receive(time.monotonic() + 5) == b"a"
    assert theirs.receive(time.monotonic() + 5) == b"bc"


@pytest.mark.parametrize("length", [0, 101, (1 << 32) - 1])
def test_a_frame_of_a_wrong_length_is_malformed(ends: Ends, length: int) -> None:
    ends[1].send(COUNT.pack(length))
    with pytest.raises(MalformedError, match="length"):
        Frames(ends[0].fileno(), 100, timed=True).receive(time.monotonic() + 5)


@pytest.mark.parametrize("sent", [b"", b"\0\0", COUNT.pack(3) + b"ab"])
def test_an_end_in_the_middle_of_a_frame_is_an_end(ends: Ends, sent: bytes) -> None:
    ends[1].send(sent)
    ends[1].close()
    with pytest.raises(ChannelClosedError):
        Frames(ends[0].fileno(), 100, timed=True).receive(time.monotonic() + 5)


def test_a_byte_now_and_then_does_not_move_the_deadline(ends: Ends) -> None:
    stop = threading.Event()

    def drip() -> None:
        ends[1].send(COUNT.pack(3000))  # bytes: a minute of them
        while not stop.wait(0.02):
            ends[1].send(b"x")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    started = time.monotonic()
    with pytest.raises(ChannelTimeoutError):
        Frames(ends[0].fileno(), 4000, timed=True).receive(started + 0.15)
    took_s = time.monotonic() - started
    stop.set()
    thread.join()
    assert took_s < 20


def test_whoever_does_not_read_cannot_stop_the_writer(ends: Ends) -> None:
    started = time.monotonic()
    with pytest.raises(ChannelTimeoutError):
        Frames(ends[0].fileno(), 100, timed=True).send(bytes(8 * MIB), started + 0.1)
    assert time.monotonic() - started < 20
    ends[1].close()
    with pytest.raises(ChannelClosedError):
        Frames(ends[0].fileno(), 100, timed=True).send(b"x", time.monotonic() + 1)
