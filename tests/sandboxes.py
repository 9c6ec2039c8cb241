"""Sandboxes of a strength that a test is for, where the machine has them."""

from __future__ import annotations

import pytest

from srpo.errors import SandboxError
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.strengths import Wanted

FENCED: tuple[Wanted, ...] = ("namespaces", "namespaces-per-program", "landlock", "seccomp")


def have(strength: Wanted) -> LocalSandbox:
    """A sandbox of that strength, or the test is skipped with the machine's reason."""
    sandbox = LocalSandbox(1, strength)
    try:
        assert sandbox.strength == strength
    except SandboxError as error:
        pytest.skip(f"2026-11-22, not to be had here: {error}")
    return sandbox
