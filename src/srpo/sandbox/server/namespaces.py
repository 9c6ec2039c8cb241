"""Namespaces, and a fresh read-only root with only the standard library. Linux.

Entered once by each server; `namespaces-per-program` enters some of them again for each program.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from srpo.sandbox.server import kernel

SCRATCH = "/tmp"  # inside the new root
SHARED = "/dev/shm"  # where locks between processes live
_DEVICES = ("null", "zero", "urandom", "random")
_PASSABLE = 0o111  # folders on the way to what is shown: their names are nobody's business
_ROOT_OPTIONS = f"size=1m,mode={_PASSABLE:o}"
_SCRATCH_OPTIONS = "size=16m,nr_inodes=1024,mode=700,uid=1000,gid=1000"
_ALL = (
    kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
)  # fmt: skip
_PER_PROGRAM = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC


def enter(
    control: socket.socket, root: str, readable: Sequence[str], hidden: Sequence[str]
) -> None:
    """Go on as process 1 of new namespaces, in a root of its own. Raises OSError.

    The parent at the other end of `control` writes the maps of user ids: it may, this process
    may not map two. The old process stays as a stub that ends with the new one.
    """
    user_id, group_id = os.getuid(), os.getgid()  # in the new namespace they are nobody's
    kernel.call("unshare", _ALL)
    control.send(b"unshared")
    if control.recv(16) == b"map one":
        _map_one(user_id, group_id)
    pid = os.fork()
    if pid:  # no death signal: it would come when the thread ends that started this process
        control.close()
        os.waitpid(pid, 0)
        os._exit(0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    _build_root(root, readable, hidden)
    mount_scratch()
    os.chdir(SCRATCH)


def _map_one(user_id: int, group_id: int) -> None:
    """What a plain user may do: be one id inside, the own one outside."""
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"1000 {user_id} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"1000 {group_id} 1", encoding="ascii")


def _build_root(root: str, readable: Sequence[str], hidden: Sequence[str]) -> None:
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    safe = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", root, "tmpfs", safe, _ROOT_OPTIONS)
    for path in readable:
        _show(root, path)
    for path in hidden:
        if Path(root + path).is_dir():
            kernel.mount("tmpfs", root + path, "tmpfs", kernel.MS_RDONLY | safe, "size=4k")
    for name in _DEVICES:
        _bind(root, f"/dev/{name}")
    for folder in (SCRATCH, SHARED, "/.old"):
        Path(root + folder).mkdir(exist_ok=True)
    _hide_names(root, readable)
    kernel.call("pivot_root", root.encode(), f"{root}/.old".encode())
    os.chdir("/")
    kernel.call("umount2", b"/.old", kernel.MNT_DETACH)
    Path("/.old").rmdir()
    kernel.mount("", "/", "", kernel.MS_REMOUNT | kernel.MS_RDONLY | safe, _ROOT_OPTIONS)
    socket.sethostname("sandbox")


def _show(root: str, path: str) -> None:
    """Make a path of the old root readable in the new one, links as links."""
    source, target = Path(path), Path(root + path)
    if not source.exists() or target.exists():
        return
    if source.is_symlink() and source.is_dir():  # /lib -> usr/lib
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.readlink())
        return
    _bind(root, path)
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID
    state = os.statvfs(root + path)
    # Flags of the old mount are locked: leaving one out is refused.
    flags |= kernel.MS_NODEV if state.f_flag & 4 else 0
    flags |= kernel.MS_NOEXEC if state.f_flag & os.ST_NOEXEC else 0
    try:
        kernel.mount("", root + path, "", flags)
    except OSError:
        kernel.mount("", root + path, "", flags | kernel.MS_NODEV)


def _hide_names(root: str, readable: Sequence[str]) -> None:
    """Make the folders above what is shown passable only."""
    shown = set(readable)
    above = {str(folder) for path in readable for folder in Path(path).parents}
    for folder in above - shown - {"/"}:
        if not any(folder.startswith(f"{path}/") for path in shown):
            Path(root + folder).chmod(_PASSABLE)


def _bind(root: str, path: str) -> None:
    target = Path(root + path)
    if Path(path).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(path, str(target), "", kernel.MS_BIND | kernel.MS_REC)


def mount_scratch(folder: str = SCRATCH) -> None:
    """An empty folder in memory over the one there is."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", folder, "tmpfs", flags, _SCRATCH_OPTIONS)


def fork_apart() -> int:
    """Fork a program that is process 1 of its own processes and has an empty scratch folder.

    0 in the child, which has still all privileges; else the child's id. Raises OSError.
    """
    pid = kernel.fork_into(_PER_PROGRAM)
    if pid == 0:
        mount_scratch()
        mount_scratch(SHARED)
        os.chdir(SCRATCH)
    return pid
