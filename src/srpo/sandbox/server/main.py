"""The server's loop: one request, one program, one reply, until the parent closes its end."""

from __future__ import annotations

import array
import importlib
import json
import os
import random
import signal
import socket
import sys
from typing import Any

from srpo.sandbox.server import roles
from srpo.sandbox.server.isolation import Isolation, Plan
from srpo.sandbox.server.jobs import Runner

_PRELOADED = (
    "abc array ast atexit bisect calendar cmath codecs collections contextlib copy dataclasses "
    "datetime decimal enum fractions functools hashlib heapq io itertools json locale math numbers "
    "operator queue random re select socket statistics string struct textwrap threading time "
    "traceback types typing unicodedata"
)
_MAX_MESSAGE_BYTES, _MAX_FDS = 4096, 8


def serve() -> None:
    """Set up, say so, answer. The one argument is JSON: `control` (a descriptor) and the plan."""
    asked = json.loads(sys.argv[1])
    control = socket.socket(fileno=asked["control"])
    sys.path[:] = asked["path"]
    sys.argv[:] = ["solution.py"]
    sys.executable = os.path.realpath(sys.executable)
    # A program may signal process 1 of its namespaces, this one: what has no handler is ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in _PRELOADED.split():
        importlib.import_module(name)
    sys.dont_write_bytecode = True  # our own modules are cached by now, programs' never are
    roles.prepare()
    for name in [name for name in sys.modules if name.split(".")[0] == "srpo"]:
        del sys.modules[name]  # a program cannot import the grader
    try:
        isolation = Isolation(Plan.read(asked["plan"]), control)
    except OSError as error:
        control.send(f"failed {error.strerror or error}".encode()[:_MAX_MESSAGE_BYTES])
        os._exit(1)
    runner = Runner(isolation, control)
    control.send(b"ready without Landlock" if isolation.lacks_landlock else b"ready")
    while True:
        request, fds = _receive(control)
        control.send(json.dumps(_answer(runner, request, fds)).encode())
        if runner.spoiled:
            os._exit(0)  # the parent starts another server


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next request with its descriptors. Ends the server when the parent is gone."""
    while True:
        space = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
        text, extra, _, _ = control.recvmsg(_MAX_MESSAGE_BYTES, space)
        if not text:
            os._exit(0)
        fds = array.array("i")
        for _, _, data in extra:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if fds:  # else it asks to end a program that has ended
            return json.loads(text), list(fds)


def _answer(runner: Runner, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    random.seed(0)  # programs share the server's state: the same program must draw the same
    try:
        return runner.run(request, fds, roles.ROLES[request["role"]])
    except OSError as error:
        return {"started": False, "error": str(error), "exit": 0, "killed": "", "seconds": 0.0}
    finally:
        for fd in fds:
            os.close(fd)
