"""What `srpo doctor` found, line by line, and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from srpo.resuming.doctor import Finding, Grade

STYLES = {Grade.FINE: "green", Grade.NOTE: "yellow", Grade.WRONG: "bold red"}


def print_findings(root: Path, findings: Sequence[Finding], console: Console | None = None) -> None:
    """A line for each, what can be done below it, and a sentence on the whole."""
    console = console or Console(highlight=False)
    for f in findings:
        line = Text.assemble((f"{f.grade.value:6}", STYLES[f.grade]), f"{f.what}: {f.said}")
        console.print(line, soft_wrap=True)
        if f.advice:
            console.print(Text(f"      -> {f.advice}", style="dim"), soft_wrap=True)
    wrong = sum(f.grade is Grade.WRONG for f in findings)
    notes = sum(f.grade is Grade.NOTE for f in findings)
    console.print()
    if wrong:
        things = "one thing is" if wrong == 1 else f"{wrong} things are"
        console.print(Text(f"{root}: {things} wrong."))
    elif notes:
        console.print(Text(f"{root}: nothing is wrong; notes: {notes}."))
    else:
        console.print(Text(f"{root}: complete and consistent."))
