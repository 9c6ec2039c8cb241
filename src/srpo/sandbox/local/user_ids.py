"""Which user programs run as, and how ids inside a user namespace map to those outside."""

from __future__ import annotations

import os
from pathlib import Path

from srpo.sandbox.strengths import Strength

INSIDE = 1000  # in the new namespace
_PREFERRED_OUTSIDE = 200_000
# Between the ranges that systemd and distributions give to users: nobody else's processes.
_FIRST_UID, _NUM_UIDS = 60706, 400
_taken = iter(range(1 << 60))


def program_user(strength: Strength) -> int | None:
    """The id that programs run as, as their server knows it; None: they stay what it is.

    Only root can change it. Servers get different ids where the kernel counts processes by it.
    """
    if os.geteuid() != 0 or strength in ("none", "seccomp"):
        return None
    if strength.startswith("namespaces"):
        return INSIDE if _second_id() is not None else None
    return _FIRST_UID + (os.getpid() + next(_taken)) % _NUM_UIDS


def _second_id() -> int | None:
    """An id of this user namespace beside 0 to give to programs; None if it has no other."""
    last = None
    for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines():
        inside, _, count = map(int, line.split())
        if inside <= _PREFERRED_OUTSIDE < inside + count:
            return _PREFERRED_OUTSIDE
        last = inside + count - 1 or last
    return last


def map_ids(pid: int) -> bytes:
    """Write the id maps of a process in a new user namespace; what to answer to it.

    Root maps two ids, so that programs are not their server's user; others let the process map
    its own. Raises OSError.
    """
    second = _second_id() if os.geteuid() == 0 else None
    if second is None:
        return b"map one"
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n{INSIDE} {second} 1\n", encoding="ascii")
    return b"mapped"
