"""One POST of JSON with a deadline for the whole of it and a cap on the answer.

`urllib` and `http.client` limit each read of a socket, so that a service which sends a byte now
and then could hold a caller for ever. Here every read gets only the time that is left.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from srpo.errors import InfraError, SandboxError

_CHUNK_BYTES = 1 << 16
_MAX_TEXT_CHARS = 200  # of a service's own words in our messages
_BUSY = frozenset((408, 425, 429))  # of the 4xx, those that another try may cure


class RequestError(InfraError):
    """A request did not lead to an answer. `again`: another try makes sense."""

    def __init__(self, text: str, *, again: bool = True) -> None:
        super().__init__(text)
        self.again = again


class AnswerTooLargeError(RequestError):
    """The body is longer than its cap; `beginning` holds its first bytes."""

    def __init__(self, beginning: bytes, max_bytes: int) -> None:
        super().__init__(f"the service's answer is longer than {max_bytes} bytes", again=False)
        self.beginning = beginning


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens.

    >>> address_of("http://127.0.0.1:8080/box/")
    Address(secure=False, host='127.0.0.1', port=8080, path='/box')
    """

    secure: bool  # https
    host: str
    port: int
    path: str  # without a slash at its end; what comes after is appended


def address_of(url: str) -> Address:
    """The parts of a service's URL.

    Raises SandboxError if it is not an http or https URL of a host, or holds what would not be
    sent: a query, a fragment, a user or a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError too
        raise _unusable(f"the address cannot be read ({error})") from None
    if any(char <= " " or char == "\x7f" for char in url):
        raise _unusable("the address holds a blank or a control character")
    if parts.scheme not in ("http", "https"):
        raise _unusable(f"the address must begin with http:// or https://, not {url[:40]!r}")
    if not host:
        raise _unusable(f"the address names no host: {url[:80]!r}")
    if port == 0:
        raise _unusable("port 0 is not an address")
    if parts.username is not None or parts.password is not None:
        raise _unusable("a user or password in the address would not be sent; leave it out")
    if parts.query or parts.fragment:
        raise _unusable("the address must end with its path: no query (?) and no fragment (#)")
    secure = parts.scheme == "https"
    if not parts.path.isascii():
        raise _unusable("the path of the address must be percent-encoded")
    return Address(secure, host, port or (443 if secure else 80), parts.path.rstrip("/"))


def _unusable(reason: str) -> SandboxError:
    return SandboxError(f"the remote sandbox cannot be used: {reason}")


def post_json(
    address: Address, path: str, message: object, *, deadline_s: float, max_bytes: int
) -> dict[str, Any]:
    """The JSON object that the service answers with status 200.

    `deadline_s` is a time of `time.monotonic`: connecting, sending and receiving together must
    be done by then; only the name look-up has the resolver's own limit. `max_bytes` caps the
    body. No redirect is followed, no proxy is used. Raises RequestError, and AnswerTooLargeError
    for a longer body; nothing else.
    """
    body = json.dumps(message).encode()
    try:
        answer = _post(address, path, body, deadline_s, max_bytes)
    except TimeoutError:
        raise RequestError("the service did not answer in time") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"{type(error).__name__} {error}"
        raise RequestError(f"the service cannot be reached ({printable(reason)})") from None
    try:
        parsed = json.loads(answer.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the answer is not JSON ({printable(str(error))})") from None
    if not isinstance(parsed, dict):
        raise RequestError("the answer is not a JSON object")
    return parsed


def _post(address: Address, path: str, body: bytes, deadline_s: float, max_bytes: int) -> bytes:
    connection = http.client.HTTPConnection(address.host, address.port)
    connection.sock = cast("Any", _Timed(_connected(address, deadline_s), deadline_s))
    try:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection.request("POST", address.path + path, body, headers)
        with connection.getresponse() as response:
            if response.status != 200:
                raise _refusal(response)
            return _read(response, max_bytes)
    finally:
        connection.close()


def _refusal(response: http.client.HTTPResponse) -> RequestError:
    words = printable(response.read(4 * _MAX_TEXT_CHARS).decode("utf-8", "replace"))
    return RequestError(
        f"the service answered HTTP {response.status} {words}".strip(),
        again=response.status >= 500 or response.status in _BUSY,
    )


def _read(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """The whole body. Raises AnswerTooLargeError, or IncompleteRead if it is cut short."""
    parts = bytearray()
    while chunk := response.read(min(_CHUNK_BYTES, max_bytes + 1 - len(parts))):
        parts += chunk
        if len(parts) > max_bytes:
            raise AnswerTooLargeError(bytes(parts[:_CHUNK_BYTES]), max_bytes)
    if response.length:  # what the header promised and did not come
        raise http.client.IncompleteRead(bytes(parts[:16]), response.length)
    return bytes(parts)


def _connected(address: Address, deadline_s: float) -> socket.socket:
    """A connected socket, encrypted if the address says so."""
    reason = OSError("the host has no address")
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, target in found:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left_s(deadline_s))
            plain.connect(target)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not address.secure:
                return plain
            plain.settimeout(_left_s(deadline_s))
            return ssl.create_default_context().wrap_socket(plain, server_hostname=address.host)
        except OSError as error:  # ssl's errors too
            plain.close()
            reason = error
    raise reason


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class _Timed:
    """As much of a socket as `http.client` uses; every operation ends at the deadline."""

    def __init__(self, inner: socket.socket, deadline_s: float) -> None:
        self._inner, self._deadline_s = inner, deadline_s
        self._is_read = False

    def sendall(self, data: bytes) -> None:
        self._inner.settimeout(_left_s(self._deadline_s))
        self._inner.sendall(data)  # its time-out is for all of the data

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        self._is_read = True
        return io.BufferedReader(_TimedReader(self._inner, self._deadline_s))

    def close(self) -> None:
        if not self._is_read:  # else the reader closes it: the connection lets go before the end
            self._inner.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, inner: socket.socket, deadline_s: float) -> None:
        self._inner, self._deadline_s = inner, deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._inner.settimeout(_left_s(self._deadline_s))
        return self._inner.recv_into(buffer)

    def close(self) -> None:
        self._inner.close()
        super().close()


def printable(text: str) -> str:
    """A service's words on one line, cut to a length fit for a message.

    >>> printable("no\\n\\x1b[31m way")
    'no [31m way'
    """
    kept = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_TEXT_CHARS])
    return " ".join(kept.split())[:_MAX_TEXT_CHARS]
