"""The filters of system calls, run in a small interpreter of their own instead of the kernel."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import pytest

from srpo.sandbox.server import seccomp, syscalls

X86, ARM = 0, 1
ARCHITECTURES = (0xC000003E, 0xC00000B7)
OWN_PID = 4242
CLONE_THREAD, CLONE_NEWUSER, CLONE_PARENT, SIGCHLD = 0x10000, 0x10000000, 0x8000, 17
AF_UNIX, AF_INET = 1, 2
TCGETS, TIOCSTI = 0x5401, 0x5412
F_SETFL, F_SETOWN, F_SETSIG = 4, 8, 10
RLIMIT_CPU, RLIMIT_STACK = 0, 3
O_RDONLY, O_WRONLY, O_CREAT = 0, 1, 0o100


def decide(code: bytes, number: int, *arguments: int, machine: int = X86, arch: int = 0) -> str:
    """What the filter says to a call: "allow", "kill", or the error's number."""
    code = code.replace(struct.pack("I", seccomp.PID_MARK), struct.pack("I", OWN_PID))
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("iIQ6Q", number, arch or ARCHITECTURES[machine], 0, *padded)
    program = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    accumulator = at = 0
    while True:
        what, if_true, if_false, constant = program[at]
        at += 1
        if what == 0x20:
            (accumulator,) = struct.unpack_from("I", data, constant)
        elif what == 0x06:
            if constant == 0x7FFF0000:
                return "allow"
            return "kill" if constant == 0x80000000 else f"error {constant & 0xFFFF}"
        else:
            tests = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x45: bool(accumulator & constant),
            }
            at += if_true if tests[what] else if_false


def both(code: bytes, added: bytes, number: int, *arguments: int) -> str:
    """What the kernel does with two filters: the stricter answer holds."""
    first, second = decide(code, number, *arguments), decide(added, number, *arguments)
    return second if first == "allow" else first


SERVER = seccomp.server_filter(X86)
PROGRAM = seccomp.program_filter(X86, alone=False, read_only=False)
EPERM, ENOTTY, ENOSYS = "error 1", "error 25", "error 38"


@pytest.mark.parametrize("name", ["read", "write", "openat", "mmap", "futex", "exit_group"])
@pytest.mark.parametrize("machine", [X86, ARM])
def test_plain_calls_are_allowed_to_all(name: str, machine: int) -> None:
    number = syscalls.ALLOWED[name][machine]
    for code in (seccomp.server_filter(machine), seccomp.forking_filter(machine)):
        assert decide(code, number, machine=machine) == "allow"


# By their number on x86-64.
FORBIDDEN = {
    "socket": 41, "connect": 42, "execve": 59, "ptrace": 101, "mount": 165, "unshare": 272,
    "setns": 308, "memfd_create": 319, "bpf": 321, "io_uring_setup": 425, "pidfd_getfd": 438,
    "process_vm_readv": 310, "shmget": 29, "mq_open": 240, "keyctl": 250, "setuid": 105,
    "perf_event_open": 298, "userfaultfd": 323, "open_by_handle_at": 304, "setpriority": 141,
    "openat2": 437, "timer_create": 222, "splice": 275, "vmsplice": 278, "setxattr": 188,
}  # fmt: skip


@pytest.mark.parametrize("number", FORBIDDEN.values(), ids=FORBIDDEN)
def test_calls_that_no_program_needs_are_refused(number: int) -> None:
    assert both(SERVER, PROGRAM, number) == EPERM


@pytest.mark.parametrize("number", [5000, 449 + 400])
def test_a_call_that_a_later_kernel_adds_is_refused(number: int) -> None:
    assert both(SERVER, PROGRAM, number) == EPERM


def test_other_ways_into_the_kernel_are_closed() -> None:
    assert decide(SERVER, 0, arch=0x40000003) == "kill"  # 32-bit calls by int 0x80
    assert decide(SERVER, 0x40000000) == ENOSYS  # x32
    assert decide(SERVER, 435) == ENOSYS  # clone3: the C library falls back to clone


def test_a_program_makes_threads_and_no_processes() -> None:
    assert both(SERVER, PROGRAM, 56, CLONE_THREAD | 0x3D0F00) == "allow"
    assert both(SERVER, PROGRAM, 56, SIGCHLD) == EPERM
    assert both(SERVER, PROGRAM, 57) == EPERM  # fork
    assert both(SERVER, PROGRAM, 56, CLONE_THREAD | CLONE_NEWUSER) == EPERM


def test_the_server_forks_but_makes_no_namespaces() -> None:
    assert decide(SERVER, 56, SIGCHLD) == "allow"
    assert decide(SERVER, 56, SIGCHLD | CLONE_NEWUSER) == EPERM


def test_a_forking_program_makes_no_namespaces_and_no_siblings() -> None:
    forking = seccomp.forking_filter(X86)
    assert decide(forking, 56, SIGCHLD) == "allow" and decide(forking, 59) == "allow"
    assert decide(forking, 56, SIGCHLD | CLONE_NEWUSER) == EPERM
    assert decide(forking, 56, SIGCHLD | CLONE_PARENT) == EPERM
    assert decide(forking, 41) == EPERM  # socket


def test_a_program_signals_itself_only() -> None:
    assert both(SERVER, PROGRAM, 62, OWN_PID, 9) == "allow"
    for pid in (1, 0, -1 & 0xFFFFFFFF, OWN_PID + 1):
        assert both(SERVER, PROGRAM, 62, pid, 9) == EPERM


def test_the_kernel_sends_no_signals_for_a_program() -> None:
    assert both(SERVER, PROGRAM, 72, 3, F_SETFL) == "allow"
    assert both(SERVER, PROGRAM, 72, 3, F_SETOWN) == EPERM
    assert both(SERVER, PROGRAM, 72, 3, F_SETSIG) == EPERM


def test_only_the_limit_of_the_stack_can_be_changed() -> None:
    pointer, high_pointer = 0x7FFD1234, 0x100000000
    assert both(SERVER, PROGRAM, 302, 0, RLIMIT_CPU, 0) == "allow"
    assert both(SERVER, PROGRAM, 302, 0, RLIMIT_CPU, pointer) == EPERM
    assert both(SERVER, PROGRAM, 302, 0, RLIMIT_CPU, high_pointer) == EPERM  # low half is 0
    assert both(SERVER, PROGRAM, 302, 0, RLIMIT_STACK, pointer) == "allow"
    assert both(SERVER, PROGRAM, 302, 1, RLIMIT_STACK, pointer) == EPERM  # of another process
    assert both(SERVER, PROGRAM, 160, RLIMIT_STACK) == EPERM  # setrlimit, which Python never uses


def test_sockets_are_pairs_of_unix_sockets_and_terminals_are_not_typed_into() -> None:
    assert both(SERVER, PROGRAM, 53, AF_UNIX) == "allow"
    assert both(SERVER, PROGRAM, 53, AF_INET) == EPERM
    assert both(SERVER, PROGRAM, 16, 0, TCGETS) == "allow"
    assert both(SERVER, PROGRAM, 16, 0, TIOCSTI) == ENOTTY


def test_descriptors_cannot_be_sent_or_taken() -> None:
    assert decide(SERVER, 47) == "allow"  # recvmsg: how the server gets its jobs
    assert both(SERVER, PROGRAM, 47) == EPERM and both(SERVER, PROGRAM, 46) == EPERM


def test_where_no_other_fence_holds_the_files_none_is_changed() -> None:
    read_only = seccomp.program_filter(X86, alone=False, read_only=True)
    assert both(SERVER, read_only, 257, 0, 0, O_RDONLY) == "allow"
    assert both(SERVER, read_only, 257, 0, 0, O_WRONLY) == EPERM
    assert both(SERVER, read_only, 257, 0, 0, O_RDONLY | O_CREAT) == EPERM
    assert both(SERVER, read_only, 2, 0, O_WRONLY) == EPERM
    assert both(SERVER, read_only, 87) == EPERM and both(SERVER, read_only, 76) == EPERM


def kernel_numbers() -> dict[str, tuple[int, int]]:
    """Of every system call of Linux the numbers on both machines; -1: not there."""
    text = (Path(__file__).parent / "system_calls.csv").read_text(encoding="ascii")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["name"]: (int(row["x86_64"] or -1), int(row["aarch64"] or -1)) for row in rows}


@pytest.mark.parametrize("table", ["ALLOWED", "SERVER_ONLY", "FORKING"])
def test_the_numbers_are_those_of_the_kernel(table: str) -> None:
    real = kernel_numbers()
    assert len(real) >= 360
    ours: dict[str, syscalls.Numbers] = getattr(syscalls, table)
    assert ours and ours == {name: real[name] for name in ours}
