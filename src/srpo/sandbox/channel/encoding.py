"""Plain values as bytes, for the channel between trusted and untrusted processes.

Only the standard library: this module is also loaded by the processes that run untrusted
programs. A value is a tree of nodes: one byte for the type, then the content. Sub-classes of
plain types are reduced to the plain value they carry, without calling any method of theirs.
`decoding` is the other half.
"""

from __future__ import annotations

import builtins
import re
import struct
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_DEPTH = 128
MAX_INT_BITS = 1 << 20
MAX_FRACTION_BITS = 1 << 16  # of each part: decoding reduces a fraction, which is quadratic
MAX_DECIMAL_EXPONENT = 5_000  # 1E+999999999 is a short text and an endless integer
COUNT = struct.Struct("!I")
SHORT, LONG, REAL = struct.Struct("!b"), struct.Struct("!q"), struct.Struct("!d")
DECIMAL_TEXT = re.compile(r"-?(?:\d{1,5000}(?:\.\d{1,5000})?(?:E[+-]\d{1,9})?|Infinity|NaN)")
MIXED = ord("*")  # a block of nodes; other blocks hold numbers of one size, named as in `array`
MUTABLE: tuple[type, ...] = (list, dict, set, bytearray, deque)

# Time values without a zone, and the fields that make them.
TIMES: dict[bytes, tuple[type, tuple[str, ...]]] = {
    b"a": (
        datetime,
        ("year", "month", "day", "hour", "minute", "second", "microsecond", "fold"),
    ),
    b"b": (date, ("year", "month", "day")),
    b"c": (time, ("hour", "minute", "second", "microsecond", "fold")),
    b"d": (timedelta, ("days", "seconds", "microseconds")),
}
# Sub-classes of dict that keep their type where objects may cross, too.
DICTIONARIES: dict[bytes, type] = {
    b"d": dict, b"o": OrderedDict, b"c": Counter, b"f": defaultdict,
}  # fmt: skip
FACTORIES = (None, int, float, str, list, dict, set, tuple, bool)  # of a defaultdict
_FUNCTIONS = "abs all any bin chr divmod hash hex len max min oct ord pow repr round sorted sum"
# Builtin types, exceptions and harmless functions cross by name, in both directions.
KNOWN_BUILTINS: dict[str, object] = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) or name in _FUNCTIONS.split()
}
_NAME_OF_BUILTIN = {id(value): name for name, value in KNOWN_BUILTINS.items()}


class NotPlainError(Exception):
    """A value that cannot cross: not plain, or nested too deeply."""


class TooLargeError(Exception):
    """A value that needs more bytes than allowed."""


class Shared:
    """The mutable containers among the arguments of one call, numbered alike on both sides.

    The caller numbers them while it encodes the arguments, the callee while it decodes them;
    so the reply can name them: as the result, and with their changed content.
    """

    def __init__(self) -> None:
        self.containers: list[object] = []  # also keeps them alive, so that ids stay theirs
        self.index: dict[int, int] = {}

    def add(self, container: object) -> None:
        """Give a container the next number."""
        self.index[id(container)] = len(self.containers)
        self.containers.append(container)

    def forget_after(self, count: int) -> None:
        """Keep only the first `count` containers."""
        for container in self.containers[count:]:
            del self.index[id(container)]
        del self.containers[count:]


class Encoder:
    """Appends nodes to `data`.

    `export` returns the node of an object that is not plain (or raises NotPlainError); without
    it such values are refused, and only the basic types cross. With `shared`, containers that
    it knows are named by their number; with `number_new` the others get the next numbers.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        export: Callable[[object], bytes] | None = None,
        shared: Shared | None = None,
        number_new: bool = False,
    ) -> None:
        self.data = bytearray()
        self._max_bytes = max_bytes
        self._export = export
        self._shared = shared
        self._number_new = number_new
        self._in_full: object = None  # the container that is not named by its number, once
        self._keys = 0  # inside how many sets and keys: nothing in them can be an object

    def add(self, value: object, depth: int = 0) -> None:
        """Append a value. Raises NotPlainError or TooLargeError; then `data` is of no use."""
        kind = type(value)
        write = _WRITERS.get(kind)
        if write is None:
            write = _writer_of_base(kind)
        if depth > MAX_DEPTH:
            raise NotPlainError("nested too deeply")
        if write is None:
            self._add_object(value)
        else:
            write(self, value, depth + 1)
        self._spend(0)

    def count(self, number: int) -> None:
        """Append a bare number from 0 to 2^32 - 1."""
        self.data += COUNT.pack(number)

    def content(self, container: object) -> None:
        """Append a numbered container in full, not by its number. Raises as `add` does."""
        start = len(self.data)
        self._in_full = container
        self.add(container)
        if self.data[start] not in b"ldSYq":
            raise NotPlainError("a set or dictionary that was passed holds objects as keys")

    def _spend(self, num_bytes: int) -> None:
        # Every node takes at least a byte, so lists that hold a list often cannot blow up.
        if len(self.data) + num_bytes > self._max_bytes:
            raise TooLargeError

    def _add_object(self, value: object) -> None:
        name = _NAME_OF_BUILTIN.get(id(value))
        if name is not None and self._export is not None:
            self.data += b"T" + _with_length(name.encode())
        elif self._export is None or self._keys:
            raise NotPlainError(f"a value of type {_type_name(value)}")
        else:
            self.data += self._export(value)

    def _refer(self, value: object) -> bool:
        """Name a container by its number, if it has one; if not, number it if asked to."""
        if self._keys:
            raise NotPlainError("a mutable value as a key")
        if self._shared is None:
            return False
        if value is self._in_full:
            self._in_full = None
            return False
        number = self._shared.index.get(id(value))
        if number is not None:
            self.data += b"r" + COUNT.pack(number)
            return True
        if self._number_new:
            self._shared.add(value)
        return False

    def _block(self, items: list[Any], depth: int) -> None:
        kinds = set(map(type, items))
        if kinds == {int}:
            low, high = min(items), max(items)
            for code, bits in ("b", 7), ("h", 15), ("i", 31), ("q", 63):
                if -(1 << bits) <= low and high < 1 << bits:
                    self._packed(code, items)
                    return
        elif kinds == {float}:
            self._packed("d", items)
            return
        self._spend(len(items))
        self.data.append(MIXED)
        self.data += COUNT.pack(len(items))
        for item in items:
            self.add(item, depth)

    def _packed(self, code: str, items: list[Any]) -> None:
        numbers = array(code, items)
        self._spend(len(items) * numbers.itemsize)
        self.data += code.encode() + COUNT.pack(len(items)) + numbers.tobytes()

    def _with_keys(self, head: bytes, keys: list[Any], value: object, depth: int) -> bool:
        """Append `head` and a block of keys; if a key is an object, the whole becomes one."""
        start, shared = len(self.data), self._shared
        known = len(shared.containers) if shared else 0
        if head[:1] != b"z" and self._refer(value):
            return False
        self.data += head
        self._keys += 1
        try:
            self._block(keys, depth)
        except NotPlainError:
            if self._export is None or self._keys > 1:
                raise
            del self.data[start:]
            if shared:
                shared.forget_after(known)
            self.data += self._export(value)
            return False
        finally:
            self._keys -= 1
        return True

    # One writer for each type. They read the value through the base type's own methods.

    def _constant(self, value: Any, depth: int) -> None:
        self.data += b"N" if value is None else b"1" if value else b"0"

    def _int(self, value: Any, depth: int) -> None:
        number = int.__index__(value)
        bits = number.bit_length()
        if bits < 8:
            self.data += b"b" + SHORT.pack(number)
        elif bits < 64:
            self.data += b"g" + LONG.pack(number)
        elif bits > min(MAX_INT_BITS, 8 * self._max_bytes):
            raise TooLargeError
        else:
            self.data += b"i" + _with_length(number.to_bytes(bits // 8 + 1, "big", signed=True))

    def _float(self, value: Any, depth: int) -> None:
        self.data += b"f" + REAL.pack(float.__float__(value))

    def _complex(self, value: Any, depth: int) -> None:
        number = complex.__complex__(value)
        self.data += b"j" + REAL.pack(number.real) + REAL.pack(number.imag)

    def _str(self, value: Any, depth: int) -> None:
        text = str.__str__(value)
        self._spend(len(text))
        self.data += b"s" + _with_length(text.encode("utf-8", "surrogatepass"))

    def _bytes(self, value: Any, depth: int) -> None:
        self._spend(bytes.__len__(value))
        self.data += b"y" + _with_length(bytes.__getitem__(value, slice(None)))

    def _bytearray(self, value: Any, depth: int) -> None:
        if not self._refer(value):
            self._spend(bytearray.__len__(value))
            self.data += b"Y" + _with_length(bytearray.__getitem__(value, slice(None)))

    def _list(self, value: Any, depth: int) -> None:
        if not self._refer(value):
            self.data += b"l"
            self._block([*list.__iter__(value)], depth)

    def _tuple(self, value: Any, depth: int) -> None:
        names = _field_names(value) if self._export is not None else ()
        self.data += b"n" if names else b"t"
        if names:
            self._block(list(names), depth)
        self._block([*tuple.__iter__(value)], depth)

    def _deque(self, value: Any, depth: int) -> None:
        if not self._refer(value):
            length = deque.maxlen.__get__(value)
            self.data += b"q"
            self.add(length, depth)
            self._block([*deque.__iter__(value)], depth)

    def _set(self, value: Any, depth: int) -> None:
        self._with_keys(b"S", [*set.__iter__(value)], value, depth)

    def _frozenset(self, value: Any, depth: int) -> None:
        self._with_keys(b"z", [*frozenset.__iter__(value)], value, depth)

    def _dict(self, value: Any, depth: int) -> None:
        letter, base = b"d", DICTIONARIES[b"d"]
        if self._export is not None:
            letter, base = _dictionary_kind(value)
        pairs = list(OrderedDict.items(value) if base is OrderedDict else dict.items(value))
        if self._with_keys(b"d" + letter, [key for key, _ in pairs], value, depth):
            if letter == b"f":
                self.add(value.default_factory, depth)
            self._block([item for _, item in pairs], depth)

    def _range(self, value: Any, depth: int) -> None:
        self.data += b"R"
        for part in (value.start, value.stop, value.step):
            self.add(part, depth)

    def _fraction(self, value: Any, depth: int) -> None:
        numerator = int.__index__(Fraction.numerator.__get__(value))
        denominator = int.__index__(Fraction.denominator.__get__(value))
        if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
            self._add_object(value)
            return
        self.data += b"Q"
        self.add(numerator, depth)
        self.add(denominator, depth)

    def _decimal(self, value: Any, depth: int) -> None:
        text = Decimal.__str__(value)
        if decimal_is_small(text):
            self.data += b"D" + _with_length(text.encode())
        else:
            self._add_object(value)

    def _time(self, value: Any, depth: int) -> None:
        letter = next(
            letter for letter, (base, _) in TIMES.items() if issubclass(type(value), base)
        )
        base, names = TIMES[letter]
        if letter in b"ac" and vars(base)["tzinfo"].__get__(value) is not None:
            self._add_object(value)
            return
        self.data += b"w" + letter
        self._block([getattr(base, name).__get__(value) for name in names], depth)


_WRITERS: dict[type, Callable[[Encoder, Any, int], None]] = {
    type(None): Encoder._constant, bool: Encoder._constant, int: Encoder._int,
    float: Encoder._float, complex: Encoder._complex, str: Encoder._str, bytes: Encoder._bytes,
    bytearray: Encoder._bytearray, list: Encoder._list, tuple: Encoder._tuple,
    deque: Encoder._deque, set: Encoder._set, frozenset: Encoder._frozenset,
    dict: Encoder._dict, range: Encoder._range, Fraction: Encoder._fraction,
    Decimal: Encoder._decimal, datetime: Encoder._time, date: Encoder._time,
    time: Encoder._time, timedelta: Encoder._time,
}  # fmt: skip


def _writer_of_base(kind: type) -> Callable[[Encoder, Any, int], None] | None:
    """The writer of the nearest plain base; what a class says about itself is not asked."""
    bases = type.__dict__["__mro__"].__get__(kind)
    return next((_WRITERS[base] for base in bases if base in _WRITERS), None)


def encode(value: object, max_bytes: int) -> bytes:
    """One plain value as bytes.

    Raises NotPlainError for a value that is not plain, or is nested deeper than MAX_DEPTH, and
    TooLargeError if more than `max_bytes` were needed.

    >>> encode("a", 100)
    b's\\x00\\x00\\x00\\x01a'
    """
    encoder = Encoder(max_bytes)
    encoder.add(value)
    return bytes(encoder.data)


def decimal_is_small(text: str) -> bool:
    """Whether a decimal's text has few enough digits for arithmetic with it to end soon.

    >>> decimal_is_small("1.50"), decimal_is_small("1E+999999999")
    (True, False)
    """
    if DECIMAL_TEXT.fullmatch(text) is None:
        return False
    return abs(int(text.partition("E")[2] or 0)) <= MAX_DECIMAL_EXPONENT


def _with_length(content: bytes | bytearray) -> bytes:
    return COUNT.pack(len(content)) + content


def _type_name(value: object) -> str:
    name = type.__dict__["__name__"].__get__(type(value))
    return str.__str__(name)[:80]


def _field_names(value: Any) -> tuple[str, ...]:
    """The names of a named tuple's fields; none if it is another tuple."""
    if type(value) is tuple:
        return ()
    names: Any = getattr(value, "_fields", None)
    fits = type(names) is tuple and len(names) == tuple.__len__(value)
    if not fits or not all(type(name) is str and is_field_name(name) for name in names):
        return ()
    return tuple(names)


def is_field_name(name: str) -> bool:
    """Whether a named tuple may have such a field."""
    return len(name) <= 100 and name.isidentifier() and not name.startswith("_")


def _dictionary_kind(value: Any) -> tuple[bytes, type]:
    for letter, base in DICTIONARIES.items():
        if type(value) is base and letter != b"f":
            return letter, base
    if type(value) is defaultdict and any(value.default_factory is f for f in FACTORIES):
        return b"f", defaultdict
    return b"d", dict
