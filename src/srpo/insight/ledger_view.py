"""The prompt ledger for a person: epochs in a table, events, and the life of one problem."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srpo.errors import SrpoError
from srpo.history import Ledger
from srpo.insight.lines import short

MOST_SHOWN = 10
MOST_DRAWN = 5


def print_ledger(ledger: Ledger, console: Console | None = None) -> None:
    """One line for each epoch and domain, then what happened, then problems to look at."""
    console = console or Console(highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in ("stage", "epoch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("domain", no_wrap=True)
    for name in ("groups", "correct", "mixed", "wrong", "ungraded", "drops", "revived", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in ledger.epochs():
        counts = (row.groups, row.all_correct, row.mixed, row.all_wrong, row.ungradable)
        table.add_row(
            str(row.stage),
            str(row.epoch),
            row.domain,
            *map(str, counts),
            str(row.dropped),
            str(row.revived),
            short(row.tokens),
        )
    console.print(table)
    console.print()
    for step, _, text in ledger.events():
        console.print(Text(f"step {step:>4}  {text}"), soft_wrap=True)
    never, drawn = ledger.never_solved()
    console.print()
    console.print(Text(f"{drawn} problems drawn, {never} of them never solved."))
    if drawn:
        console.print(Text("Drawn most often (--problem ID tells what became of one):"))
    for problem in ledger.most_drawn(MOST_DRAWN):
        times = "once" if problem.groups == 1 else f"{problem.groups} times"
        answers = f"{problem.correct} correct answer{'' if problem.correct == 1 else 's'}"
        console.print(Text(f"  {problem.id}  {problem.domain}  {times}, {answers}"))


def print_life(ledger: Ledger, start: str, console: Console | None = None) -> None:
    """Everything that became of one problem.

    Raises `SrpoError` if no problem's id or name begins with `start`, or several do.
    """
    console = console or Console(highlight=False)
    found = ledger.find_problems(start)
    if len(found) != 1:
        shown = ", ".join(problem.id for problem in found[:MOST_SHOWN])
        more = f", and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        many = f"{len(found)} problems begin with {start!r}: {shown}{more}"
        raise SrpoError(many if found else f"no problem in the ledger begins with {start!r}")
    problem = found[0]
    groups, decisions = ledger.life_of(problem.id)
    console.print(Text(f"{problem.id}  {problem.domain}"))
    console.print(Text(problem.statement))
    console.print()
    lines = [
        (g.step, 0, f"{_verdicts(g.verdicts)}; {g.outcome}; {short(g.generated)} tokens")
        for g in groups
    ]
    lines += [(d.step, 1, d.decision) for d in decisions]
    if not lines:
        console.print(Text("not drawn yet"))
    for step, _, text in sorted(lines):
        console.print(Text(f"step {step:>4}  {text}"), soft_wrap=True)


def _verdicts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
