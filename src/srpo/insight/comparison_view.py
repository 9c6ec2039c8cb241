"""A comparison as tables, for the terminal, as Markdown, as CSV and as JSON.

Everything is made from the same cells, so that no form says more than another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from srpo.comparison.plan import Plan
from srpo.comparison.results import RULE, SPENDINGS, ArmFigures, RateChoice, Spending
from srpo.comparison.statistics import Bound, Estimate, MeanCost, Ratio
from srpo.comparison.summary import (
    ArmSummary,
    Where,
    accuracy_of,
    domains_of,
    limits_of,
    summarize,
    wheres_of,
)
from srpo.formats import clock, percent, short

NONE = "-"
GAP = 2  # spaces between columns
KEY = (
    "Mean over seeds ± half of the 95 % interval (Student's t). > n: a mean of n was spent without "
    "every seed reaching the target (k/n did). ×: how many times less was spent than by the "
    "baseline, as the geometric mean of ratios paired by seed."
)


@dataclass(frozen=True, slots=True)
class Cells:
    """A table of texts: the first column names the arm."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class ComparisonFigures:
    """All that the tables show."""

    plan: Plan
    baseline: str
    arms: Sequence[ArmFigures]
    choices: Mapping[str, RateChoice]  # by arm; empty if no rates were tried
    failed: Sequence[str]
    notes: Sequence[str]

    @property
    def summaries(self) -> list[ArmSummary]:
        """One for each arm."""
        return summarize(self.arms, self.baseline, self.plan)


def tables(figures: ComparisonFigures) -> list[Cells]:
    """Every table of a comparison."""
    domains, summaries = domains_of(figures.arms), figures.summaries
    found = [_accuracy_table(figures, summaries, domains)]
    found += [
        _target_table(figures, summaries, target) for target in figures.plan.evaluation.targets
    ]
    found.append(_difference_table(figures, summaries, domains))
    found.append(_spending_table(summaries))
    return found


def comparison_view(figures: ComparisonFigures, width: int) -> RenderableType:
    """The tables to print with rich; one too wide for so many columns of text comes in parts."""
    parts: list[RenderableType] = []
    for cells in tables(figures):
        parts.append(Text(cells.title, style="bold"))
        for part in fitting(cells, width):
            table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
            for i, name in enumerate(part.head):
                justify: JustifyMethod = "right" if i else "left"
                table.add_column(name, overflow="fold", justify=justify, no_wrap=not i)
            for row in part.rows:
                table.add_row(*map(Text, row))
            parts += [table, Text()]
    parts += [Text(line, style="dim") for line in _remarks(figures)]
    return Group(*parts)


def fitting(cells: Cells, width: int) -> list[Cells]:
    """The columns in groups that fit side by side, the first column in each of them.

    >>> [part.head for part in fitting(Cells("", ("arm", "math", "code"), (("a", "1", "2"),)), 9)]
    [('arm', 'math'), ('arm', 'code')]
    """
    texts = list(zip(cells.head, *cells.rows, strict=True))  # by column
    widths = [
        GAP + max(len(line) for text in column for line in text.split("\n")) for column in texts
    ]
    groups: list[list[int]] = [[]]
    used = widths[0]
    for i in range(1, len(texts)):
        if groups[-1] and used + widths[i] - GAP > width:
            groups.append([])
            used = widths[0]
        groups[-1].append(i)
        used += widths[i]
    return [
        Cells(
            cells.title,
            (cells.head[0], *(cells.head[i] for i in group)),
            tuple((row[0], *(row[i] for i in group)) for row in cells.rows),
        )
        for group in groups
    ]


def comparison_text(figures: ComparisonFigures) -> str:
    """The tables as plain text, as wide as they need."""
    stream = io.StringIO()
    console = Console(file=stream, width=200, highlight=False, color_system=None)
    console.print(comparison_view(figures, console.width), soft_wrap=False)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def comparison_markdown(figures: ComparisonFigures) -> str:
    """The tables as Markdown."""
    lines = [f"# {figures.plan.name}", ""]
    for cells in tables(figures):
        lines += [
            f"## {cells.title}",
            "",
            _markdown_row([name.replace("\n", ", ") for name in cells.head]),
        ]
        lines.append(_markdown_row(["---", *["---:"] * (len(cells.head) - 1)]))
        lines += [_markdown_row(row) for row in cells.rows]
        lines.append("")
    return "\n".join([*lines, *(f"{line}\n" for line in _remarks(figures))])


def comparison_csv(figures: ComparisonFigures) -> str:
    """One row for each finished run, with plain numbers; an empty cell: not reached, not known."""
    domains, limits = domains_of(figures.arms), limits_of(figures.plan)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["arm", "seed", "learning_rate"]
    wheres = wheres_of(figures.plan)
    head += [f"{d}_{_place(where)}" for where in wheres for d in domains]
    targets = figures.plan.evaluation.targets
    head += [f"{what}_to_{target:g}" for target in targets for what in SPENDINGS]
    head += ["signal_share", "gradient_share", *SPENDINGS]
    writer.writerow(head)
    for arm in figures.arms:
        for seed, run in arm.runs.items():
            row: list[object] = [arm.name, seed, arm.rate]
            for where in wheres:
                found = accuracy_of(run, where)
                row += [found.get(domain) for domain in domains]
            for target in targets:
                for what in SPENDINGS:
                    cost = run.course.cost_of(target, what, limits[what])
                    row.append(cost.spent if cost.reached else None)
            row += [run.signal_share, run.gradient_share, run.rollouts, run.tokens, run.seconds]
            writer.writerow(row)
    return stream.getvalue()


def comparison_data(figures: ComparisonFigures) -> dict[str, Any]:
    """Everything as plain JSON values: each run's course, and the summaries."""
    return {
        "schema": 1,
        "name": figures.plan.name,
        "plan": figures.plan.model_dump(mode="json"),
        "baseline": figures.baseline,
        "learning_rates": rates_data(figures.choices),
        "failed": list(figures.failed),
        "notes": list(figures.notes),
        "arms": [_summary_data(summary) for summary in figures.summaries],
        "runs": [
            {"arm": arm.name, "learning_rate": arm.rate, **asdict(run)}
            for arm in figures.arms
            for run in arm.runs.values()
        ],
    }


def rates_data(choices: Mapping[str, RateChoice]) -> dict[str, Any]:
    """How each arm got its learning rate, as plain JSON values."""
    return {
        "rule": RULE,
        "arms": {
            name: {
                "chosen": choice.chosen,
                "at_edge": choice.at_edge,
                "better_too_late": choice.better,
                "up_to_tokens": choice.end_tokens,
                "scores": [
                    {"rate": rate, "seed": seed, "score": score}
                    for rate, by_seed in choice.scores.items()
                    for seed, score in by_seed.items()
                ],
            }
            for name, choice in choices.items()
        },
    }


def _accuracy_table(
    figures: ComparisonFigures, summaries: Sequence[ArmSummary], domains: Sequence[str]
) -> Cells:
    """Validation accuracy at the budgets, and test accuracy."""
    columns = _accuracy_columns(figures.plan, domains)
    return Cells(
        f"Accuracy in %: validation at the budgets, test {_test_place(figures.plan)}",
        ("arm", "rate", "seeds", *(name for name, _ in columns)),
        tuple(
            (
                one.name,
                NONE if one.rate is None else f"{one.rate:g}",
                _seeds(one),
                *(_percent(one.accuracy.get(key)) for _, key in columns),
            )
            for one in summaries
        ),
    )


def _difference_table(
    figures: ComparisonFigures, summaries: Sequence[ArmSummary], domains: Sequence[str]
) -> Cells:
    columns = _accuracy_columns(figures.plan, domains)
    return Cells(
        f"Difference from {figures.baseline} in points, paired by seed",
        ("arm", "seeds", *(name for name, _ in columns)),
        tuple(
            (
                one.name,
                str(max((d.n for d in one.differences.values()), default=0)),
                *(_percent(one.differences.get(key), sign="+") for _, key in columns),
            )
            for one in summaries
            if one.name != figures.baseline
        ),
    )


def _accuracy_columns(plan: Plan, domains: Sequence[str]) -> list[tuple[str, tuple[Where, str]]]:
    return [
        (f"{d}\n{'test' if w.what == 'test' else f'{short(w.limit)} {w.what}'}", (w, d))
        for w in wheres_of(plan)
        for d in domains
    ]


def _test_place(plan: Plan) -> str:
    return f"at {short(plan.budget.tokens)} tokens" if plan.budget.tokens else "at the end"


def _place(where: Where) -> str:
    """Where accuracy was looked at, as part of a column's name."""
    return "test" if where.what == "test" else f"at_{where.limit}_{where.what}"


def _target_table(
    figures: ComparisonFigures, summaries: Sequence[ArmSummary], target: float
) -> Cells:
    return Cells(
        f"Spent until {target:g} in every domain at once (validation)",
        ("arm", "rollouts", "tokens", "seconds", "× rollouts", "× tokens", "× seconds"),
        tuple(
            (
                one.name,
                *(_cost(one.costs.get((target, what)), what) for what in SPENDINGS),
                *(
                    "baseline"
                    if one.name == figures.baseline
                    else _ratio(one.savings.get((target, what)))
                    for what in SPENDINGS
                ),
            )
            for one in summaries
        ),
    )


def _spending_table(summaries: Sequence[ArmSummary]) -> Cells:
    return Cells(
        "What was spent in total, and on what",
        ("arm", "rollouts", "tokens", "time", "groups with signal", "tokens to gradient"),
        tuple(
            (
                one.name,
                *(short(found.mean) if (found := one.totals.get(w)) else NONE
                  for w in SPENDINGS[:2]),
                clock(found.mean) if (found := one.totals.get("seconds")) else NONE,
                percent(one.signal_share.mean if one.signal_share else None),
                percent(one.gradient_share.mean if one.gradient_share else None),
            )
            for one in summaries
        ),
    )  # fmt: skip


def _remarks(figures: ComparisonFigures) -> list[str]:
    """What has to be said under the tables."""
    lines = [KEY]
    edges = [choice.arm for choice in figures.choices.values() if choice.at_edge]
    if edges:
        lines.append(
            f"At the edge of the learning rates tried, where others may do better: "
            f"{', '.join(edges)}."
        )
    late = [f"{c.arm} {c.better:g}" for c in figures.choices.values() if c.better is not None]
    if late:
        lines.append(
            f"Learning rates that turned out better after results had begun: {', '.join(late)}."
        )
    if figures.failed:
        lines.append(f"Failed runs, not in the means: {'; '.join(figures.failed)}.")
    missing = [f"{a.name} {len(a.runs)} of {a.planned}" for a in figures.arms if _lacks(a)]
    if missing:
        lines.append(f"Not all seeds are finished: {', '.join(missing)}.")
    return [*lines, *figures.notes]


def _lacks(arm: ArmFigures) -> bool:
    return len(arm.runs) < arm.planned


def _seeds(one: ArmSummary) -> str:
    done = len(one.seeds)
    return f"{done}" if done == one.planned else f"{done} of {one.planned}"


def _percent(found: Estimate | None, sign: str = "") -> str:
    if found is None:
        return NONE
    half = "" if found.half is None else f" ±{100 * found.half:.1f}"
    return f"{100 * found.mean:{sign}.1f}{half}"


def _cost(found: MeanCost | None, what: Spending) -> str:
    if found is None:
        return NONE
    bound = "> " if found.bound is Bound.AT_LEAST else ""
    half = "" if found.half is None else f" ±{short(found.half)}"
    reached = "" if found.bound is Bound.EXACT else f" ({found.reached}/{found.n})"
    return f"{bound}{short(found.mean)}{half}{' s' if what == 'seconds' else ''}{reached}"


def _ratio(found: Ratio | None) -> str:
    if found is None:
        return NONE
    bound = f"{found.bound.value} " if found.bound is not Bound.EXACT else ""
    ends = f" [{found.low:.2f} {found.high:.2f}]" if found.low and found.high else ""
    return f"{bound}{found.value:.2f}{ends}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _summary_data(summary: ArmSummary) -> dict[str, Any]:
    data = asdict(summary)
    for name in ("accuracy", "differences", "costs", "savings"):
        data[name] = [
            {"of": list(key), **asdict(value)} for key, value in getattr(summary, name).items()
        ]
    return data
