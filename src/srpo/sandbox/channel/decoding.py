"""Plain values from bytes that an untrusted process wrote.

Only the standard library. Whatever the bytes are, decoding ends soon, takes at most about
a hundred times their size, and either gives values of exactly the plain types or raises
MalformedError. `encoding` is the other half.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from srpo.sandbox.channel.encoding import (
    COUNT,
    DICTIONARIES,
    FACTORIES,
    KNOWN_BUILTINS,
    LONG,
    MAX_DEPTH,
    MAX_FRACTION_BITS,
    MAX_INT_BITS,
    MIXED,
    REAL,
    SHORT,
    TIMES,
    Shared,
    decimal_is_small,
    is_field_name,
)

_MAX_EQUAL_HASHES = 100  # more keys of one hash make a dictionary quadratic
_MAX_NAME_BYTES = 400


class MalformedError(ValueError):
    """Bytes that no encoder writes."""


class Record(tuple[Any, ...]):
    """What a named tuple crosses as: a tuple whose items can also be read by name.

    >>> Record((1, 2), ("x", "y")).y
    2
    """

    _fields: tuple[str, ...]

    def __new__(cls, items: Iterable[object], fields: tuple[str, ...]) -> Record:  # noqa: D102
        record = super().__new__(cls, items)
        record._fields = fields
        return record

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(name)
        return self[self._fields.index(name)]

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return Record, (tuple(self), self._fields)

    def _asdict(self) -> dict[str, object]:
        return dict(zip(self._fields, self, strict=True))


class Decoder:
    """Reads nodes one after another.

    `resolve` turns a handle into an object: it gets the node's type byte and this decoder, and
    reads the rest of the node. Without it only basic values are taken. With `shared`, numbers
    of containers are looked up there; with `number_new` every mutable container that is read
    gets the next number.
    """

    def __init__(
        self,
        data: bytes,
        *,
        resolve: Callable[[int, Decoder], object] | None = None,
        shared: Shared | None = None,
        number_new: bool = False,
    ) -> None:
        self._data = data
        self._at = 0
        self._resolve = resolve
        self._shared = shared
        self._number_new = number_new

    def value(self, depth: int = 0) -> Any:
        """The next value. Raises MalformedError."""
        try:
            return self._node(depth)
        except MalformedError:
            raise
        except (ArithmeticError, LookupError, MemoryError, RecursionError) as error:
            raise MalformedError(type(error).__name__) from None
        except (AttributeError, TypeError, ValueError) as error:
            raise MalformedError(type(error).__name__) from None

    def skip(self, num_bytes: int) -> None:
        """Pass over bytes that were read already. Raises MalformedError."""
        self._take(num_bytes)

    def count(self) -> int:
        """The next bare number. Raises MalformedError."""
        return int(COUNT.unpack(self._take(4))[0])

    def name(self) -> str:
        """The next short text. Raises MalformedError."""
        text = self.value()
        if type(text) is not str or len(text) > _MAX_NAME_BYTES:
            raise MalformedError("not a name")
        return text

    def end(self) -> None:
        """Raise MalformedError if there is anything left."""
        if self._at != len(self._data):
            raise MalformedError("more than one value")

    def _take(self, size: int) -> bytes:
        content = self._data[self._at : self._at + size]
        if len(content) != size:
            raise MalformedError("cut short")
        self._at += size
        return content

    def _text(self) -> bytes:
        return self._take(self.count())

    def _node(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise MalformedError("nested too deeply")
        tag = self._take(1)[0]
        read = _READERS.get(tag)
        if read is not None:
            return read(self, depth + 1)
        if self._resolve is None:
            raise MalformedError("an object where only plain values are taken")
        if tag == ord("T"):
            return KNOWN_BUILTINS[self._text().decode("ascii")]
        return self._resolve(tag, self)

    def _block(self, depth: int) -> list[Any]:
        code = self._take(1)[0]
        count = self.count()
        if code == MIXED:
            if count > len(self._data) - self._at:  # each takes a byte at least
                raise MalformedError("cut short")
            return [self._node(depth) for _ in range(count)]
        if code not in b"bhiqd":
            raise MalformedError("unknown block")
        numbers = array(chr(code))
        numbers.frombytes(self._take(count * numbers.itemsize))
        return numbers.tolist()

    def _key_block(self, depth: int) -> list[Any]:
        keys = self._block(depth)
        if len(keys) > _MAX_EQUAL_HASHES:
            ((_, most),) = Counter(map(hash, keys)).most_common(1)
            if most > _MAX_EQUAL_HASHES:
                raise MalformedError("keys of one hash")
        return keys

    def _numbered(self, container: Any) -> Any:
        if self._shared is not None and self._number_new:
            self._shared.add(container)
        return container

    # One reader for each type.

    def _int(self, depth: int) -> int:
        content = self._text()
        if not 8 <= len(content) <= MAX_INT_BITS // 8 + 1:
            raise MalformedError("an integer of a wrong size")
        return int.from_bytes(content, "big", signed=True)

    def _complex(self, depth: int) -> complex:
        return complex(REAL.unpack(self._take(8))[0], REAL.unpack(self._take(8))[0])

    def _bytearray(self, depth: int) -> Any:
        return self._numbered(bytearray(self._text()))

    def _list(self, depth: int) -> Any:
        items: list[Any] = self._numbered([])
        items += self._block(depth)
        return items

    def _record(self, depth: int) -> Record:
        names = tuple(self._block(depth))
        items = self._block(depth)
        good = all(type(name) is str and is_field_name(name) for name in names)
        if self._resolve is None or not good or len(names) != len(items) or not names:
            raise MalformedError("a damaged named tuple")
        return Record(items, names)

    def _deque(self, depth: int) -> Any:
        length = self._node(depth)
        if length is not None and (type(length) is not int or not 0 <= length <= sys.maxsize):
            raise MalformedError("a damaged deque")
        items: deque[Any] = self._numbered(deque(maxlen=length))
        items.extend(self._block(depth))
        return items

    def _set(self, depth: int) -> Any:
        items: set[Any] = self._numbered(set())
        keys = self._key_block(depth)
        items.update(keys)
        if len(items) != len(keys):
            raise MalformedError("an item twice")
        return items

    def _frozenset(self, depth: int) -> Any:
        keys = self._key_block(depth)
        items = frozenset(keys)
        if len(items) != len(keys):
            raise MalformedError("an item twice")
        return items

    def _dict(self, depth: int) -> Any:
        letter = self._take(1)
        if letter not in DICTIONARIES or (letter != b"d" and self._resolve is None):
            raise MalformedError("an unknown kind of dictionary")
        items: dict[Any, Any] = self._numbered(DICTIONARIES[letter]())
        keys = self._key_block(depth)
        if letter == b"f":
            factory = self._node(depth)
            if not any(factory is allowed for allowed in FACTORIES):
                raise MalformedError("a damaged dictionary")
            items.default_factory = factory  # type: ignore[attr-defined]
        for key, item in zip(keys, self._block(depth), strict=True):
            items[key] = item
        if len(items) != len(keys):
            raise MalformedError("a key twice")
        return items

    def _range(self, depth: int) -> range:
        parts = [self._node(depth) for _ in range(3)]
        if any(type(part) is not int for part in parts):
            raise MalformedError("a damaged range")
        return range(*parts)

    def _fraction(self, depth: int) -> Fraction:
        parts = [self._node(depth) for _ in range(2)]
        if any(type(p) is not int or p.bit_length() > MAX_FRACTION_BITS for p in parts):
            raise MalformedError("a damaged fraction")
        return Fraction(*parts)

    def _decimal(self, depth: int) -> Decimal:
        text = self._text().decode("ascii")
        if not decimal_is_small(text):
            raise MalformedError("a damaged decimal")
        return Decimal(text)

    def _time(self, depth: int) -> object:
        base, names = TIMES[self._take(1)]
        fields = self._block(depth)
        if len(fields) != len(names) or any(type(field) is not int for field in fields):
            raise MalformedError("a damaged time")
        return base(**dict(zip(names, fields, strict=True)))

    def _reference(self, depth: int) -> object:
        if self._shared is None:
            raise MalformedError("a reference to nothing")
        return self._shared.containers[self.count()]


_READERS: dict[int, Callable[[Decoder, int], Any]] = {
    ord("N"): lambda self, depth: None,
    ord("1"): lambda self, depth: True,
    ord("0"): lambda self, depth: False,
    ord("b"): lambda self, depth: SHORT.unpack(self._take(1))[0],
    ord("g"): lambda self, depth: LONG.unpack(self._take(8))[0],
    ord("f"): lambda self, depth: REAL.unpack(self._take(8))[0],
    ord("s"): lambda self, depth: self._text().decode("utf-8", "surrogatepass"),
    ord("y"): lambda self, depth: self._text(),
    ord("t"): lambda self, depth: tuple(self._block(depth)),
    ord("i"): Decoder._int,
    ord("j"): Decoder._complex,
    ord("Y"): Decoder._bytearray,
    ord("l"): Decoder._list,
    ord("n"): Decoder._record,
    ord("q"): Decoder._deque,
    ord("S"): Decoder._set,
    ord("z"): Decoder._frozenset,
    ord("d"): Decoder._dict,
    ord("R"): Decoder._range,
    ord("Q"): Decoder._fraction,
    ord("D"): Decoder._decimal,
    ord("w"): Decoder._time,
    ord("r"): Decoder._reference,
}


def decode(data: bytes) -> object:
    """The value of `encoding.encode`'s bytes. Raises MalformedError for all other bytes.

    >>> decode(b"s\\x00\\x00\\x00\\x01a")
    'a'
    """
    decoder = Decoder(data)
    value = decoder.value()
    decoder.end()
    return value
