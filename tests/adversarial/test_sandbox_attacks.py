"""Programs that try to fool or to hurt the grader, and plain ones that must not be refused.

The first line of each file in `srpo/rewards/exploits/programs` says what it does. None of the
attacks may be judged correct or pass for a failure of the sandbox; each must end in its time and
say no secret, and a plain program must pass after it on the same server.
"""

from __future__ import annotations

import gc
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from srpo.errors import SandboxError
from srpo.rewards.exploits import Trial, load_attacks, load_plain
from srpo.rewards.exploits.bait import Bait
from srpo.rewards.exploits.holding import Holding, hold_all, promised
from srpo.sandbox import Limits
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.strengths import Strength, Wanted

# The first test of each strength runs all programs; one of the baits is a TCP socket.
pytestmark = [pytest.mark.timeout(300), pytest.mark.enable_socket]
LIMITS = Limits(timeout_s=1.5)
THREADS = 3  # most of the time is spent waiting for time-outs
STRENGTHS: tuple[Strength, ...] = ("namespaces", "namespaces-per-program", "landlock", "seccomp")


@dataclass(frozen=True)
class Campaign:
    """What became of all trials with one strength, and of this machine."""

    holdings: dict[str, Holding]
    traces: list[str]
    before: dict[str, int]
    after: dict[str, int]


def own_state() -> dict[str, int]:
    """What a sandbox may leave behind in this process and on this machine, counted."""
    gc.collect()
    me = Path("/proc/self")
    children = [path.read_text().split() for path in me.glob("task/*/children")]
    return {
        "descriptors": len(list((me / "fd").iterdir())),
        "threads": threading.active_count(),
        "children": sum(map(len, children)),
        "mounts": len((me / "mountinfo").read_text().splitlines()),
        "folders": len(list(Path(tempfile.gettempdir()).iterdir())),
    }


@cache
def campaign(strength: Strength) -> Campaign | str:
    """All trials with this strength, once; or why this machine does not allow it."""
    try:
        probe = LocalSandbox(1, cast(Wanted, strength))
        probe.describe()
        probe.close()
    except SandboxError as error:
        return str(error)
    trials = promised((*load_attacks(), *load_plain()), strength)
    with Bait() as bait, temporary_folder():
        before = own_state()
        holdings = hold_all(
            trials, lambda: LocalSandbox(1, cast(Wanted, strength)), LIMITS, THREADS
        )
        return Campaign(holdings, bait.traces(), before, own_state())


@contextmanager
def temporary_folder() -> Iterator[None]:
    """A place of our own for temporary files: other processes use the common one."""
    usual = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # another user's programs pass through it
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = usual


def campaign_or_skip(strength: Strength) -> Campaign:
    done = campaign(strength)
    if isinstance(done, str):
        pytest.skip(f"2026-11-22, this machine does not allow it: {done}")
    return done


def pairs(trials: tuple[Trial, ...]) -> list[tuple[Strength, str]]:
    """Each strength with each trial that it is to hold."""
    return [(strength, t.name) for strength in STRENGTHS for t in promised(trials, strength)]


@pytest.mark.parametrize(("strength", "name"), pairs(load_attacks()))
def test_an_attack_gains_nothing(strength: Strength, name: str) -> None:
    assert campaign_or_skip(strength).holdings[name].broken == ()


@pytest.mark.parametrize(("strength", "name"), pairs(load_plain()))
def test_a_plain_program_is_accepted(strength: Strength, name: str) -> None:
    assert campaign_or_skip(strength).holdings[name].broken == ()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_attacks_leave_no_trace_on_the_machine(strength: Strength) -> None:
    assert campaign_or_skip(strength).traces == []


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_attacks_leave_nothing_in_this_process(strength: Strength) -> None:
    done = campaign_or_skip(strength)
    assert done.after == done.before
