"""The channel between untrusted model code and whoever uses it: frames, requests, replies.

Only the standard library. Both ends can ask each other: the tests call the program, which may
call functions that it was passed. What crosses are plain values, and handles: numbers that mean
an object of the side that gave them out. Each side checks what it is sent; the side of the
trusted tests answers only for what it gave out itself.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from collections import deque
from typing import Any

from srpo.sandbox.channel.decoding import Decoder, MalformedError
from srpo.sandbox.channel.encoding import (
    COUNT,
    KNOWN_BUILTINS,
    MUTABLE,
    Encoder,
    NotPlainError,
    Shared,
    TooLargeError,
    is_field_name,
)

MAX_REQUEST_BYTES = 64 << 20  # of what trusted code sends
MAX_NESTED_CALLS = 50
_HEADER = struct.Struct("!I")
_READ_BYTES = 1 << 16
_MAX_TEXT_CHARS = 200
_HIDDEN_FIELDS = ("with_traceback", "add_note", "args")


class ChannelError(Exception):
    """The other end cannot be used any more."""


class ChannelClosedError(ChannelError):
    """The other end is gone."""


class ChannelTimeoutError(ChannelError):
    """The deadline has passed."""


class UnsentError(ChannelError):
    """The other side had a result that cannot cross: not plain, or too large."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status  # "not_plain" or "too_much_output"


class Frames:
    """Frames over one end of a socket pair: a length of four bytes, then the body.

    Deadlines are moments of `time.monotonic`; None waits for ever. With `timed` the descriptor
    is made non-blocking, without which a write cannot have a deadline.
    """

    def __init__(self, fd: int, max_body_bytes: int, *, timed: bool) -> None:
        self._fd = fd
        self._max_body_bytes = max_body_bytes  # of what is received
        self._received = bytearray()
        self._polls = {event: select.poll() for event in (select.POLLIN, select.POLLOUT)}
        for event, poll in self._polls.items():
            poll.register(fd, event)
        if timed:
            os.set_blocking(fd, False)

    def send(self, body: bytes | bytearray, deadline_s: float | None = None) -> None:
        """Send one frame. Raises ChannelClosedError or ChannelTimeoutError."""
        left = memoryview(_HEADER.pack(len(body)) + body)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline_s)
            except OSError:
                raise ChannelClosedError("the other end is gone") from None

    def receive(self, deadline_s: float | None = None) -> bytes:
        """The body of the next frame; also raises MalformedError if it is too long."""
        if deadline_s is not None and time.monotonic() >= deadline_s:
            raise ChannelTimeoutError("no answer in time")
        (length,) = _HEADER.unpack(self._take(_HEADER.size, deadline_s))
        if not 0 < length <= self._max_body_bytes:
            raise MalformedError("a frame of a wrong length")
        return self._take(length, deadline_s)

    def _take(self, size: int, deadline_s: float | None) -> bytes:
        while len(self._received) < size:
            self._wait(select.POLLIN, deadline_s)
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                raise ChannelClosedError("the other end is gone")
            self._received += data
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken

    def _wait(self, event: int, deadline_s: float | None) -> None:
        if deadline_s is None:
            return
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not self._polls[event].poll(left_s * 1000):
            raise ChannelTimeoutError("no answer in time")


class Peer:
    """One end of the channel: asks the other end, and answers it meanwhile.

    A sub-class says what its objects cross as (`export`), what handles become (`resolve`), and
    what the other end may ask for (`perform`).
    """

    def __init__(self, frames: Frames, max_send_bytes: int, call_timeout_s: float | None) -> None:
        self.frames = frames
        self._max_send_bytes = max_send_bytes
        self._call_timeout_s = call_timeout_s
        self._lock = threading.RLock()  # tests may have threads; frames must not mix
        self._depth = 0
        self._deadline_s: float | None = None

    def export(self, value: object) -> bytes:
        """The node of an object that is not plain. Raises NotPlainError."""
        raise NotPlainError("an object")

    def resolve(self, tag: int, decoder: Decoder) -> object:
        """The object of a handle, of which `decoder` has read the tag. Raises MalformedError."""
        raise MalformedError("a handle")

    def perform(self, op: str, target: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Do what the other end asks for. May raise anything."""
        raise PermissionError(op)

    def ask(
        self,
        op: str,
        target: object,
        args: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """Ask the other end to do `op`; its result, or the exception that it raised.

        Containers among the arguments that were changed there are changed here, too. Raises
        ChannelError or MalformedError if there is no proper answer, NotPlainError or
        TooLargeError if the arguments cannot cross.
        """
        with self._lock:
            outermost = self._depth == 0
            if outermost and self._call_timeout_s is not None:
                self._deadline_s = time.monotonic() + self._call_timeout_s
            shared = Shared()
            encoder = Encoder(
                self._max_send_bytes, export=self.export, shared=shared, number_new=True
            )
            encoder.data += b"c"
            for part in (op, target, args, tuple((named or {}).items())):
                encoder.add(part)
            self._depth += 1
            try:
                self.frames.send(encoder.data, self._deadline_s)
                while True:
                    body = self.frames.receive(self._deadline_s)
                    if body[:1] != b"c":
                        return self._read_reply(body, shared)
                    self.answer(body)
            finally:
                self._depth -= 1

    def answer(self, body: bytes) -> None:
        """Do what one frame asks for, and send the reply. Raises MalformedError."""
        shared = Shared()
        decoder = Decoder(body, resolve=self.resolve, shared=shared, number_new=True)
        decoder.skip(1)
        op, target, args, named = decoder.name(), *(decoder.value() for _ in range(3))
        decoder.end()
        if type(args) is not tuple or type(named) is not tuple:
            raise MalformedError("damaged arguments")
        try:
            keywords = {str(key): item for key, item in named}
        except (TypeError, ValueError):
            raise MalformedError("damaged arguments") from None
        before = [_parts(container) for container in shared.containers]
        result: Any = None
        error: BaseException | None = None
        try:
            if self._depth > MAX_NESTED_CALLS:
                raise RecursionError("calls between program and tests nested too deeply")
            result = self.perform(op, target, args, keywords)
        except (ChannelError, MalformedError):
            raise
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it crosses
            error = raised
        self.frames.send(self._reply(shared, before, result, error), self._deadline_s)

    def _reply(
        self, shared: Shared, before: list[Any], result: object, error: BaseException | None
    ) -> bytes | bytearray:
        encoder = Encoder(self._max_send_bytes, export=self.export, shared=shared)
        changed = [
            number
            for number, container in enumerate(shared.containers)
            if not _same(before[number], _parts(container))
        ]
        try:
            encoder.data += b"r" if error is None else b"x"
            encoder.count(len(changed))
            for number in changed:
                encoder.count(number)
                encoder.content(shared.containers[number])
            if error is None:
                encoder.add(result)
            else:
                self._add_error(encoder, error)
            return encoder.data
        except TooLargeError:
            return b"m"
        except (NotPlainError, ArithmeticError, AttributeError, LookupError) as reason:
            return b"n" + describe(reason).encode("utf-8", "replace")
        except (RecursionError, RuntimeError, TypeError, ValueError) as reason:
            return b"n" + describe(reason).encode("utf-8", "replace")

    def _add_error(self, encoder: Encoder, error: BaseException) -> None:
        """Append an exception: its class, arguments and fields, or its class alone."""
        kind, args, fields = self.details_of(error)
        encoder.add(kind)
        start = len(encoder.data)
        for detail in (args, tuple(fields.items())), ((), ()):
            try:
                encoder.add(detail)
                return
            except (NotPlainError, TooLargeError):
                del encoder.data[start:]

    def details_of(self, error: BaseException) -> tuple[object, tuple[Any, ...], dict[str, Any]]:
        """What crosses of an exception: class, arguments and fields.

        Of an AssertionError only the class: its text may hold an expected value.
        """
        return (
            nearest_builtin(type(error)),
            () if isinstance(error, AssertionError) else error.args,
            {},
        )

    def _read_reply(self, body: bytes, shared: Shared) -> Any:
        kind = body[:1]
        if kind == b"m":
            raise UnsentError("too_much_output", "more than the limit on output")
        if kind == b"n":
            raise UnsentError("not_plain", body[1:].decode("utf-8", "replace")[:_MAX_TEXT_CHARS])
        if kind not in (b"r", b"x"):
            raise MalformedError("an unknown kind of frame")
        decoder = Decoder(body, resolve=self.resolve, shared=shared)
        decoder.skip(1)
        changes: dict[int, object] = {}
        for _ in range(decoder.count()):
            number, content = decoder.count(), decoder.value()
            if number in changes or number >= len(shared.containers):
                raise MalformedError("a change of what was not passed")
            changes[number] = content
        if kind == b"r":
            result = decoder.value()
        else:
            error = self._read_error(decoder)
        decoder.end()
        _apply(changes, shared)
        if kind == b"r":
            return result
        raise error

    def _read_error(self, decoder: Decoder) -> BaseException:
        kind, detail = decoder.value(), decoder.value()
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise MalformedError("an exception of no class")
        if type(detail) is not tuple or len(detail) != 2:
            raise MalformedError("a damaged exception")
        args, fields = detail
        if type(args) is not tuple or type(fields) is not tuple:
            raise MalformedError("a damaged exception")
        return _made_error(kind, args, fields)


def _made_error(
    kind: type[BaseException], args: tuple[Any, ...], fields: tuple[Any, ...]
) -> BaseException:
    if issubclass(kind, (StopIteration, StopAsyncIteration, GeneratorExit)):
        # These would silently end a loop of the tests, as in all(map(function, cases)).
        return RuntimeError(f"raised {kind.__name__}")
    try:
        error = kind(*args)
        for name, value in fields:
            if type(name) is str and is_field_name(name) and name not in _HIDDEN_FIELDS:
                vars(error)[name] = value
    except Exception:  # noqa: BLE001 - arguments that this class does not take
        return RuntimeError(f"raised {kind.__name__}")
    return error


def nearest_builtin(kind: type) -> type:
    """The nearest base of an exception's class that is builtin."""
    bases = type.__dict__["__mro__"].__get__(kind)
    return next((base for base in bases if base in KNOWN_BUILTINS.values()), Exception)


def describe(error: BaseException) -> str:
    """An exception in a few words, without calling methods that untrusted code has defined.

    >>> describe(ValueError("odd"))
    'ValueError: odd'
    """
    name = str.__str__(type.__dict__["__name__"].__get__(type(error)))
    args = BaseException.args.__get__(error)  # type: ignore[attr-defined]
    words = [str(arg) for arg in args if type(arg) in (str, float, bool) or _is_small(arg)]
    return ": ".join([name, *words])[:_MAX_TEXT_CHARS]


def _is_small(value: object) -> bool:
    return type(value) is int and value.bit_length() < 64


def handle_node(letter: bytes, number: int) -> bytes:
    """The node of a handle: H is an object of the sender, L one of the receiver."""
    return letter + COUNT.pack(number)


def _parts(container: Any) -> Any:
    """What a container holds now, to be compared later."""
    if isinstance(container, bytearray):
        return bytes(container)
    if isinstance(container, dict):
        return [*dict.keys(container), *dict.values(container)]
    return list(container)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, bytes):
        return bool(before == after)
    return len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True))


def _apply(changes: dict[int, object], shared: Shared) -> None:
    """Give the containers their new content. Raises MalformedError if one changed its type."""
    pairs = []
    for number, content in changes.items():
        container = shared.containers[number]
        base = next(base for base in MUTABLE if isinstance(container, base))
        if not isinstance(content, base) or content is container:
            raise MalformedError("a change of the type of what was passed")
        pairs.append((base, container, content))
    for base, container, content in pairs:
        _refill(base, container, content)


def _refill(base: Any, container: Any, content: Any) -> None:
    if base in (list, bytearray):
        base.__setitem__(container, slice(None), content)
    elif base is dict:
        dict.clear(container)
        for key, value in dict.items(content):
            dict.__setitem__(container, key, value)
    else:
        base.clear(container)
        (base.extend if base is deque else base.update)(container, content)
