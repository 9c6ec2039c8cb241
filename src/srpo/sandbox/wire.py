"""What crosses the pipes: length-prefixed frames, and plain values as JSON text.

Only the standard library: this module is also loaded by the processes that run untrusted
programs. Whatever they send is parsed with limits and never trusted to be well formed.
"""

from __future__ import annotations

import json
import math
import os
import struct

HEADER = struct.Struct("!cI")  # kind of frame, length of its body in bytes
MAX_MESSAGE_BYTES = 256 << 20  # between parent and server, which trust each other
MAX_DEPTH = 64
_EXACT_INT = 1 << 53  # larger integers travel as hexadecimal text: no digit limit, no rounding


class NotPlainError(Exception):
    """A value holds something other than None, bool, int, float, str, list, tuple, dict, set."""


class TooLargeError(Exception):
    """A value needs more text than the limit on output."""


class _Encoder:
    def __init__(self, max_bytes: int) -> None:
        self.left = (
            max_bytes  # every node takes at least a byte, so shared sub-lists cannot blow up
        )

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise TooLargeError

    def encode(self, value: object, depth: int) -> object:
        self.spend(1)
        if depth > MAX_DEPTH:
            raise NotPlainError("nested too deeply")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, (int, float, str)):
            return self._scalar(value)
        return self._container(value, depth + 1)

    def _scalar(self, value: int | float | str) -> object:
        # Sub-classes are reduced to the value they carry, without calling their methods.
        if isinstance(value, int):
            number = int.__index__(value)
            if -_EXACT_INT < number < _EXACT_INT:
                return number
            self.spend(number.bit_length() // 4)
            return {"i": hex(number)}
        if isinstance(value, float):
            real = float.__float__(value)
            return real if math.isfinite(real) else {"f": repr(real)}
        text = str.__str__(value)
        self.spend(len(text))
        return text

    def _container(self, value: object, depth: int) -> object:
        if isinstance(value, list):
            return [self.encode(item, depth) for item in list.__iter__(value)]
        if isinstance(value, tuple):
            return {"t": [self.encode(item, depth) for item in tuple.__iter__(value)]}
        if isinstance(value, dict):
            pairs = dict.items(value)
            return {"d": [[self.encode(k, depth), self.encode(v, depth)] for k, v in pairs]}
        if isinstance(value, set):
            return {"s": [self.encode(item, depth) for item in set.__iter__(value)]}
        if isinstance(value, frozenset):
            return {"s": [self.encode(item, depth) for item in frozenset.__iter__(value)]}
        raise NotPlainError(f"returned a {type(value).__name__}"[:100])


def encode_value(value: object, max_bytes: int) -> str:
    """JSON text of a plain value.

    Raises NotPlainError for any other value (or one nested deeper than MAX_DEPTH), and
    TooLargeError if the text would be longer than `max_bytes`.

    >>> encode_value((1, {2: "a"}), 100)
    '{"t": [1, {"d": [[2, "a"]]}]}'
    """
    try:
        text = json.dumps(_Encoder(max_bytes).encode(value, 0))
    except (TypeError, RuntimeError) as error:  # a lying __class__, a set that changes meanwhile
        raise NotPlainError(type(error).__name__) from None
    if len(text) > 2 * max_bytes:  # brackets and tags may double the length, not more
        raise TooLargeError
    return text


def decode_value(text: str) -> object:
    """The value of `encode_value`'s text. Raises ValueError for any other text.

    >>> decode_value('{"t": [1, {"d": [[2, "a"]]}]}')
    (1, {2: 'a'})
    """
    try:
        return _decode(json.loads(text), 0)
    except (RecursionError, TypeError, OverflowError) as error:
        raise ValueError(f"not an encoded value ({type(error).__name__})") from None


def _decode(node: object, depth: int) -> object:
    if depth > MAX_DEPTH + 1:
        raise ValueError("nested too deeply")
    if isinstance(node, list):
        return [_decode(item, depth + 1) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) != 1:
        raise ValueError("a tagged value has one tag")
    ((tag, body),) = node.items()
    if tag in ("i", "f"):
        if not isinstance(body, str):
            raise ValueError("a tagged number is text")
        return int(body, 16) if tag == "i" else float(body)
    if not isinstance(body, list):
        raise ValueError("a tagged container holds a list")
    return _decode_container(tag, body, depth + 1)


def _decode_container(tag: str, body: list[object], depth: int) -> object:
    if tag == "t":
        return tuple(_decode(item, depth) for item in body)
    if tag == "s":
        return {_decode(item, depth) for item in body}
    if tag == "d":
        result = {}
        for pair in body:
            if not isinstance(pair, list) or len(pair) != 2:
                raise ValueError("a dictionary is a list of pairs")
            result[_decode(pair[0], depth)] = _decode(pair[1], depth)
        return result
    raise ValueError(f"unknown tag {tag!r}"[:40])


def write_all(fd: int, data: bytes) -> None:
    """Write every byte. Raises OSError if nobody reads any more."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_exactly(fd: int, count: int) -> bytes:
    """Read `count` bytes. Raises EOFError if the other end closes before."""
    parts = bytearray()
    while len(parts) < count:
        chunk = os.read(fd, min(count - len(parts), 1 << 20))
        if not chunk:
            raise EOFError
        parts += chunk
    return bytes(parts)


def send_message(fd: int, message: object) -> None:
    """Send one JSON message between parent and server."""
    body = json.dumps(message).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(body)} bytes is too large")
    write_all(fd, HEADER.pack(b"j", len(body)) + body)


def receive_message(fd: int) -> object:
    """Receive one JSON message. Raises EOFError at the end, ValueError if it is damaged."""
    kind, length = HEADER.unpack(read_exactly(fd, HEADER.size))
    if kind != b"j" or length > MAX_MESSAGE_BYTES:
        raise ValueError("damaged message")
    message: object = json.loads(read_exactly(fd, length))
    return message
