"""What each strength does: once in the server, and for each program in its own process."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srpo.sandbox.server import kernel, landlock, limits, namespaces, seccomp
from srpo.sandbox.server.folders import empty_folder, holds_more

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
# Of a scratch folder on a disk; one in memory has such limits of its own.
_MAX_ENTRIES, _MAX_BYTES = 1024, 64 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What the parent asks of a server.

    >>> Plan("landlock", "/x", (), (), None).strength
    'landlock'
    """

    strength: str  # see srpo.sandbox.strengths
    folder: str  # to mount a new root on; where there is none, the scratch folder of programs
    readable: tuple[str, ...]
    hidden: tuple[str, ...]  # below the readable: installed packages
    user_id: int | None  # that programs run as; None: the server's own

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Plan:
        """The plan that crossed as JSON, which knows no tuples."""
        lists = {name: tuple(fields[name]) for name in ("readable", "hidden")}
        return cls(**{**fields, **lists})


class Isolation:
    """The isolation in force. Made once, before the server's first job. Raises OSError."""

    def __init__(self, plan: Plan, control: socket.socket) -> None:
        self.plan = plan
        self.per_program = plan.strength == "namespaces-per-program"
        self.in_namespaces = plan.strength.startswith("namespaces")
        self.lacks_landlock = self.in_namespaces and landlock.version() == 0
        limits.limit_server()
        if self.in_namespaces:
            namespaces.enter(control, plan.folder, plan.readable, plan.hidden)
            self.scratch = namespaces.SCRATCH
        else:
            self.scratch = plan.folder
            os.chdir(self.scratch)
        self._filter: kernel.Filter | None = None
        self._limits = limits.ProgramLimits(
            count_processes=self.in_namespaces or plan.user_id is not None
        )
        if plan.strength != "none":
            self._prepare_fences()
        gc.collect()
        gc.freeze()  # children do not touch, and so do not copy, these pages

    def _prepare_fences(self) -> None:
        machine = kernel.machine()
        if machine < 0:
            raise OSError("seccomp: no table of system calls for this machine")
        if self.per_program:
            self._filter = kernel.Filter(seccomp.forking_filter(machine), seccomp.PID_MARK)
            return
        rules_fd = self._make_rules()
        # Python may lie where only the old user reads; Landlock says what of that can be read.
        keep_reading = self.plan.strength == "landlock" and self.plan.user_id is not None
        limits.become(self.plan.user_id, keep_reading=keep_reading)
        if self.in_namespaces:  # else it would die with the thread of the parent that started it
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing user cleared it
        landlock.apply_rules(rules_fd)
        kernel.Filter(seccomp.server_filter(machine), seccomp.PID_MARK).install()
        code = seccomp.program_filter(
            machine, alone=self.in_namespaces, read_only=self.plan.strength == "seccomp"
        )
        self._filter = kernel.Filter(code, seccomp.PID_MARK)

    def _make_rules(self) -> int:
        """Landlock's rules: needed by the strength of that name, welcome in namespaces.

        None where they are not needed, or lacking in namespaces.
        """
        if self.plan.strength == "seccomp":
            return landlock.NO_RULES
        if self.in_namespaces:
            readable, writable = ["/"], [namespaces.SCRATCH, namespaces.SHARED, "/dev/null"]
        else:
            readable = [*_without(self.plan.readable, self.plan.hidden), *_DEVICES]
            writable = [self.scratch, "/dev/null"]
        return landlock.NO_RULES if self.lacks_landlock else landlock.make_rules(readable, writable)

    def fork(self, *, memory_mib: int, file_bytes: int) -> int:
        """Fork the process of a program: 0 in the child, else its id. Raises OSError."""
        self._limits.set(memory_mib=memory_mib, file_bytes=file_bytes)
        return namespaces.fork_apart() if self.per_program else os.fork()

    def confine(self) -> None:
        """Confine this process, the child's, for good. Raises OSError if a part of it fails.

        As short as can be: each page of memory that it touches has to be copied.
        """
        if not self.in_namespaces:  # there, all end with process 1
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.per_program:
            self._give_up_privileges()
        if self._filter is not None:
            self._filter.install()

    def _give_up_privileges(self) -> None:
        limits.become(self.plan.user_id)
        rules_fd = self._make_rules()  # here, as its scratch folder is a new one
        landlock.apply_rules(rules_fd)

    def end(self, pid: int) -> None:
        """Kill a child, and what it may have started. It is not collected yet."""
        if self.plan.strength == "none":
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    def too_much_left(self) -> bool:
        """Whether a running program fills a scratch folder that has no limit of its own."""
        return not self.in_namespaces and holds_more(self.scratch, _MAX_ENTRIES, _MAX_BYTES)

    def clean(self) -> None:
        """Empty the scratch folder after a program, however deep and closed it left it."""
        if self.per_program:
            return
        # Mode and times are marks that the next program could read.
        os.chmod(self.scratch, 0o700)
        empty_folder(self.scratch)
        os.utime(self.scratch, (0, 0))
        os.chdir(self.scratch)


def _without(paths: tuple[str, ...], hidden: tuple[str, ...]) -> list[str]:
    """The paths, with a folder that holds a hidden one replaced by the rest of what it holds."""
    kept: list[str] = []
    for path in paths:
        inside = [name for name in hidden if str(Path(name).parent) == path]
        if inside and Path(path).is_dir():
            kept += [str(entry) for entry in Path(path).iterdir() if str(entry) not in inside]
        else:
            kept.append(path)
    return kept
