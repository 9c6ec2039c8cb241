"""The caller's end of the channel for function cases: it runs in our own process.

Only plain values are taken from the program's process: no handle, no reference, no object. Every
wait has a deadline, and what is received at once has a limit.
"""

from __future__ import annotations

from srpo.sandbox import CaseOutput, CaseStatus, FunctionCall
from srpo.sandbox.channel.decoding import Decoder, MalformedError
from srpo.sandbox.channel.encoding import Encoder, NotPlainError, TooLargeError
from srpo.sandbox.channel.peer import (
    MAX_REQUEST_BYTES,
    ChannelClosedError,
    ChannelTimeoutError,
    Frames,
)

_MAX_ERROR_CHARS = 300
_STATUSES: dict[bytes, CaseStatus] = {
    b"e": "crashed",
    b"n": "not_plain",
    b"m": "too_much_output",
}


class Caller:
    """Calls functions of a program that another process has loaded (`model_side.serve`).

    `fd` is one end of a socket pair, which is made non-blocking and never closed here. A reply
    of more than `max_bytes` bytes is `too_much_output`. Deadlines are moments of
    `time.monotonic`. Once the program's process is gone, late, or has broken the rules of the
    channel, every later call has the same outcome at once.
    """

    def __init__(self, fd: int, max_bytes: int) -> None:
        self._frames = Frames(fd, max_bytes, timed=True)
        self._lost: CaseOutput | None = None

    def wait_loaded(self, deadline_s: float) -> CaseOutput | None:
        """Wait until the program is loaded: None, or `crashed` or `timed_out` if it is not."""
        body = self._exchange(None, deadline_s)
        if isinstance(body, CaseOutput):
            return body
        if body == b"l":
            return None
        if body[:1] == b"x":
            return self._lose("crashed", _text(body))
        return self._lose("crashed", "a forged answer: not a report of loading")

    def call(self, call: FunctionCall, deadline_s: float) -> CaseOutput:
        """Call a function with new copies of the arguments; what it returned, or why not.

        Arguments that cannot be passed (nested deeper than 128, or more than 64 MiB) are
        `not_plain`, and nothing is called.
        """
        if self._lost is not None:
            return self._lost
        encoder = Encoder(MAX_REQUEST_BYTES)
        encoder.data += b"v"
        try:
            encoder.add(call.function)
            encoder.add(call.args)
        except (NotPlainError, TooLargeError) as error:
            reason = str(error) or "too large"
            return CaseOutput("not_plain", error=f"the arguments cannot be passed: {reason}")
        body = self._exchange(encoder.data, deadline_s)
        if isinstance(body, CaseOutput):
            return body
        status = _STATUSES.get(body[:1])
        if status is not None:
            return CaseOutput(status, error=_text(body))
        try:
            return CaseOutput("ok", value=_value(body))
        except MalformedError as error:
            return self._lose("crashed", f"a forged answer: {error}")

    def _exchange(self, request: bytearray | None, deadline_s: float) -> bytes | CaseOutput:
        try:
            if request is not None:
                self._frames.send(request, deadline_s)
            return self._frames.receive(deadline_s)
        except ChannelTimeoutError:
            return self._lose("timed_out", "")
        except ChannelClosedError:
            return self._lose("crashed", "the program's process ended")
        except MalformedError as error:
            return self._lose("crashed", f"a forged answer: {error}")

    def _lose(self, status: CaseStatus, error: str) -> CaseOutput:
        self._lost = CaseOutput(status, error=error)
        return self._lost


def _value(body: bytes) -> object:
    if body[:1] != b"r":
        raise MalformedError("an unknown kind of frame")
    decoder = Decoder(body)
    decoder.skip(1)
    value = decoder.value()
    decoder.end()
    return value


def _text(body: bytes) -> str:
    return body[1:].decode("utf-8", "replace")[:_MAX_ERROR_CHARS]
