"""What `srpo compare --dry-run` prints: the arms, what sets each apart, and how many runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from srpo.comparison.jobs import count_runs
from srpo.comparison.plan import NO_END, Comparison
from srpo.config import Config
from srpo.config.files import settings_of
from srpo.formats import budget_text, counted


def print_comparison_plan(
    comparison: Comparison, finished: int, notes: Sequence[str], console: Console
) -> None:
    """Print what a comparison would run: `finished` of its runs are there already."""
    plan, base = comparison.plan, comparison.baseline
    for note in notes:
        console.print(Text(f"* {note}"), soft_wrap=True)
    console.print(Text(f"{plan.name} in {comparison.out}"), soft_wrap=True)
    console.print(
        Text(f"each run: {budget_text(plan.budget.rollouts, plan.budget.tokens)}"), soft_wrap=True
    )
    for arm in comparison.arms:
        mark = ", the baseline" if arm is base else ""
        console.print(Text(f"\n{arm.name}{mark}", style="bold"))
        for name, value in _own_settings(base.config, arm.config).items():
            console.print(Text(f"  {name} = {value}"), soft_wrap=True)
        early = _rollouts_before_last(arm.config)
        if early >= plan.budget.rollouts > 0:
            said = f"  its stages before the last take {early:,} rollouts: the last may never begin"
            console.print(Text(said, style="yellow"), soft_wrap=True)
    console.print()
    total = count_runs(comparison)
    rates = plan.learning_rate
    results = len(comparison.arms) * len(plan.seeds)
    tried = f" and {total - results} to choose learning rates" if rates else ""
    console.print(
        Text(f"{counted(results, 'run')} for results{tried}; {finished} of them finished")
    )


def _rollouts_before_last(config: Config) -> int:
    """Rollouts of the stages before the last that end after so many steps."""
    return sum((s.steps or 0) * s.problems_per_step * s.group_size for s in config.stage[:-1])


def _own_settings(base: Config, config: Config) -> dict[str, str]:
    """What sets an arm apart from the baseline, as texts; none for the baseline itself.

    A stage that the baseline does not have is shown by what its last stage has otherwise.
    """
    ours, theirs, last = settings_of(config), settings_of(base), len(base.stage)
    shown = {name: "not set" for name in theirs if name not in ours}
    for name, value in ours.items():
        parts = name.split(".")
        like = name
        if parts[0] == "stage" and int(parts[1]) > last:
            like = ".".join(["stage", str(last), *parts[2:]])
        if value != theirs.get(like) or (like != name and parts[-1] == "name"):
            shown[name] = "not set" if value is None else str(value)
            if value == NO_END:
                shown[name] = "until the budget is spent"
    return shown
