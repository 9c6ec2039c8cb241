"""The prompt ledger for a person: a table of epochs, one problem's life, decisions, hard cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srpo.errors import SrpoError
from srpo.formats import counted, short
from srpo.history import DecisionRow, GroupRow, Ledger, ProblemRow, Resampling, Totals
from srpo.selection import RULES

MOST_SHOWN = 10
MOST_DRAWN = 5
NAMED = (  # decisions that name their problems: how they begin, and the title over them
    ("drop", "Dropped"),
    ("revive", "Revived"),
    ("to the easy pool", "To the easy pool"),
    ("back from the easy pool", "Back from the easy pool"),
)


def print_ledger(ledger: Ledger, console: Console | None = None) -> None:
    """One line for each epoch and domain, then what happened, then problems to look at."""
    console = console or _console()
    numbers = ("groups", "correct", "mixed", "wrong", "ungraded", "drops", "revived", "tokens")
    table = table_of(("stage", "epoch"), ("domain",), numbers)
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
    console.print(Text(f"{counted(drawn, 'problem')} drawn, {never} of them never solved."))
    if drawn:
        console.print(Text("Drawn most often (--problem ID shows what became of one):"))
    for problem in ledger.most_drawn(MOST_DRAWN):
        answers = counted(problem.correct, "correct answer")
        console.print(
            Text(f"  {problem.id}  {problem.domain}  {_times(problem.groups)}, {answers}")
        )


def print_life(ledger: Ledger, start: str, console: Console | None = None) -> None:
    """Everything that became of one problem: its pass rate by epoch, then group by group.

    Raises `SrpoError` if no problem's id or name is or begins with `start`, or several do.
    """
    console = console or _console()
    problem = _the_problem(ledger, start)
    groups, decisions = ledger.life_of(problem.id)
    several = ", " in problem.sets
    console.print(
        Text(f"{problem.id}  {problem.domain}  (set{'s' * several} {problem.sets})"),
        soft_wrap=True,
    )
    console.print(Text(problem.statement))
    console.print()
    if not groups and not decisions:
        console.print(Text("not drawn yet"))
        return
    console.print(_epochs_of(ledger, problem, groups, several=several))
    console.print()
    lines = [(g.step, 0, _group_text(g)) for g in groups]
    lines += [
        (d.step, -1 if d.before_step else 1, f"{d.set_name}: " * several + _decision_text(d))
        for d in decisions
    ]
    for step, _, text in sorted(lines):
        console.print(Text(f"step {step:>4}  {text}"), soft_wrap=True)
    spent, reused = sum(g.generated for g in groups), sum(g.reused for g in groups)
    console.print()
    console.print(
        Text(
            f"Drawn {_times(len(groups))}; {_pass_rate(groups)} correct; {spent:,} tokens generated"
            + (f", {reused:,} reused from drafts" if reused else "")
        )
    )


def print_decisions(
    ledger: Ledger, epoch: int | None, rule: str, console: Console | None = None
) -> None:
    """How many problems were kept, dropped and revived, when and why; of an epoch also which.

    `rule`: the run's own, which says why there may be nothing. Raises
    `SrpoError` if the run has no such epoch.
    """
    console = console or _console()
    newest = ledger.newest_epoch()
    if epoch is not None and (newest is None or epoch > newest.epoch):
        begun = f"has only reached epoch {newest.epoch}" if newest else "has not begun"
        raise SrpoError(f"--epoch {epoch}: the run {begun}")
    rows = ledger.resamplings(epoch)
    if not rows:
        where = "yet" if epoch is None else f"in epoch {epoch}"
        console.print(Text(f"No decision {where}. {no_decision_text(rule)}"), soft_wrap=True)
        return
    table = table_of(("epoch", "step"), ("set",), ("problems",), ("decision",))
    for row in rows:
        at = (str(row.epoch), str(row.step), row.set_name)
        table.add_row(*at, f"{row.problems:,}", _decision_text(row))
    console.print(table)
    if epoch is None:
        console.print()
        console.print(Text("--epoch N names the problems that were dropped, revived or moved."))
        return
    for kind, title in NAMED:
        count = sum(row.problems for row in rows if row.decision.startswith(f"{kind}:"))
        if count:
            console.print()
            console.print(Text(f"{title}:"))
        for found in ledger.decided(epoch, kind, MOST_SHOWN):
            console.print(Text(f"  {found.id}  {found.set_name}  {found.decision}"))
        _say_how_many_more(console, count, "the view decision_rows of the file has them all")


def no_decision_text(rule: str) -> str:
    """Why a run with this rule may have decided nothing at an epoch's end, in plain words.

    >>> no_decision_text("uniform")
    "The run's rule is uniform: it takes no problem out of play."
    """
    said, decides = f"The run's rule is {rule}: ", RULES[rule].decides
    if decides == "never":
        return said + "it takes no problem out of play."
    if decides == "at every draw":
        return said + (
            "it decides at every draw, not at an epoch's end. Why a problem was drawn is shown "
            "with each of its groups (--problem ID); what was passed over is not in the ledger."
        )
    return said + "it decides when an epoch ends (--preview looks ahead)."


def print_never(ledger: Ledger, console: Console | None = None) -> None:
    """The problems that no rollout solved, and those of which no rollout could be graded."""
    console = console or _console()
    _print_totals(console, "never solved, though graded", ledger.never(gradable=True))
    console.print()
    _print_totals(console, "never gradable", ledger.never(gradable=False))


def table_of(
    numbers: Sequence[str],
    words: Sequence[str],
    more_numbers: Sequence[str],
    more_words: Sequence[str] = (),
) -> Table:
    """An empty table without lines; numbers stand at the right."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for names, side in ((numbers, "right"), (words, "left"), (more_numbers, "right")):
        for name in names:
            table.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
    for name in more_words:
        table.add_column(name)
    return table


def _console() -> Console:
    return Console(highlight=False)


def _the_problem(ledger: Ledger, start: str) -> ProblemRow:
    found = ledger.find_problems(start)
    if len(found) == 1:
        return found[0]
    shown = ", ".join(problem.id for problem in found[:MOST_SHOWN])
    more = f", and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    many = f"{len(found)} problems begin with {start!r}: {shown}{more}"
    raise SrpoError(many if found else f"no problem in the ledger begins with {start!r}")


def _epochs_of(
    ledger: Ledger, problem: ProblemRow, groups: Sequence[GroupRow], *, several: bool
) -> Table:
    """One line an epoch in which the problem came: what it came to, and what was decided then."""
    standing = ledger.standing_of(problem.id)
    table = table_of(("epoch", "stage", "groups", "correct", "rate"), (), ("tokens",), ("then",))
    for epoch, drawn in itertools.groupby(groups, key=lambda g: g.epoch):
        rows = list(drawn)
        right, graded = _solved_alone(rows)
        then = standing.get(epoch, {})
        table.add_row(
            str(epoch),
            str(rows[0].stage),
            str(len(rows)),
            _pass_rate(rows),
            f"{right / graded:.2f}" if graded else "-",
            short(sum(g.generated for g in rows)),
            "\n".join(f"{name}: " * several + decision for name, decision in then.items()),
        )
    return table


def _group_text(group: GroupRow) -> str:
    verdicts = ", ".join(f"{count} {name}" for name, count in group.verdicts.items() if count)
    notes = [group.why] if group.why else []
    if group.reused:
        notes.append(f"{group.reused:,} tokens reused")
    if group.prefix:
        notes.append(f"begun with {group.prefix} tokens of an own answer")
    return f"{verdicts}; {group.outcome.replace('_', ' ')}; {short(group.generated)} tokens" + (
        f" ({'; '.join(notes)})" if notes else ""
    )


def _decision_text(row: DecisionRow | Resampling) -> str:
    return row.decision + " (as the stage began)" * row.before_step


def _pass_rate(groups: Iterable[GroupRow]) -> str:
    right, graded = _solved_alone(groups)
    return f"{right} of {graded}"


def _solved_alone(groups: Iterable[GroupRow]) -> tuple[int, int]:
    """(correct, gradable) answers, without groups that began with part of an own answer."""
    alone = [g for g in groups if not g.prefix]
    return sum(g.correct for g in alone), sum(g.gradable for g in alone)


def _print_totals(console: Console, what: str, found: Iterable[Totals]) -> None:
    shown: list[Totals] = []
    count = tokens = 0
    for problem in found:
        count += 1
        tokens += problem.generated
        if len(shown) < MOST_SHOWN:
            shown.append(problem)
    cost = f"; {short(tokens)} tokens went into them, most into:" if count else ""
    console.print(Text(f"{counted(count, 'problem')} {what}{cost}"))
    for problem in shown:
        spent = f"{short(problem.generated)} tokens"
        console.print(Text(f"  {problem.id}  {problem.domain}  {_times(problem.groups)}, {spent}"))
    _say_how_many_more(console, count, "most expensive first")


def _say_how_many_more(console: Console, count: int, where: str) -> None:
    if count > MOST_SHOWN:
        console.print(Text(f"  ... and {count - MOST_SHOWN:,} more ({where})"))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
