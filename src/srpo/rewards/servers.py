"""Processes that run another package's checks, as verifiers see them: ask, be answered in time.

Each is started by exec, so no lock or thread of the trainer comes along, and leaves when its
input closes. One JSON text a line in each direction.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from typing import IO, Any

from srpo.errors import InfraError

_COMMAND = (sys.executable, "-P", "-m")
_PASSED_ON = ("PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")  # where srpo and the packages are
_START_TIMEOUT_S = 60.0
_SLACK_S = 1.0  # beyond this the server itself hangs, not the work it was given
_CHUNK_BYTES = 1 << 16


class Server:
    """One process that runs `module`. Raises OSError or EOFError if it does not start or answer."""

    def __init__(self, module: str) -> None:
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env.update(PATH="/usr/bin:/bin", LC_ALL="C.UTF-8", PYTHONUTF8="1", PYTHONHASHSEED="0")
        self._process = subprocess.Popen(
            (*_COMMAND, module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd="/",
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is for the trainer alone
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._pending = b""
        try:
            self.hello: dict[str, Any] = self._receive(_START_TIMEOUT_S)
        except (OSError, EOFError, ValueError):
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer to a request, which must come within the time."""
        self._stdin.write(json.dumps(request).encode() + b"\n")
        return self._receive(timeout_s)

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._stdout.fileno(), select.POLLIN)
        while b"\n" not in self._pending:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                raise TimeoutError(f"no answer in {timeout_s:.1f} s")
            chunk = os.read(self._stdout.fileno(), _CHUNK_BYTES)
            if not chunk:
                raise EOFError("the process ended")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        return answer

    def kill(self) -> None:
        """End the process at once; its children die with it."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._process.kill()
        self._process.wait()
        self._stdout.close()


class Servers:
    """Up to `size` servers of a module, each started when first needed, replaced when it dies.

    Safe to use from several threads: a caller waits while all servers are busy. `kind` names them
    in errors.
    """

    def __init__(self, kind: str, module: str, size: int) -> None:
        self.size = size
        self._kind = kind
        self._module = module
        self._servers: dict[int, Server] = {}
        self._free: queue.LifoQueue[int] = queue.LifoQueue()  # the warmest first
        for slot in reversed(range(size)):
            self._free.put(slot)

    def start(self) -> None:
        """Start all servers that are not busy, side by side. Raises InfraError if one cannot."""
        failed: list[str] = []
        slots = _take_all(self._free)

        def begin(slot: int) -> None:
            try:
                self._server(slot)
            except (OSError, EOFError, ValueError) as error:
                failed.append(f"{type(error).__name__} {error}".strip())
            finally:
                self._free.put(slot)

        threads = [threading.Thread(target=begin, args=(slot,), daemon=True) for slot in slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise InfraError(f"a {self._kind} server could not be started ({failed[0]})"[:300])

    def ask(self, request: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """The answer of some server, which has `limit_s` for it.

        A server that dies is replaced and asked once more; one that hangs is only replaced.
        Raises InfraError if there is no answer. Waiting for a free server, and the start of one,
        come on top of the limit.
        """
        slot = self._free.get()
        reason = ""
        try:
            for _ in range(2):
                try:
                    return self._server(slot).ask(request, limit_s + _SLACK_S)
                except (OSError, EOFError, ValueError) as error:
                    reason = f"{type(error).__name__} {error}".strip()
                    self._drop(slot)
                    if isinstance(error, TimeoutError):
                        break
        finally:
            self._free.put(slot)
        raise InfraError(f"the {self._kind} server failed ({reason})"[:300])

    def pids(self) -> list[int]:
        """Process ids of the servers that run."""
        return [server.pid for server in list(self._servers.values())]

    def _server(self, slot: int) -> Server:
        if slot not in self._servers:
            self._servers[slot] = Server(self._module)
        return self._servers[slot]

    def _drop(self, slot: int) -> None:
        server = self._servers.pop(slot, None)
        if server is not None:
            server.kill()

    def close(self) -> None:
        """End all servers, each once it is not busy. They would start again if asked."""
        slots = [self._free.get() for _ in range(self.size)]
        for slot in slots:
            self._drop(slot)
            self._free.put(slot)


def _take_all(slots: queue.LifoQueue[int]) -> list[int]:
    taken = []
    with contextlib.suppress(queue.Empty):
        while True:
            taken.append(slots.get_nowait())
    return taken
