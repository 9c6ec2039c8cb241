"""What is printed when a run is over: accuracy, the curve, where it is, how to load the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from srpo.formats import clock
from srpo.insight.curve import curve_text
from srpo.insight.report import report_view
from srpo.rundir import RunDirectory

if TYPE_CHECKING:
    from srpo.trainer import Run


def print_run(run: Run, console: Console | None = None) -> None:
    """Print the end of a run; an interrupted one says how to go on."""
    console = console or Console(highlight=False)
    directory = RunDirectory(run.directory)
    console.print()
    if not run.finished:
        console.print(Text(f"Interrupted. Saved in {run.checkpoint}"))
        console.print(Text(f"Go on with: srpo train --resume {run.directory}"), soft_wrap=True)
        return
    console.print(Text(curve_text(directory.read_metrics())))
    console.print()
    console.print(report_view(json.loads(directory.report_json.read_text(encoding="utf-8"))))
    console.print()
    taken = sum(s for phases in directory.read_seconds().values() for s in phases.values())
    for name, path in (
        ("training took", clock(taken)),
        ("run directory", directory.root),
        ("picture", directory.curve),
        ("report", directory.report_json),
        ("ledger", f"srpo ledger {directory.root}"),
    ):
        console.print(Text(f"{name:14} {path}"), soft_wrap=True)
    console.print()
    console.print(Text("Load the trained model with transformers:"))
    for line in loading_lines(str(run.checkpoint)):
        console.print(Text(f"    {line}"), soft_wrap=True)


def loading_lines(checkpoint: str) -> tuple[str, str, str]:
    """Three lines of Python that load a checkpoint."""
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f"model = AutoModelForCausalLM.from_pretrained({checkpoint!r})",
        f"tokenizer = AutoTokenizer.from_pretrained({checkpoint!r})",
    )
