"""How long `import srpo` and `srpo --help` take, in fresh processes."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.measuring import Section, seconds

ROUNDS = 5
HELP = "import sys; sys.argv = ['srpo', '--help']; from srpo.cli import main; main()"
COMMANDS = (
    ("python, nothing imported", "pass"),
    ("`import srpo`", "import srpo"),
    ("`srpo --help`", HELP),
)
NO_TORCH = "import srpo, sys; sys.exit('torch' in sys.modules)"


def measure_startup() -> Section:
    """Medians of fresh processes, all commands in turn. Raises if the import brings torch in."""
    subprocess.run([sys.executable, "-c", NO_TORCH], check=True)
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in COMMANDS}
    for _ in range(ROUNDS + 1):
        for name, code in COMMANDS:
            costs[name].append(_run([sys.executable, "-c", code]))
    return Section(
        "Start-up",
        f"Fresh processes, the interpreter's own start included; medians of {ROUNDS} after one to "
        "warm up. `import srpo` does not import torch.",
        ("command", "wall time", "CPU time"),
        tuple(
            (name, seconds([c[0] for c in cost[1:]]), seconds([c[1] for c in cost[1:]]))
            for name, cost in costs.items()
        ),
    )


def _run(command: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one process that must succeed."""
    before, started = _children(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started, _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
