"""System calls that Python does not offer, by name. Linux on x86-64 and aarch64."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
CAP_DAC_READ_SEARCH = 1 << 2
_LAST_CAP = 63  # those a kernel does not have are refused, which is as good

# By their number on x86-64, and on aarch64.
_NUMBERS = {
    "unshare": (272, 97), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "capset": (126, 91), "clone": (56, 220), "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "close_range": (436, 436), "pidfd_open": (434, 434),
}  # fmt: skip
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_prctl = _libc.prctl
_prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
# Keeps the interpreter's lock, as a fork must.
_forking_libc = ctypes.PyDLL(None, use_errno=True)
_forking_libc.syscall.restype = ctypes.c_long


def machine() -> int:
    """Column of the tables of system calls: 0 x86-64, 1 aarch64, -1 neither."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return -1
    return {"x86_64": 0, "aarch64": 1}.get(os.uname().machine, -1)


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call. Raises OSError, with the call's name, if the kernel refuses."""
    column = machine()
    if column < 0:
        raise OSError(f"{name}: no table of system calls for this machine")
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(_NUMBERS[name][column]), *wide))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """Change something of this process; the kernel's answer, -1 if it refuses."""
    return int(_prctl(option, *(*arguments, 0, 0, 0, 0)[:4]))


class Filter:
    """A seccomp filter, laid out ready so that a forked child has next to nothing left to do.

    `pid_mark` stands in the code wherever the process's own id is to stand.
    """

    class _Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    def __init__(self, code: bytes, pid_mark: int) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = self._Program(len(code) // 8, ctypes.cast(self._code, ctypes.c_void_p))
        self._address = ctypes.addressof(self._program)
        mark = struct.pack("I", pid_mark)
        self._marks = [i for i in range(0, len(code), 4) if code[i : i + 4] == mark]

    def install(self) -> None:
        """Add it to this process, for good. Raises OSError."""
        if self._marks:
            pid = os.getpid()
            for place in self._marks:
                struct.pack_into("I", self._code, place, pid)
        if _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._address, 0, 0) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"seccomp: {os.strerror(error)}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount. Empty texts are passed as null. Raises OSError."""
    texts = [text.encode() if text else None for text in (source, target, kind, data)]
    call("mount", texts[0], texts[1], texts[2], flags, texts[3])


def drop_capabilities(keep: int = 0) -> None:
    """Give all capabilities up, for good, but those in the mask `keep`. Raises OSError."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_CAP + 1):
        prctl(PR_CAPBSET_DROP, capability)
    header = ctypes.create_string_buffer(struct.pack("=II", _CAPABILITY_VERSION_3, 0), 8)
    sets = ctypes.create_string_buffer(struct.pack("=6I", keep, keep, 0, 0, 0, 0), 24)
    call("capset", header, sets)


def fork_into(namespaces: int) -> int:
    """`os.fork` into new namespaces (CLONE_NEW...): 0 in the child, else the child's id.

    For processes with one thread. Raises OSError.
    """
    import signal

    ctypes.pythonapi.PyOS_BeforeFork()
    number = ctypes.c_long(_NUMBERS["clone"][machine()])
    zero = ctypes.c_long(0)
    flags = ctypes.c_long(namespaces | signal.SIGCHLD)
    pid = int(_forking_libc.syscall(number, flags, zero, zero, zero, zero))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"clone: {os.strerror(error)}")
    return pid
