"""Server processes that answer one request at a time, side by side, replaced when they die.

Used for the sandbox and for the math verifier. Each server is one program started by exec (never
by fork, so no lock or thread of the trainer comes along), with a pipe in each direction. It leaves
when its input closes, so it never outlives the trainer.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from srpo.errors import InfraError, SandboxError
from srpo.sandbox.wire import receive_message, send_message

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 2.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class ServerProcess:
    """One server and its two pipes; `hello` is its first message."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd="/",
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is for the trainer alone
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.hello: object = None
        try:
            self.hello = self._receive(_START_TIMEOUT_S)
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise SandboxError(
                f"{' '.join(command[:1])} could not start a server process "
                f"({type(error).__name__} {error}); check that this Python runs at all"
            ) from None
        if isinstance(self.hello, dict) and self.hello.get("failed"):
            self.close()
            raise SandboxError(f"a server process cannot do its work: {self.hello['failed']}")

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def ask(self, request: object, timeout_s: float) -> object:
        """The server's answer. Raises OSError, EOFError or ValueError if it does not come."""
        send_message(self._stdin.fileno(), request)
        return self._receive(timeout_s)

    def _receive(self, timeout_s: float) -> object:
        # Once an answer begins, the rest follows at once: servers write whole messages.
        poll = select.poll()
        poll.register(self._stdout.fileno(), select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            raise TimeoutError(f"no answer in {timeout_s:.0f} s")
        return receive_message(self._stdout.fileno())

    def close(self) -> None:
        """Let the server end by itself, else kill it; its children die with it."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        if isinstance(self.hello, dict) and "scratch" in self.hello:
            shutil.rmtree(self.hello["scratch"], ignore_errors=True)  # if it was killed


class WorkerPool:
    """Up to `size` servers, each started when it is first needed.

    All run the same command. Safe to use from several threads: a caller waits while all servers
    are busy.
    """

    def __init__(self, size: int, command: Sequence[str], env: dict[str, str]) -> None:
        self.size = size
        self._command = command
        self._env = env
        self._servers: dict[int, ServerProcess] = {}
        self._free: queue.LifoQueue[int] = queue.LifoQueue()  # the warmest first
        for slot in reversed(range(size)):
            self._free.put(slot)

    def first(self) -> ServerProcess:
        """A running server, started if there is none. Raises SandboxError if it cannot start."""
        slot = self._free.get()
        try:
            return self._server(slot)
        finally:
            self._free.put(slot)

    def ask(self, request: object, timeout_s: float) -> object:
        """The answer of some server. A server that dies is replaced and asked once more.

        Raises InfraError if the second one fails too, or no server can be started.
        """
        slot = self._free.get()
        reason = ""
        try:
            for _ in range(2):
                try:
                    return self._server(slot).ask(request, timeout_s)
                except (OSError, EOFError, ValueError) as error:
                    reason = f"{type(error).__name__} {error}".strip()
                    self._drop(slot)
        except SandboxError as error:
            reason = str(error)
        finally:
            self._free.put(slot)
        raise InfraError(f"the server process failed twice ({reason})"[:300])

    def map(self, ask: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`ask` of every item, in order, from as many threads as there are servers.

        An exception of `ask` is raised here, after the threads have stopped.
        """
        results: dict[int, Result] = {}
        errors: list[BaseException] = []
        waiting: queue.SimpleQueue[tuple[int, Item]] = queue.SimpleQueue()
        for numbered in enumerate(items):
            waiting.put(numbered)

        def work() -> None:
            while not errors:
                try:
                    i_item, item = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    results[i_item] = ask(item)
                except BaseException as error:  # noqa: BLE001 - raised again by the caller
                    errors.append(error)

        threads = [
            threading.Thread(target=work, daemon=True) for _ in range(min(self.size, len(items)))
        ]
        for thread in threads:
            thread.start()
        _join(threads, errors)
        if errors:
            raise errors[0]
        return [results[i_item] for i_item in range(len(items))]

    def _server(self, slot: int) -> ServerProcess:
        if slot not in self._servers:
            self._servers[slot] = ServerProcess(self._command, self._env)
        return self._servers[slot]

    def _drop(self, slot: int) -> None:
        server = self._servers.pop(slot, None)
        if server is not None:
            server.close()

    def close(self) -> None:
        """End all servers. Not while another thread is asking."""
        for slot in list(self._servers):
            self._drop(slot)


def _join(threads: Sequence[threading.Thread], errors: list[BaseException]) -> None:
    """Wait for the threads. An interruption (Ctrl-C) ends each after the item it has in hand."""
    try:
        for thread in threads:
            thread.join()
    except BaseException as interruption:
        errors.append(interruption)
        for thread in threads:
            thread.join()
        raise


def clean_env(*passed: str) -> dict[str, str]:
    """A small environment: nothing of the trainer's but the variables named."""
    env = {name: os.environ[name] for name in passed if name in os.environ}
    return {**env, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
