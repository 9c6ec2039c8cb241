"""The views of `srpo ledger`: which one is asked for."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from srpo.config.files import load_config
from srpo.history import Ledger
from srpo.insight.export_view import export_kept
from srpo.insight.ledger_view import print_decisions, print_ledger, print_life, print_never
from srpo.insight.preview_view import print_preview
from srpo.problems.exports import Format
from srpo.rundir import RunDirectory


def show_ledger(
    root: Path,
    epoch: int | None,
    form: Format,
    *,
    problem: str | None,
    decisions: bool,
    never: bool,
    preview: bool,
    export: Path | None,
) -> None:
    """Print one view of the ledger of the run in `root`; the overview if none is asked for.

    Raises `SrpoError` in one line for what cannot be shown.
    """
    run = RunDirectory.open(root)
    console = Console(highlight=False)
    with Ledger(run.ledger, read_only=True) as ledger:
        if problem is not None:
            print_life(ledger, problem, console)
        elif decisions:
            rule = load_config(run.config).config.selection.rule
            print_decisions(ledger, epoch, rule, console)
        elif never:
            print_never(ledger, console)
        elif preview:
            print_preview(ledger, load_config(run.config).config, console)
        elif export is not None:
            for said in export_kept(ledger, load_config(run.config).config, export, form):
                console.print(Text(said), soft_wrap=True)
        else:
            print_ledger(ledger, console)
