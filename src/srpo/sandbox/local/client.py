"""The parent's end of one fork server: start it, have a program run, end it."""

from __future__ import annotations

import array
import contextlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srpo.errors import SandboxError
from srpo.sandbox.local import memory_files
from srpo.sandbox.local.bubblewrap import fence_command
from srpo.sandbox.local.user_ids import map_ids, program_user
from srpo.sandbox.server.folders import empty_folder
from srpo.sandbox.strengths import Strength

_BOOT = Path(__file__).parents[1] / "server" / "boot.py"
_START_TIMEOUT_S, _END_TIMEOUT_S, _REPLY_SLACK_S = 30.0, 2.0, 5.0
_MAX_REPLY_BYTES = 4096
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_STREAM
# -s -P -E would be -I, but the seed of hash() comes from the (clean) environment.
_PYTHON = (sys.executable, "-s", "-P", "-S", str(_BOOT))
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip
_SYSTEM_LIBRARIES = (
    "/lib", "/lib64", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/locale", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache",
)  # fmt: skip
_PACKAGES = ("site-packages", "dist-packages")


class ServerDiedError(Exception):
    """The server ended or said nothing in time. Not the program's fault, as far as is known."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program's process ended.

    >>> Ending(exit_code=0, killed="", seconds=0.01).exit_code
    0
    """

    exit_code: int  # negative: the signal that ended it
    killed: str  # "", "timeout", "asked" (by us) or "scratch" (too many files)
    seconds: float  # wall time


@dataclass(frozen=True, slots=True)
class Use:
    """What one process may use.

    >>> Use(timeout_s=2.0, memory_mib=512, file_bytes=1 << 20).memory_mib
    512
    """

    timeout_s: float
    memory_mib: int
    file_bytes: int  # size of a file that it writes, its output among them


class ServerClient:
    """One server of a given strength; it runs one program at a time.

    Raises SandboxError if this machine does not allow the strength.
    """

    def __init__(self, strength: Strength, fence: str = "") -> None:
        self.strength = strength
        self._fence = fence
        # A place to mount a new root on, or a folder for programs where there is no new root.
        self._folder = tempfile.mkdtemp(prefix="srpo-sandbox-")
        ours, theirs = socket.socketpair(socket.AF_UNIX, _KIND)
        self._control = ours
        try:
            with theirs:
                self._process = self._popen(theirs.fileno())
        except (OSError, SandboxError) as error:
            self._remove_folder()
            ours.close()
            raise SandboxError(f"the sandbox's server cannot be started: {error}") from None
        try:
            self._greet()
        except (OSError, ServerDiedError) as error:
            self.close()
            raise SandboxError(str(error)) from None

    def _popen(self, control_fd: int) -> subprocess.Popen[bytes]:
        readable = readable_paths()
        if self.strength == "namespaces-per-program":
            readable.append(os.path.realpath(sys.executable))  # a program may start another
        command = [*_PYTHON, self._asked(control_fd, readable)]
        return subprocess.Popen(
            fence_command(command, self._fence, readable, self._folder),
            pass_fds=[control_fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is for the trainer alone
        )

    def _asked(self, control_fd: int, readable: Sequence[str]) -> str:
        user_id = None if self._fence else program_user(self.strength)
        if self.strength == "landlock" and user_id is not None:
            os.chown(self._folder, user_id, user_id)
        library = sysconfig.get_path("stdlib")
        plan = {
            "strength": self.strength,
            "folder": self._folder,
            "readable": readable,
            "hidden": [f"{library}/{name}" for name in _PACKAGES],
            "user_id": user_id,
        }
        path = [entry for entry in sys.path if entry.endswith("lib-dynload")]
        path = list(dict.fromkeys([library, f"{library}/lib-dynload", *path]))
        return json.dumps({"control": control_fd, "path": path, "plan": plan})

    def _greet(self) -> None:
        word = self._receive(_START_TIMEOUT_S)
        if word == b"unshared":
            self._control.send(map_ids(self._process.pid))
            word = self._receive(_START_TIMEOUT_S)
        self.lacks_landlock = word == b"ready without Landlock"
        if not word.startswith(b"ready"):
            raise ServerDiedError(word.decode("utf-8", "replace").removeprefix("failed "))
        if self.strength.startswith("namespaces"):
            self._remove_folder()  # the new root is mounted nowhere any more

    @property
    def pid(self) -> int:
        """Process id of the server, or of what stands before it."""
        return self._process.pid

    def start(self, role: str, payload: bytes, use: Use, fds: Sequence[int]) -> None:
        """Start a program's process. `fds` become its descriptors 0, 1, 2, and so on.

        Raises ServerDiedError. Every start must be followed by one `wait`.
        """
        request = {
            "role": role,
            "timeout_s": use.timeout_s,
            "memory_mib": use.memory_mib,
            "file_bytes": use.file_bytes,
        }
        payload_fd = memory_files.sealed(payload)
        rights = array.array("i", [payload_fd, *fds])
        try:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            self._control.sendmsg([json.dumps(request).encode()], ancillary)
        except OSError as error:
            raise ServerDiedError(f"the sandbox's server is gone ({error})") from None
        finally:
            os.close(payload_fd)
        self._timeout_s = use.timeout_s + _REPLY_SLACK_S

    def stop(self) -> None:
        """Have the running program killed; `wait` tells how it ended."""
        with contextlib.suppress(OSError):
            self._control.send(b"end")

    def wait(self) -> Ending:
        """How the program ended. Raises ServerDiedError, also if it could not be confined."""
        try:
            reply = json.loads(self._receive(self._timeout_s))
        except (OSError, ValueError) as error:
            raise ServerDiedError(f"the sandbox's server is gone ({error})") from None
        if not reply["started"]:
            raise ServerDiedError(f"a program could not be confined: {reply['error']}")
        return Ending(reply["exit"], reply["killed"], reply["seconds"])

    def _receive(self, timeout_s: float) -> bytes:
        poll = select.poll()
        poll.register(self._control.fileno(), select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            raise ServerDiedError(f"the sandbox's server said nothing for {timeout_s:.0f} s")
        word = self._control.recv(_MAX_REPLY_BYTES)
        if not word:
            raise ServerDiedError("the sandbox's server has ended")
        return word

    def close(self) -> None:
        """Let the server end by itself, else kill it; its programs end with it."""
        self._control.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._remove_folder()

    def _remove_folder(self) -> None:
        with contextlib.suppress(OSError):
            empty_folder(self._folder)
            Path(self._folder).rmdir()


def script_payload(program: str, prelude: str) -> bytes:
    """What the role "script" reads; see `server.roles.run_script`."""
    return f"{len(prelude)}\n{prelude}{program}".encode("utf-8", "surrogatepass")


def readable_paths() -> list[str]:
    """What programs may read: the standard library and what it is linked with."""
    library = sysconfig.get_path("stdlib")
    paths = [library, sysconfig.get_path("platstdlib"), *_SYSTEM_LIBRARIES]
    prefix = Path(sys.base_prefix) / "lib"
    if not str(prefix).startswith("/usr"):  # the libraries of a Python of its own
        paths += [str(file) for file in sorted(prefix.glob("*.so*")) if file.is_file()]
    return [path for path in dict.fromkeys(paths) if Path(path).exists()]


_REHEARSAL = """
import os, socket
found = []
def attempt(what, act):
    try:
        act()
    except OSError:
        return
    found.append(what)
attempt("read a file of yours", lambda: open({canary!r}).close())
attempt("write beside it", lambda: open({canary!r} + "-2", "w").close())
attempt("open a socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
attempt("signal another process", lambda: os.kill({pid}, 0))
if not {may_fork}:
    attempt("start a process", lambda: os.fork() or os._exit(0))
print("holes:", ", ".join(found))
"""


def rehearse(client: ServerClient) -> str:
    """Let a program try what it must not be able to do; what it could, "" if nothing.

    Raises ServerDiedError if not even that program could be run.
    """
    with tempfile.TemporaryDirectory(prefix="srpo-rehearsal-") as folder:
        canary = Path(folder) / "canary"
        canary.write_text(secrets.token_hex(), encoding="ascii")
        Path(folder).chmod(0o777)
        canary.chmod(0o644)
        program = _REHEARSAL.format(
            canary=str(canary),
            pid=os.getpid(),
            may_fork=client.strength == "namespaces-per-program",
        )
        holes = _run(client, program)
    if client.strength == "seccomp":  # what its sentence says that it does not fence
        holes.discard("read a file of yours")
    return ", ".join(sorted(holes))


def _run(client: ServerClient, program: str) -> set[str]:
    source, output, errors = memory_files.sealed(b""), memory_files.empty(), memory_files.empty()
    try:
        use = Use(timeout_s=5.0, memory_mib=512, file_bytes=1 << 16)
        client.start("script", script_payload(program, ""), use, [source, output, errors])
        client.wait()
        said = (memory_files.content(output, 1 << 16) or b"").decode("utf-8", "replace")
        if not said.startswith("holes:"):
            raise ServerDiedError(f"the rehearsal failed: {memory_files.tail(errors, 200)}")
    finally:
        for fd in (source, output, errors):
            os.close(fd)
    return {hole.strip() for hole in said.removeprefix("holes:").split(",") if hole.strip()}
