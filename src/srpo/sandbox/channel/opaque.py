"""What an object of the untrusted program is in the process of the trusted tests.

Only the standard library. The tests may call it, read and set its attributes, index it, iterate
over it, ask for its length and its text: what comes back is data, checked to be of the exact
type. They may not ask it whether it is equal, smaller, true or contained, nor calculate with
it, nor put a yes-or-no question of the plain types to it (`startswith`, `issubset`): then the
program would judge itself. Such a question raises, and the verdict stays `failed`
even if the tests catch that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from srpo.sandbox.channel.tests_side import Tests

MAX_ITEMS = 1_000_000  # of one iteration
MAX_LENGTH = 10_000_000
_READABLE = ("__name__", "__qualname__", "__dict__", "__annotations__", "__members__")
_REFUSED = (
    "lt le gt ge contains bool int float complex index hash bytes add radd sub rsub mul rmul "
    "matmul rmatmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow and rand "
    "or ror xor rxor lshift rlshift rshift rrshift neg pos abs invert round trunc floor ceil iadd "
    "isub imul imatmul itruediv ifloordiv imod ipow iand ior ixor ilshift irshift reduce_ex"
)
# Yes-or-no questions of str, bytes, set and float: tests put them to what ought to be plain.
_QUESTIONS = (
    "startswith", "endswith", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
    "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper",
    "issubset", "issuperset", "isdisjoint", "is_integer",
)  # fmt: skip


class Opaque:
    """An object of the program, known here by a number only.

    `==` and `!=` with itself are answered here, by identity; with anything else they raise.
    """

    __slots__ = ("__weakref__", "_srpo_number", "_srpo_tests")

    def __init__(self, tests: Tests, number: int) -> None:
        object.__setattr__(self, "_srpo_tests", tests)
        object.__setattr__(self, "_srpo_number", number)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and name not in _READABLE:
            raise AttributeError(name)
        if name in _QUESTIONS:
            _refuse(self, name)
        return _ask(self, "attr", name)

    def __setattr__(self, name: str, value: object) -> None:
        _ask(self, "setattr", name, value)

    def __delattr__(self, name: str) -> None:
        _ask(self, "delattr", name)

    def __eq__(self, other: object) -> bool:
        return self is other or _refuse(self, "==")

    def __ne__(self, other: object) -> bool:
        return self is not other and _refuse(self, "!=")

    def __instancecheck__(self, value: object) -> bool:
        return type(value) in _KINDS and _exact(bool, _ask(self, "isinstance", value))

    def __subclasscheck__(self, kind: object) -> bool:
        return type(kind) in _KINDS and _exact(bool, _ask(self, "issubclass", kind))

    def __len__(self) -> int:
        length: int = _exact(int, _ask(self, "len"))
        if not 0 <= length <= MAX_LENGTH:
            raise OverflowError("an object of the program says that it is too long")
        return length

    def __str__(self) -> str:
        return str(_exact(str, _ask(self, "str")))

    def __repr__(self) -> str:
        return str(_exact(str, _ask(self, "repr")))

    def __iter__(self) -> Iterator[Any]:
        return _items(self, _ask(self, "iter"))

    def __reversed__(self) -> Iterator[Any]:
        return _items(self, _ask(self, "reversed"))

    def __next__(self) -> Any:
        found = _ask(self, "next")
        if type(found) is not tuple or len(found) > 1:
            raise TypeError("not the next item")
        if not found:
            raise StopIteration
        return found[0]

    def __getitem__(self, key: Any) -> Any:
        if type(key) is slice:
            return _ask(self, "slice", key.start, key.stop, key.step)
        return _ask(self, "item", key)

    def __setitem__(self, key: object, value: object) -> None:
        _ask(self, "setitem", key, value)

    def __delitem__(self, key: object) -> None:
        _ask(self, "delitem", key)

    def __enter__(self) -> Any:
        return _ask(self, "enter")

    def __exit__(self, kind: Any, error: object, trace: object) -> None:
        # Its answer is dropped: a context of the program must not swallow a failed assertion.
        _ask(self, "exit", self._srpo_tests.builtin_base(kind), type(error).__name__)

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()  # makes this a generator, which an `await` needs
        return _ask(self, "await")

    def __copy__(self) -> Any:
        return _ask(self, "copy")

    def __deepcopy__(self, memo: object) -> Any:
        return _ask(self, "deepcopy")


class OpaqueCallable(Opaque):
    """One that can be called: a function, a class, a method."""

    __slots__ = ()

    def __call__(self, *args: object, **named: object) -> Any:  # noqa: D102
        return self._srpo_tests.ask("call", self, args, named)


_KINDS = (Opaque, OpaqueCallable)


def _ask(opaque: Opaque, op: str, *args: object) -> Any:
    return opaque._srpo_tests.ask(op, opaque, args)


def _exact(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"an object of the program gave no {kind.__name__}")
    return value


def _items(opaque: Opaque, iterator: Any) -> Iterator[Any]:
    """The items one by one. An iteration may take as long as a call, the tests' part aside."""
    if type(iterator) not in _KINDS:
        raise TypeError("not an iterator")
    taken_s = 0.0
    for _ in range(MAX_ITEMS):
        started_s = time.monotonic()
        try:
            item = next(iterator)
        except StopIteration:
            return
        taken_s += time.monotonic() - started_s
        opaque._srpo_tests.check_time(taken_s)
        yield item
    raise OverflowError(f"more than {MAX_ITEMS:,} items")


def _refuse(opaque: Opaque, name: str) -> NoReturn:
    raise opaque._srpo_tests.refusal(name)


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refused(self: Opaque, *args: object) -> NoReturn:
        _refuse(self, name)

    return refused


for _name in _REFUSED.split():
    setattr(Opaque, f"__{_name}__", _refusal(f"__{_name}__"))
