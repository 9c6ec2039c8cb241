"""File access of untrusted programs, restricted by Landlock (Linux 5.13 and newer).

Only the standard library. The rules are made once, by the server; each child applies them.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

NO_RULES = -1  # in the place of a descriptor
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR, _EXECUTE, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 0, 1 << 1, 1 << 14
_MAKE_DEVICES = (1 << 6) | (1 << 11)  # character and block devices
_FILE_RIGHTS = _READ_FILE | _EXECUTE | _WRITE_FILE | _TRUNCATE
_FIRST_RIGHTS = (1 << 13) - 1  # of version 1; later versions add one bit each
_NETWORK_VERSION, _SCOPE_VERSION = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def version() -> int:
    """Landlock's version in this kernel; 0 if there is none."""
    return max(0, int(_libc.syscall(_CREATE, None, 0, _VERSION_FLAG)))


def make_rules(readable: Iterable[str], writable: Iterable[str]) -> int:
    """Descriptor of rules: read below `readable`, read and write below `writable`, no more.

    Raises OSError if the kernel refuses. Paths that do not exist are left out.
    """
    kernel = version()
    if not kernel:
        raise OSError("no Landlock")
    handled = _FIRST_RIGHTS
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        handled |= (1 << bit) if kernel >= since else 0
    network = 3 if kernel >= _NETWORK_VERSION else 0
    scopes = 3 if kernel >= _SCOPE_VERSION else 0
    size = 24 if scopes else 16 if network else 8
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", handled, network, scopes), 24)
    rules_fd = int(_libc.syscall(_CREATE, attributes, size, 0))
    if rules_fd < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    os.set_inheritable(rules_fd, False)
    for path in readable:
        _allow(rules_fd, path, handled & (_READ_FILE | _READ_DIR | _EXECUTE))
    for path in writable:
        _allow(rules_fd, path, handled & ~(_EXECUTE | _MAKE_DEVICES))
    return rules_fd


def _allow(rules_fd: int, path: str, rights: int) -> None:
    try:
        path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, path_fd), 12)
        if _libc.syscall(_ADD_RULE, rules_fd, _RULE_PATH_BENEATH, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
    finally:
        os.close(path_fd)


def apply_rules(rules_fd: int) -> None:
    """Restrict this process for good and close the rules; `NO_RULES` restricts nothing.

    Needs no_new_privs. Raises OSError if the kernel refuses.
    """
    if rules_fd == NO_RULES:
        return
    if _libc.syscall(_RESTRICT, rules_fd, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"landlock_restrict_self: {os.strerror(error)}")
    os.close(rules_fd)
