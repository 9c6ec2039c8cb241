"""What `srpo doctor` found, as a table, and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srpo.doctor import Finding, Grade

STYLES = {Grade.FINE: "green", Grade.NOTE: "yellow", Grade.WRONG: "bold red"}


def print_findings(root: Path, findings: Sequence[Finding], console: Console | None = None) -> int:
    """Print them; returns the exit code: 1 if anything is wrong."""
    console = console or Console(highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("", "what", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for f in findings:
        row = (Text(f.grade.value, STYLES[f.grade]), Text(f.what), Text(f.said), Text(f.advice))
        table.add_row(*row)
    console.print(table)
    wrong = sum(f.grade is Grade.WRONG for f in findings)
    notes = sum(f.grade is Grade.NOTE for f in findings)
    console.print()
    if wrong:
        console.print(Text(f"{root}: {wrong} things are wrong."))
    elif notes:
        console.print(Text(f"{root}: nothing is wrong; {notes} notes."))
    else:
        console.print(Text(f"{root}: whole, and agrees with itself."))
    return 1 if wrong else 0
