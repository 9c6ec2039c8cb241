"""Many programs through one local sandbox, to see that nothing leaks.

`python -m benchmarks.soak 100000` prints what there was before, on the way and after: memory of
this process and of the servers, descriptors, processes, mounts, temporary files. It ends with 1
if something was left behind or if a plain program was judged wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from srpo.sandbox import Asserts, CaseInput, FunctionCall, Job, JobResult, Limits, Stdin
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.strengths import Wanted

_LIMITS = Limits(timeout_s=2.0)
_NUM_REPORTS = 10
# Every server that was ever warm keeps some memory; more than this over a whole run is a leak.
_MOST_GROWTH_MIB = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of program.

    >>> Kind("right", 1.0, "print(3)", (Stdin(""),), ("ok",)).wanted
    ('ok',)
    """

    name: str
    weight: float
    program: str
    inputs: tuple[CaseInput, ...]
    wanted: tuple[str, ...]  # statuses of its outputs; none: any, as it may end either way


_ADD = "def add(a, b):\n    return a + b\n"
_SUM = "print(sum(map(int, input().split())))\n"
_FILES = "import os\nfor i in range(20): open(f'f{i}', 'w').write('x' * 1000); os.mkdir(f'd{i}')\n"
_THREADS = (
    "import threading, time\n"
    "for _ in range(30): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
)
_ASSERTS = Asserts("assert add(1, 2) == 3\nassert [add(i, i) for i in range(9)][-1] == 16\n")
KINDS = (
    Kind("script", 40, _SUM, (Stdin("1 2\n"),), ("ok",)),
    Kind("functions", 20, _ADD, (FunctionCall("add", (1, 2)),) * 3, ("ok",) * 3),
    Kind("asserts", 15, _ADD, (_ASSERTS,), ("ok",)),
    Kind("wrong asserts", 5, _ADD.replace("+", "-"), (_ASSERTS,), ("failed",)),
    Kind("files left", 5, _FILES + _SUM, (Stdin("1 2\n"),), ("ok",)),
    Kind("threads left", 2, _THREADS + "import os; os._exit(0)", (Stdin(""),), ("ok",)),
    Kind("kills itself", 4, "import os; os.kill(os.getpid(), 9)", (Stdin(""),), ()),
    Kind("bad address", 2, "import ctypes; ctypes.string_at(0)", (Stdin(""),), ("crashed",)),
    Kind("dies in a call", 2, "import os\ndef add(a, b): os._exit(70)", (_ASSERTS,), ("crashed",)),
    Kind("too much output", 1, "print('x' * 3_000_000)", (Stdin(""),), ("too_much_output",)),
    Kind("too much memory", 1, "x = bytearray(1 << 33)", (Stdin(""),), ("crashed",)),
    Kind("an open object", 2, "def add(a, b): return iter([a, b])", (_ASSERTS,), ("failed",)),
    Kind("a time-out", 0.05, "while True: pass", (Stdin(""),), ("timed_out",)),
)


@dataclass(frozen=True, slots=True)
class State:
    """What there is of everything that could leak.

    >>> State(1, 2, 3, 4, 5, 6, 7).own_mib
    1
    """

    own_mib: int  # resident memory of this process
    servers_mib: int  # and of all its descendants
    descriptors: int
    threads: int
    processes: int  # descendants
    mounts: int
    temporary: int  # files and folders


def state(folder: Path) -> State:
    """The state now; `folder` is where temporary files go."""
    below = list(_descendants(os.getpid()))
    return State(
        own_mib=_resident_mib(os.getpid()),
        servers_mib=sum(map(_resident_mib, below)),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
        threads=threading.active_count(),
        processes=len(below),
        mounts=len(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()),
        temporary=sum(1 for _ in folder.rglob("*")),
    )


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _resident_mib(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def jobs(count: int, seed: int) -> Iterator[tuple[Kind, Job]]:
    """That many jobs of all kinds, drawn by their weights."""
    draw = random.Random(seed)
    weights = [kind.weight for kind in KINDS]
    for number in range(count):
        (kind,) = draw.choices(KINDS, weights)
        yield kind, Job(f"{number}", kind.program, kind.inputs, _LIMITS)


def soak(count: int, workers: int, strength: Wanted, seed: int = 0) -> int:
    """Run them, print what there is on the way; how many things went wrong."""
    kinds: dict[str, Kind] = {}

    def remembered() -> Iterator[Job]:
        for kind, job in jobs(count, seed):
            kinds[job.id] = kind
            yield job

    wrong: Counter[str] = Counter()
    usual = tempfile.tempdir
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        tempfile.tempdir = name
        try:
            before = state(folder)
            _tell("before", 0, before)
            sandbox = LocalSandbox(workers, strength)
            print(sandbox.describe(), flush=True)
            start_s = time.perf_counter()
            warm = before
            for done, result in enumerate(sandbox.run(remembered()), start=1):
                wrong.update(_wrong(kinds.pop(result.id), result))
                if done in (count // 10, count) or done % max(1, count // _NUM_REPORTS) == 0:
                    now = state(folder)
                    warm = now if warm is before else warm
                    _tell("on the way", done, now)
            seconds = time.perf_counter() - start_s
            sandbox.close()
            after = state(folder)
            _tell("after", count, after)
        finally:
            tempfile.tempdir = usual
    print(f"{count} programs in {seconds:.0f} s, {count / seconds:.0f} a second")
    wrong.update(_leaks(before, warm, now, after))
    for what, times in wrong.items():
        print(f"WRONG  {what}: {times}")
    return sum(wrong.values())


def _wrong(kind: Kind, result: JobResult) -> list[str]:
    if result.infra_error:
        return [f"{kind.name}: {result.infra_error}"]
    statuses = tuple(output.status for output in result.outputs)
    return [] if not kind.wanted or statuses == kind.wanted else [f"{kind.name}: {statuses}"]


def _leaks(before: State, warm: State, late: State, after: State) -> list[str]:
    found = [
        f"{name} left behind: {getattr(after, name) - getattr(before, name)}"
        for name in ("descriptors", "threads", "processes", "mounts", "temporary")
        if getattr(after, name) != getattr(before, name)
    ]
    for name in ("own_mib", "servers_mib"):
        growth = getattr(late, name) - getattr(warm, name)
        if growth > _MOST_GROWTH_MIB:
            found.append(f"{name} grew by {growth} while it ran")
    for name in ("descriptors", "processes"):
        if getattr(late, name) > getattr(warm, name) + 8:
            found.append(f"{name} grew from {getattr(warm, name)} to {getattr(late, name)}")
    return found


def _tell(when: str, done: int, now: State) -> None:
    print(
        f"{when:>10} {done:>7}: {now.own_mib} MiB here, {now.servers_mib} MiB below, "
        f"{now.descriptors} descriptors, {now.threads} threads, {now.processes} processes, "
        f"{now.mounts} mounts, {now.temporary} temporary files",
        flush=True,
    )


def main() -> None:
    """Read the arguments, run, and leave with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=3000, help="how many programs")
    parser.add_argument("--workers", type=int, default=0, help="0: one for each core")
    parser.add_argument("--strength", default="auto")
    chosen = parser.parse_args()
    sys.exit(min(1, soak(chosen.count, chosen.workers, chosen.strength)))


if __name__ == "__main__":
    main()
