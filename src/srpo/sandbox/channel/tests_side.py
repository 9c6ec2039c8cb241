"""The process of the trusted tests: they run here, and reach the program over the channel.

Only the standard library. Expected values stay here; only arguments are sent. Whatever the
program's process sends is data: it cannot run code here, and it cannot take back a failure.
"""

from __future__ import annotations

import builtins
import importlib
import random
import sys
import time
import types
import weakref
from typing import Any, NoReturn

from srpo.sandbox.channel.decoding import Decoder, MalformedError
from srpo.sandbox.channel.encoding import COUNT, KNOWN_BUILTINS, NotPlainError, TooLargeError
from srpo.sandbox.channel.model_side import CALLABLE, MODULE_NAME
from srpo.sandbox.channel.opaque import Opaque, OpaqueCallable
from srpo.sandbox.channel.peer import (
    MAX_REQUEST_BYTES,
    ChannelClosedError,
    ChannelTimeoutError,
    Frames,
    Peer,
    UnsentError,
    handle_node,
    nearest_builtin,
)
from srpo.sandbox.channel.tests_run import TESTS_NAME, Prepared

_MAX_ERROR_CHARS = 300
_MAX_BASES = 50


class LostError(BaseException):
    """The program cannot be used any more. Not an Exception: tests should not catch it."""


class Tests(Peer):
    """The tests' end of the channel. The first thing that goes wrong with it stays."""

    def __init__(self, frames: Frames, call_timeout_s: float) -> None:
        super().__init__(frames, MAX_REQUEST_BYTES, call_timeout_s)
        self.broken: tuple[str, str] | None = None  # status and error
        self.num_uses = 0  # of objects of the program
        self._opaque: weakref.WeakValueDictionary[int, Opaque] = weakref.WeakValueDictionary()
        self._classes: dict[int, type] = {}  # exception classes of the program
        self._class_numbers: dict[int, int] = {}
        self._given: list[object] = []  # what the program got handles of
        self._numbers: dict[int, int] = {}

    def lose(self, status: str, error: str) -> NoReturn:
        """Give up on the program, for good."""
        self.broken = self.broken or (status, error[:_MAX_ERROR_CHARS])
        raise LostError(self.broken[1])

    def refusal(self, name: str) -> TypeError:
        """The exception for a question that no object of the program is asked; remembers it."""
        error = f"{name} of an object of the program, which is never asked"
        self.broken = self.broken or ("failed", error)
        return TypeError(error)

    def check_time(self, taken_s: float) -> None:
        """Give up on the program if several answers together took longer than a call may."""
        if self._call_timeout_s is not None and taken_s > self._call_timeout_s:
            self.lose("timed_out", "an iteration did not end in time")

    def wait_loaded(self, deadline_s: float) -> None:
        """Wait until the program is loaded. Raises LostError if it is not."""
        try:
            body = self.frames.receive(deadline_s)
        except (ChannelClosedError, MalformedError) as error:
            self.lose("crashed", f"while the program was loaded: {error}")
        except ChannelTimeoutError:
            self.lose("timed_out", "the program was not loaded in time")
        if body != b"l":
            self.lose("crashed", f"not loaded: {body[1:].decode('utf-8', 'replace')}")

    def ask(
        self,
        op: str,
        target: object,
        args: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        """As `Peer.ask`; but what is wrong with the channel is a LostError."""
        if self.broken is not None and self.broken[0] != "failed":
            raise LostError(self.broken[1])
        self.num_uses += op != "names"
        try:
            return super().ask(op, target, args, named)
        except UnsentError as error:
            self.lose(error.status, str(error))
        except ChannelTimeoutError:
            self.lose("timed_out", "a call did not end in time")
        except ChannelClosedError:
            self.lose("crashed", "the program's process ended")
        except MalformedError as error:
            self.lose("crashed", f"a forged answer: {error}")
        except NotPlainError as error:
            raise TypeError(f"cannot be passed to the program: {error}") from None
        except TooLargeError:
            raise OverflowError("too large to be passed to the program") from None

    def export(self, value: Any) -> bytes:
        """Its own objects go back as they came; functions, iterators and nodes as handles."""
        if isinstance(value, Opaque):
            return handle_node(b"L", value._srpo_number)
        if id(value) in self._class_numbers:
            return handle_node(b"L", self._class_numbers[id(value)])
        if not (callable(value) or hasattr(type(value), "__iter__") or _is_of_tests(value)):
            raise NotPlainError(f"a value of type {type(value).__name__}")
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._given)
            self._given.append(value)
        return handle_node(b"H", number) + COUNT.pack(0)

    def resolve(self, tag: int, decoder: Decoder) -> object:
        """What a handle of the program is here."""
        if tag == ord("E"):
            return self._exception_class(decoder)
        number = decoder.count()
        if tag == ord("L"):
            return self._given[number]
        if tag != ord("H"):
            raise MalformedError("an unknown type of value")
        flags = decoder.count()
        found = self._opaque.get(number)
        if found is None:
            found = OpaqueCallable(self, number) if flags & CALLABLE else Opaque(self, number)
            self._opaque[number] = found
        return found

    def _exception_class(self, decoder: Decoder) -> type:
        """A class of the tests for one of the program's, with the same builtin base."""
        count = decoder.count()
        if count > _MAX_BASES:
            raise MalformedError("too many base classes")
        own = [(decoder.count(), decoder.name()) for _ in range(count)]
        kind = KNOWN_BUILTINS.get(decoder.name())
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise MalformedError("not an exception")
        for number, name in reversed(own):
            known = self._classes.get(number)
            if known is None:
                known = type(name.replace("\0", ""), (kind,), {})
                self._classes[number] = known
                self._class_numbers[id(known)] = number
            kind = known
        return kind

    def perform(self, op: str, target: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function that the program was given, or use an iterator or a node of it."""
        if id(target) not in self._numbers:  # of living objects, so no other has this id
            raise MalformedError("asked for something it was never given")
        if op == "call" and callable(target):
            return self._call_back(target, args, named)
        if op == "iter":
            return iter(target)
        if op == "next" and hasattr(type(target), "__next__"):
            try:
                return (next(target),)
            except StopIteration:
                return ()
        name = args[0] if args else None
        if type(name) is str and not name.startswith("_") and _is_of_tests(target):
            if op == "attr" and len(args) == 1:
                return getattr(target, name)
            if op == "setattr" and len(args) == 2:
                return setattr(target, name, args[1])
        raise TypeError(f"{op} is not possible with this object of the tests")

    def _call_back(self, target: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            return target(*args, **named)
        except AssertionError as error:
            # The program may catch it; a failed assertion of the tests stays a failure.
            self.broken = self.broken or ("failed", _told(error))
            raise

    @staticmethod
    def builtin_base(kind: type | None) -> type | None:
        """The nearest builtin base of an exception's class."""
        return None if kind is None else nearest_builtin(kind)


def _is_of_tests(value: object) -> bool:
    """Whether a value is an instance of a class that the tests define."""
    return type(value).__module__ == TESTS_NAME


def run_asserts(
    fd: int, prepared: bytes, *, call_timeout_s: float, max_bytes: int
) -> tuple[str, str]:
    """Run trusted tests against the program at the other end of `fd`; status and error.

    `setup` and `tests` are executed, then `check(entry_point)`, unit tests and functions named
    `test_*` if the tests define but do not run them. `ok` means that nothing was raised, that
    the program was used at all, and that nothing was ever wrong with the channel. `failed`:
    something was raised, or an object of the program was asked to compare itself. `timed_out`:
    loading, or one call, took longer than `call_timeout_s` seconds. `crashed`: the program
    cannot be loaded, its process ended, or it broke the rules of the channel.
    `too_much_output`: a reply needed more than `max_bytes`. `not_plain`: a value that is not
    plain could not be named by a handle either. The error has at most 300 characters and may
    hold text of the program. Raises nothing; as a whole it has no deadline.
    """
    random.seed(0)
    peer: Tests | None = None
    try:
        peer = Tests(Frames(fd, max_bytes, timed=True), call_timeout_s)
        peer.wait_loaded(time.monotonic() + call_timeout_s)
        _run(peer, Prepared(prepared))
    except BaseException as error:  # noqa: BLE001 - SystemExit, too, proves nothing
        if peer is None or peer.broken is None:
            return "failed", _told(error)
    if peer.broken is not None:
        return peer.broken
    if peer.num_uses == 0:
        return "failed", "the tests never used the program"
    return "ok", ""


def _run(peer: Tests, text: Prepared) -> None:
    module = types.ModuleType(TESTS_NAME)
    sys.modules[TESTS_NAME] = module
    space = module.__dict__
    space["__builtins__"] = builtins
    wanted = text.wanted
    found = peer.ask("names", None, tuple(wanted))
    if type(found) is not tuple or any(type(p) is not tuple or len(p) != 2 for p in found):
        peer.lose("crashed", "a forged answer: names")
    program = {name: value for name, value in found if type(name) is str and name in wanted}
    _offer_module(peer)
    space.update(text.standard())
    space.update(program)
    if text.uses_unittest:
        _leave_unit_tests_to_us()
    exec(text.setup_code, space)
    for name in text.entries:  # not the stub that the setup may hold
        if name in program:
            space[name] = program[name]
    exec(text.tests_code, space)
    if text.entry_point and text.calls_check(space):
        if text.entry_point not in program:
            raise NameError(f"the program has no {text.entry_point}")
        space["check"](program[text.entry_point])
    text.run_rest(space)


def _leave_unit_tests_to_us() -> None:
    """`unittest.main()` would end the process; what it would run is run after the tests."""
    unit_tests: Any = importlib.import_module("unittest")
    unit_tests.main = lambda *args, **named: None


def _offer_module(peer: Tests) -> None:
    """Let tests import the program: `from solution import add`."""

    def find(name: str) -> Any:
        found = () if name.startswith("__") else peer.ask("names", None, (name,))
        if type(found) is not tuple or len(found) != 1 or len(found[0]) != 2:
            raise AttributeError(name)
        return found[0][1]

    module = types.ModuleType(MODULE_NAME)
    module.__dict__["__getattr__"] = find
    sys.modules[MODULE_NAME] = module


def _told(error: BaseException) -> str:
    """An exception of the tests in a few words; its line, if it has no text."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the text asks an object of a program that is gone
        text = ""
    trace = error.__traceback__
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == f"<{TESTS_NAME}>":
            line = trace.tb_lineno
        trace = trace.tb_next
    place = f" (line {line} of the tests)" if line else ""
    return f"{type(error).__name__}{': ' + text if text else ''}"[:250] + place
