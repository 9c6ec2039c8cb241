"""What a process that runs an untrusted program gives up before it starts.

Only the standard library; Linux on x86-64 or aarch64. Elsewhere, and where the kernel refuses,
a part is missing: `Confinement.missing` names it, and the sandbox's `describe()` passes it on.

Parts: resource limits; another user id, if the trainer runs as root; Landlock (files outside
the standard library cannot be read, files outside the scratch folder cannot be written); and a
seccomp filter (no processes, no programs, no sockets, no signals to others).
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from srpo.sandbox import landlock

_MIB = 1 << 20
_MAX_FILE_BYTES = 16 * _MIB
_MAX_OPEN_FILES = 64
_MAX_THREADS = 128
_STACK_BYTES = 64 * _MIB
# Between the ranges that systemd and distributions give to users: nobody else's processes.
_FIRST_UID, _NUM_UIDS = 60706, 400

_PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 8, 38, 22, 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2

_SHARED_LIBRARIES = ("/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# System calls that nobody here needs, by their number on (x86-64, aarch64); -1: not there.
_DENIED = {
    "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "kcmp": (312, 272),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "socket": (41, 198), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242), "mount": (165, 40),
    "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),  # would get around Landlock with the one capability kept
    "memfd_create": (319, 279), "memfd_secret": (447, 447),  # memory that no limit counts
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106),
    "personality": (135, 92), "ioperm": (173, -1), "iopl": (172, -1), "acct": (163, 89),
    "quotactl": (179, 60), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "syslog": (103, 116), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30),
}  # fmt: skip
_CLONE, _CLONE3, _KILL, _TGKILL, _SOCKETPAIR, _PRLIMIT, _IOCTL = (
    (56, 220), (435, 435), (62, 129), (234, 131), (53, 199), (302, 261), (16, 29),
)  # fmt: skip
# fork, vfork, setsid, setpgid, prctl, seccomp, capset: the server and the set-up need them.
_DENIED_TO_CHILD = (
    (57, -1), (58, -1), (112, 157), (109, 154), (157, 167), (317, 277), (126, 91),
)  # fmt: skip
_AUDIT_ARCH = (0xC000003E, 0xC00000B7)
_CLONE_THREAD, _AF_UNIX, _TIOCSTI, _TIOCLINUX = 0x10000, 1, 0x5412, 0x541C
_X32_BIT = 0x40000000
_EPERM, _ENOSYS = 1, 38

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _machine() -> int:
    """Column of the tables above, or -1 where there is none."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return -1
    return {"x86_64": 0, "aarch64": 1}.get(os.uname().machine, -1)


def _refuse_unless(number: int, argument: int, test: int, value: int) -> list[_Instruction]:
    """Refuse call `number` unless the low half of its argument passes the test."""
    return [
        (_JUMP_EQ, 0, 4, number),
        (_LOAD, 0, 0, _OFFSET_ARGS + 8 * argument),
        (test, 0, 1, value),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]


def _deny(numbers: Iterable[int]) -> list[_Instruction]:
    code: list[_Instruction] = []
    for number in sorted(set(numbers)):
        if number >= 0:
            code += [(_JUMP_EQ, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    return code


def _assemble(code: list[_Instruction]) -> bytes:
    code = [*code, (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def server_filter(machine: int) -> bytes:
    """The filter of the server and so of every child: calls that neither of them needs.

    What is not listed is allowed, as Landlock holds the files.
    """
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_EQ, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    if machine == 0:  # the x32 variants of all calls
        code += [(_JUMP_GE, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    # ENOSYS makes the C library fall back to clone, whose flags a filter can see.
    code += [(_JUMP_EQ, 0, 1, _CLONE3[machine]), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    code += _deny(pair[machine] for pair in _DENIED.values())
    code += _refuse_unless(_SOCKETPAIR[machine], 0, _JUMP_EQ, _AF_UNIX)
    code += [
        (_JUMP_EQ, 0, 4, _IOCTL[machine]),
        (_LOAD, 0, 0, _OFFSET_ARGS + 8),
        (_JUMP_EQ, 1, 0, _TIOCSTI),  # types into a terminal
        (_JUMP_EQ, 0, 1, _TIOCLINUX),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]
    return _assemble(code)


def child_filter(machine: int, own_pid: int) -> bytes:
    """The filter a child adds: no processes, no signals to others, no way to undo the limits."""
    code: list[_Instruction] = [(_LOAD, 0, 0, _OFFSET_NUMBER)]
    code += _deny(pair[machine] for pair in _DENIED_TO_CHILD)
    code += _refuse_unless(_CLONE[machine], 0, _JUMP_SET, _CLONE_THREAD)
    code += _refuse_unless(_KILL[machine], 0, _JUMP_EQ, own_pid)
    code += _refuse_unless(_TGKILL[machine], 0, _JUMP_EQ, own_pid)
    code += _refuse_unless(_PRLIMIT[machine], 0, _JUMP_EQ, 0)
    return _assemble(code)


def _install_filter(program: bytes) -> bool:
    buffer = ctypes.create_string_buffer(program, len(program))
    wanted = _Filter(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    result = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0)
    return int(result) == 0


def _readable_paths() -> list[str]:
    """The standard library without installed packages, shared libraries, devices without state."""
    library = Path(sysconfig.get_path("stdlib"))
    hidden = {"site-packages", "dist-packages"}
    paths = [str(entry) for entry in library.iterdir() if entry.name not in hidden]
    shared = [f"{root}{name}" for root in ("", "/usr") for name in _SHARED_LIBRARIES]
    zones = ["/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache"]
    return [*paths, *shared, *zones, "/dev/zero", "/dev/urandom"]


class Confinement:
    """What this machine allows, found once by the server, applied by each child.

    `missing` says in a few words each what is not in force; empty if all is.
    """

    def __init__(self, scratch: Path) -> None:
        self.missing: list[str] = []
        # By process id, so that two servers seldom share one and its limit on threads.
        self.user_id = _FIRST_UID + os.getpid() % _NUM_UIDS if os.geteuid() == 0 else None
        self.machine = _machine()
        self.rules_fd = -1
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # what the two below ask for
        if self.machine >= 0 and not _install_filter(server_filter(self.machine)):
            self.machine = -1
        if self.machine < 0:
            self.missing.append(
                "no seccomp filter (needs Linux on x86-64 or aarch64): programs may start "
                "processes and use the network"
            )
        try:
            self.rules_fd = landlock.make_rules(_readable_paths(), [str(scratch), os.devnull])
        except OSError:
            self.missing.append("no Landlock: programs reach all files that their user may reach")
            # Without Landlock the capability to read every file cannot be left to programs.
            if self.user_id is not None and not _open_to_all(Path(os.__file__)):
                self.user_id = None
                self.missing.append("programs run as root: Python lies in a private folder")
        if self.user_id is not None:
            os.chown(scratch, self.user_id, self.user_id)

    def apply(self, timeout_s: float, memory_mib: int) -> None:
        """Confine this process, for good. Raises OSError if a part that worked before fails."""
        _limit_resources(timeout_s, memory_mib, self.user_id is not None)
        if self.user_id is not None:
            _change_user(self.user_id, keep_reading=self.rules_fd >= 0)
        if sys.platform != "linux":
            return
        if self.rules_fd >= 0:
            if not landlock.apply_rules(self.rules_fd):
                raise OSError("Landlock refused")
            os.close(self.rules_fd)
        if self.machine >= 0 and not _install_filter(child_filter(self.machine, os.getpid())):
            raise OSError("seccomp refused")


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.parents)


def _limit_resources(timeout_s: float, memory_mib: int, limit_threads: bool) -> None:
    cpu_s = int(timeout_s) + 2  # the wall clock of the server comes first
    limits = [
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory_mib * _MIB),
        (resource.RLIMIT_FSIZE, _MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ]
    if sys.platform == "linux":
        limits += [(resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_MSGQUEUE, 0)]
    if limit_threads:  # counted by user, so only where the user is ours alone
        limits.append((resource.RLIMIT_NPROC, _MAX_THREADS))
    for which, wanted in limits:
        _, hard = resource.getrlimit(which)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def raise_stack_limit() -> None:
    """Give deep recursion in C the stack it needs, as far as the hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(hard, _STACK_BYTES)
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def _change_user(user_id: int, *, keep_reading: bool) -> None:
    """Stop being root. Landlock decides what can be read; the old owner's folders stay passable."""
    if keep_reading:
        _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user_id, user_id, user_id)
    os.setresuid(user_id, user_id, user_id)
    if keep_reading:
        kept = _CAP_DAC_READ_SEARCH
        header = ctypes.create_string_buffer(struct.pack("=II", _CAPABILITY_VERSION_3, 0), 8)
        data = ctypes.create_string_buffer(struct.pack("=6I", kept, kept, 0, 0, 0, 0), 24)
        if _libc.capset(header, data) != 0:
            raise OSError(ctypes.get_errno(), "capset")
