"""How strongly untrusted programs are fenced in, by name.

Which strengths a machine allows is found by starting a server with each, strongest first, and by
a rehearsal in which a program tries what it must not be able to do (`srpo.sandbox.local.client`).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Strength: TypeAlias = Literal["namespaces", "namespaces-per-program", "landlock", "seccomp", "none"]
Wanted: TypeAlias = Literal["auto", "namespaces", "namespaces-per-program", "landlock", "seccomp"]

# What "auto" tries, strongest first. "none" comes after them, if it is allowed at all.
AUTOMATIC: tuple[Strength, ...] = ("namespaces", "landlock", "seccomp")

SENTENCES: dict[Strength, str] = {
    "namespaces": (
        "programs run in namespaces of their own server: no network, no other processes, and "
        "only the standard library and an empty folder to see"
    ),
    "namespaces-per-program": (
        "each program runs in namespaces of its own, where it may start processes: no network, "
        "and only the standard library and an empty folder to see"
    ),
    "landlock": (
        "programs run behind Landlock and seccomp: no network, no processes, only the standard "
        "library to read and one folder to write"
    ),
    "seccomp": (
        "programs run behind seccomp alone: no network, no processes, no file to write, but they "
        "can read every file that their user may read"
    ),
    "none": (
        "NOT SAFE: programs run with limits on time and memory only; they can read and change "
        "all that you can (allow_unsafe = true)"
    ),
}
