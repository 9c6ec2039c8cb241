"""The process of the untrusted program: load it, then do what the other end asks for.

Only the standard library. Nothing here is a secret from the program, and nothing that it could
do to this code helps it: the expected values and the verdict are in other processes.
"""

from __future__ import annotations

import ast
import copy
import random
import sys
import types
from typing import Any

from srpo.sandbox.channel.decoding import Decoder, MalformedError
from srpo.sandbox.channel.encoding import COUNT, Encoder, NotPlainError, TooLargeError
from srpo.sandbox.channel.peer import (
    MAX_REQUEST_BYTES,
    ChannelClosedError,
    Frames,
    Peer,
    describe,
    handle_node,
    nearest_builtin,
)

MODULE_NAME = "solution"  # not "__main__": main guards do not run
CALLABLE = 1  # flag of a handle


class Handle:
    """A value that is to cross as a handle, even if it is plain."""

    def __init__(self, value: object) -> None:
        self.value = value


class Remote:
    """An object of the tests inside the program's process: a function, an iterator, a node."""

    __slots__ = ("__weakref__", "_ask", "_number")

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_ask", peer.ask)

    def __call__(self, *args: object, **named: object) -> Any:  # noqa: D102
        return self._ask("call", self, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._ask("attr", self, (name,))

    def __setattr__(self, name: str, value: object) -> None:
        self._ask("setattr", self, (name, value))

    def __iter__(self) -> Any:
        return self._ask("iter", self)

    def __next__(self) -> Any:
        found = self._ask("next", self)
        if not found:
            raise StopIteration
        return found[0]


class Program(Peer):
    """The program's end of the channel: does whatever it is asked for."""

    def __init__(self, frames: Frames, max_bytes: int, namespace: dict[str, Any]) -> None:
        super().__init__(frames, max_bytes, None)
        self._max_bytes = max_bytes
        self._namespace = namespace
        self._objects: list[object] = []  # what was given out, by its number
        self._numbers: dict[int, int] = {}
        self._remotes: dict[int, Remote] = {}

    def _number(self, value: object) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)  # which keeps it alive, so that its id stays its own
        return number

    def export(self, value: object) -> bytes:
        """A handle; exception classes bring their bases, so that tests can catch them."""
        if type(value) is Handle:
            value = value.value
        if type(value) is Remote:
            return handle_node(b"L", value._number)
        bases = type.__dict__["__mro__"].__get__(value) if isinstance(value, type) else ()
        if BaseException in bases:
            return self._exception_class(value, bases)
        flags = CALLABLE if callable(value) else 0
        return handle_node(b"H", self._number(value)) + COUNT.pack(flags)

    def _exception_class(self, kind: Any, bases: tuple[type, ...]) -> bytes:
        builtin = nearest_builtin(kind)
        own = [base for base in bases[: bases.index(builtin)] if issubclass(base, BaseException)]
        encoder = Encoder(self._max_bytes)
        encoder.data += b"E"
        encoder.count(len(own))
        for base in own:
            encoder.count(self._number(base))
            encoder.add(base.__name__)
        encoder.add(builtin.__name__)
        return bytes(encoder.data)

    def details_of(self, error: BaseException) -> tuple[object, tuple[Any, ...], dict[str, Any]]:
        """All: the class itself (`export` brings its bases along), arguments, and fields."""
        return type(error), error.args, vars(error)

    def resolve(self, tag: int, decoder: Decoder) -> object:
        """An object of this side, or something of the tests."""
        number = decoder.count()
        if tag == ord("L"):
            return self._objects[number]
        decoder.count()  # the flags: anything can be tried on what the tests pass
        remote = self._remotes.get(number)
        if remote is None:
            remote = self._remotes[number] = Remote(self, number)
        return remote

    def perform(self, op: str, target: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """One of `_OPS` on an object, or a question for names of the program."""
        if op == "call":
            return target(*args, **named)
        if op == "names":
            found = ((name, self._find(name)) for name in args)
            return tuple((name, _to_use(value)) for name, value in found if value is not _MISSING)
        return _OPS[op](target, *args)

    def _find(self, name: str) -> Any:
        """The object of a name, `Solution().name` if only that exists, or of a dotted name."""
        first, *rest = name.replace("()", "").split(".")
        found = self._namespace.get(first, _MISSING)
        if found is _MISSING:
            holder = self._namespace.get("Solution")
            if isinstance(holder, type) and hasattr(holder, first):
                found = getattr(holder(), first)
        for part in rest if found is not _MISSING else ():
            found = getattr(found() if isinstance(found, type) else found, part, _MISSING)
        return found

    def answer_plain(self, body: bytes) -> None:
        """Call a function by its name; only plain values cross, and no handles."""
        decoder = Decoder(body)
        decoder.skip(1)
        name, args = decoder.name(), decoder.value()
        encoder = Encoder(self._max_bytes)
        encoder.data += b"r"
        try:
            function = self._find(name)
            if function is _MISSING:
                raise NameError(f"there is no function {name}")
            value = function(*args)
        except BaseException as error:  # noqa: BLE001 - whatever a program raises
            self.frames.send(b"e" + describe(error).encode("utf-8", "replace"))
            return
        try:
            encoder.add(value)
            reply: bytes | bytearray = encoder.data
        except TooLargeError:
            reply = b"m"
        except NotPlainError as error:
            reply = b"n" + str(error).encode("utf-8", "replace")
        except Exception as error:  # noqa: BLE001 - a value that changes while it is read
            reply = b"n" + type(error).__name__.encode("utf-8", "replace")
        self.frames.send(reply)


_MISSING = object()


def _to_use(value: object) -> object:
    """A named value; `f = sorted` is to be called here, although builtins cross by name."""
    bases = type.__dict__["__mro__"].__get__(value) if isinstance(value, type) else ()
    return Handle(value) if callable(value) and BaseException not in bases else value


def _next(target: Any) -> tuple[Any, ...]:
    try:
        return (next(target),)
    except StopIteration:
        return ()


def _exit(target: Any, kind: object, text: str) -> None:
    """Leave a context; whether it swallows the exception is not asked."""
    raised = kind(text) if isinstance(kind, type) else None
    type(target).__exit__(target, kind, raised, None)


def _await(target: Any) -> Any:
    import asyncio  # slow to load, and rarely needed

    async def awaited() -> Any:
        return await target

    return asyncio.run(awaited())


_OPS: dict[str, Any] = {
    "attr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "iter": lambda target: Handle(iter(target)),
    "reversed": lambda target: Handle(reversed(target)),
    "next": _next,
    "len": len,
    "item": lambda target, key: target[key],
    "setitem": lambda target, key, value: target.__setitem__(key, value),
    "delitem": lambda target, key: target.__delitem__(key),
    "slice": lambda target, *bounds: target[slice(*bounds)],
    "str": str,
    "repr": repr,
    "enter": lambda target: type(target).__enter__(target),
    "exit": _exit,
    "isinstance": lambda target, value: isinstance(value, target),
    "issubclass": lambda target, value: issubclass(value, target),
    "copy": lambda target: Handle(copy.copy(target)),
    "deepcopy": lambda target: Handle(copy.deepcopy(target)),
    "await": _await,
}


def run_prelude(prelude: str, namespace: dict[str, Any]) -> None:
    """Execute trusted imports, each statement on its own: one that fails is passed over.

    Raises SyntaxError if the text as a whole is not Python.
    """
    for statement in ast.parse(prelude, "<prelude>").body:
        lines = ast.Module([statement], [])
        try:
            exec(compile(lines, "<prelude>", "exec", dont_inherit=True), namespace)
        except Exception:  # noqa: BLE001 - the program says what it misses
            continue


def serve(fd: int, program: str, prelude: str, max_bytes: int) -> None:
    """Load the program, say how that went, and answer requests until the other end closes.

    `fd` is one end of a socket pair. A reply needs at most `max_bytes` bytes; a larger one is
    reported as too large. `random` starts from the same seed for every program.
    """
    frames = Frames(fd, MAX_REQUEST_BYTES, timed=False)
    random.seed(0)
    module = types.ModuleType(MODULE_NAME)
    sys.modules[MODULE_NAME] = module  # dataclasses, enum and pickle look it up by its name
    try:
        run_prelude(prelude, module.__dict__)
        exec(compile(program, "<program>", "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:  # noqa: BLE001 - whatever a program raises, SystemExit too
        frames.send(b"x" + describe(error).encode("utf-8", "replace"))
        return
    try:
        frames.send(b"l")
        answer_all(Program(frames, max_bytes, module.__dict__))
    except (ChannelClosedError, MalformedError):
        return


def answer_all(program: Program) -> None:
    """Answer until the other end closes: ChannelClosedError."""
    while True:
        body = program.frames.receive()
        if body[:1] == b"v":
            program.answer_plain(body)
        else:
            program.answer(body)
