"""What all benchmarks share: the CPU clock, medians, the machine, and Markdown tables."""

from __future__ import annotations

import os
import platform
import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("srpo", "trl", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")


def cpu_seconds() -> float:
    """CPU-seconds (user and system, all threads) that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cost_of(action: Callable[[], object]) -> float:
    """CPU-seconds that one call takes."""
    before = cpu_seconds()
    action()
    return cpu_seconds() - before


def in_turn(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """CPU-seconds of each action in each round: all actions in turn, `rounds` times.

    One more round comes first, to warm up, and is not counted. Returns [round][action].
    """
    costs = [[cost_of(action) for action in actions] for _ in range(rounds + 1)]
    return costs[1:]


def median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median, over rounds, of their cost divided by ours in the same round."""
    return statistics.median(t / o for t, o in zip(theirs, ours, strict=True))


def spread(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """The median ratio with the smallest and the largest: `4.1 (3.9 to 4.2)`."""
    ratios = [t / o for t, o in zip(theirs, ours, strict=True)]
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def seconds(values: Sequence[float]) -> str:
    """A median, written with its unit."""
    middle = statistics.median(values)
    return f"{middle:.2f} s" if middle >= 1 else f"{middle * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the report.

    >>> Section("Start-up", "In short.", ("what", "wall"), (("import", "90 ms"),)).markdown()[:11]
    '## Start-up'
    """

    title: str
    text: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    after: str = ""  # what follows the table

    def markdown(self) -> str:
        """Heading, text and table."""
        table = [_line(self.header), _line(["---"] + ["---:"] * (len(self.header) - 1))]
        table += [_line(row) for row in self.rows]
        parts = [f"## {self.title}", self.text, "\n".join(table), self.after]
        return "\n\n".join(part for part in parts if part)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def machine() -> str:
    """Processor, cores, memory, system and versions, as a Markdown list."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return "\n".join(
        (
            f"- Processor: {_processor()}, {os.cpu_count()} cores; memory {memory_gib:.0f} GiB; "
            f"no GPU is used.",
            f"- System: {platform.system()} {platform.machine()}, "
            f"Python {platform.python_version()}.",
            f"- Versions: {versions}.",
        )
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    pairs = (line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {name.strip(): value.strip() for name, value in pairs}
    name = facts.get("model name", platform.processor() or platform.machine())
    wide = [flag for flag in ("avx2", "avx512f") if flag in facts.get("flags", "").split()]
    return f"{name} ({', '.join(wide)})" if wide else name


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
