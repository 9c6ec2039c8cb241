"""Seccomp filters: allow-lists of system calls, assembled by hand.

Three filters: the server's (allowed to it and so to all its children), the one that a child adds
on top, and one that says both, for children of a server that has none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from srpo.sandbox.server import syscalls
from srpo.sandbox.server.syscalls import Numbers

_ARCHITECTURES = (0xC000003E, 0xC00000B7)
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x10000
# New namespaces, and children that would be the server's (CLONE_PARENT).
_CLONE_REFUSED = 0x7E020000 | 0x80 | 0x8000
_AF_UNIX, _RLIMIT_STACK = 1, 3
_O_CHANGING = 0o1 | 0o2 | 0o100 | 0o1000  # write only, read and write, create, truncate
# Is it a terminal and how wide, do not block, close on exec, how much is there to read.
_IOCTLS = (0x5401, 0x5413, 0x5421, 0x5450, 0x5451, 0x541B)
# F_SETOWN, F_SETSIG, F_SETOWN_EX: have the kernel send a signal to anybody of the same user.
_FCNTLS_REFUSED = (8, 10, 15)
_EPERM, _ENOTTY, _ENOSYS = 1, 25, 38

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16
PID_MARK = 0x5EED1D  # stands for the child's own id until that is known

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def _low(argument: int) -> _Instruction:
    """Load the low half of an argument of the call."""
    return (_LOAD, 0, 0, _OFFSET_ARGS + 8 * argument)


def _return(what: int) -> _Instruction:
    return (_RETURN, 0, 0, what)


def _on(number: int, body: list[_Instruction]) -> list[_Instruction]:
    """Run `body`, which must return, if the call has this number."""
    return [(_JUMP_EQ, 0, len(body), number), *body] if number >= 0 else []


def _allow_if(number: int, argument: int, test: int, value: int) -> list[_Instruction]:
    """Allow the call if the low half of its argument passes the test, else refuse it."""
    passed = [_return(_ALLOW), _return(_ERRNO | _EPERM)]
    return _on(number, [_low(argument), (test, 0, 1, value), *passed])


def _limits(number: int) -> list[_Instruction]:
    """Let prlimit read limits, and change the one of the stack: plain programs raise it.

    What makes a stack harmless is the limit on the address space.
    """
    high = (_LOAD, 0, 0, _OFFSET_ARGS + 8 * 2 + 4)
    body = [_low(2), (_JUMP_EQ, 0, 2, 0), high, (_JUMP_EQ, 4, 0, 0)]
    body += [_low(0), (_JUMP_EQ, 0, 3, 0), _low(1), (_JUMP_EQ, 0, 1, _RLIMIT_STACK)]
    return _on(number, [*body, _return(_ALLOW), _return(_ERRNO | _EPERM)])


def _refuse_if(number: int, argument: int, test: int, value: int) -> list[_Instruction]:
    refused = [_return(_ERRNO | _EPERM), _return(_ALLOW)]
    return _on(number, [_low(argument), (test, 0, 1, value), *refused])


def _refuse(numbers: Iterable[int]) -> list[_Instruction]:
    code: list[_Instruction] = []
    for number in sorted(set(numbers)):
        code += _on(number, [_return(_ERRNO | _EPERM)])
    return code


def _allow(numbers: Iterable[int]) -> list[_Instruction]:
    """Allow these calls, by ranges of their numbers."""
    code: list[_Instruction] = []
    known = sorted({number for number in numbers if number >= 0})
    while known:
        size = 1
        while size < len(known) and known[size] == known[0] + size:
            size += 1
        if size == 1:
            code += _on(known[0], [_return(_ALLOW)])
        else:
            code += [(_JUMP_GE, 0, 2, known[0]), (_JUMP_GE, 1, 0, known[0] + size)]
            code += [_return(_ALLOW)]
        known = known[size:]
    return code


def _column(table: dict[str, Numbers], machine: int) -> list[int]:
    return [numbers[machine] for numbers in table.values()]


def _head(machine: int) -> list[_Instruction]:
    """Only this architecture; no x32 variants; clone3, whose flags no filter sees, is not there."""
    code = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_JUMP_EQ, 1, 0, _ARCHITECTURES[machine]),
        _return(_KILL_PROCESS),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    if machine == 0:
        code += [(_JUMP_GE, 0, 1, _X32_BIT), _return(_ERRNO | _ENOSYS)]
    return code + _on(syscalls.CLONE3[machine], [_return(_ERRNO | _ENOSYS)])


def _shared(machine: int) -> list[_Instruction]:
    """Calls that depend on their arguments, the same for the server and for programs."""
    known: list[_Instruction] = [_low(1)]
    for i, request in enumerate(_IOCTLS):
        known.append((_JUMP_EQ, len(_IOCTLS) - i, 0, request))
    known += [_return(_ERRNO | _ENOTTY), _return(_ALLOW)]
    code = _on(syscalls.IOCTL[machine], known)
    owners: list[_Instruction] = [_low(1)]
    for i, command in enumerate(_FCNTLS_REFUSED):
        owners.append((_JUMP_EQ, len(_FCNTLS_REFUSED) - i, 0, command))
    owners += [_return(_ALLOW), _return(_ERRNO | _EPERM)]
    code += _on(syscalls.FCNTL[machine], owners)
    return code + _allow_if(syscalls.SOCKETPAIR[machine], 0, _JUMP_EQ, _AF_UNIX)


def _assemble(code: list[_Instruction]) -> bytes:
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def server_filter(machine: int) -> bytes:
    """The filter of a server that needs no more privileges, and so of all its children."""
    code = _head(machine) + _shared(machine)
    code += _refuse_if(syscalls.CLONE[machine], 0, _JUMP_SET, _CLONE_REFUSED)
    numbers = _column(syscalls.ALLOWED, machine) + _column(syscalls.SERVER_ONLY, machine)
    numbers += [syscalls.KILL[machine], syscalls.TGKILL[machine], syscalls.PRLIMIT[machine]]
    return _assemble([*code, *_allow(numbers), _return(_ERRNO | _EPERM)])


def program_filter(machine: int, *, alone: bool, read_only: bool) -> bytes:
    """What a child adds to the server's filter: no processes, no changed limits.

    Unless it is `alone` in its namespace it may signal itself only (`PID_MARK` is its id). With
    `read_only` no file can be changed either.
    """
    code: list[_Instruction] = [(_LOAD, 0, 0, _OFFSET_NUMBER)]
    code += _refuse(_column(syscalls.SERVER_ONLY, machine))
    if read_only:
        code += _refuse(_column(syscalls.CHANGING_FILES, machine))
        code += _refuse_if(syscalls.OPEN[machine], 1, _JUMP_SET, _O_CHANGING)
        code += _refuse_if(syscalls.OPENAT[machine], 2, _JUMP_SET, _O_CHANGING)
    code += _allow_if(syscalls.CLONE[machine], 0, _JUMP_SET, _CLONE_THREAD)
    if not alone:
        code += _allow_if(syscalls.KILL[machine], 0, _JUMP_EQ, PID_MARK)
        code += _allow_if(syscalls.TGKILL[machine], 0, _JUMP_EQ, PID_MARK)
    code += _limits(syscalls.PRLIMIT[machine])
    return _assemble([*code, _return(_ALLOW)])


def forking_filter(machine: int) -> bytes:
    """The one filter of a program that may fork, inside a process namespace of its own."""
    code = _head(machine) + _shared(machine)
    code += _refuse_if(syscalls.CLONE[machine], 0, _JUMP_SET, _CLONE_REFUSED)
    code += _limits(syscalls.PRLIMIT[machine])
    numbers = _column(syscalls.ALLOWED, machine) + _column(syscalls.FORKING, machine)
    numbers += [syscalls.KILL[machine], syscalls.TGKILL[machine]]
    numbers += [syscalls.SERVER_ONLY["recvmsg"][machine], syscalls.SERVER_ONLY["sendmsg"][machine]]
    return _assemble([*code, *_allow(numbers), _return(_ERRNO | _EPERM)])
