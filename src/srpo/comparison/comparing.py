"""`srpo compare`: check the plan, run what is left of it, and write tables and figure.

OUT/plan.toml, arms/, source.txt   what is compared (comparison.record)
OUT/configs/, logs/, locks/        config, output and lock of each run
OUT/rates/ARM/, OUT/runs/ARM/      run directories: for learning rates, and for results
OUT/learning_rates.json            how each arm got its rate
OUT/results.txt, .md, .csv, .json  the tables
OUT/accuracy.png, accuracy.svg     the figure
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from rich.console import Console

from srpo.comparison.jobs import State, rate_jobs, result_jobs, state_of
from srpo.comparison.plan import Comparison, load_comparison
from srpo.comparison.record import check_plan, keep_plan
from srpo.comparison.results import RateChoice, choose_rate, read_arm
from srpo.comparison.running import run_comparison
from srpo.comparison.source import source_changed
from srpo.errors import ConfigError, RunDirectoryError
from srpo.insight.comparison_figure import draw_comparison
from srpo.insight.comparison_plan_view import print_comparison_plan
from srpo.insight.comparison_progress import ComparisonProgress
from srpo.insight.comparison_view import (
    ComparisonFigures,
    comparison_csv,
    comparison_data,
    comparison_markdown,
    comparison_text,
    comparison_view,
    rates_data,
)
from srpo.run.finish import notes_of
from srpo.run.problem_sets import load_sets

CHANGED = (
    "These runs were trained by a different version of srpo from the one that wrote these tables."
)


def compare(path: Path, out: Path | None, cores: int | None, stream: TextIO) -> int:
    """Run what is left of a plan and write its results. Returns the exit code.

    `cores`: runs side by side, each on one thread; None: all cores there are. Exit code 1: some
    run failed twice, and the results say which. Raises `SrpoError` before anything runs.
    """
    comparison = load_comparison(path, out)
    load_sets(comparison.arms[0].config)
    check_plan(comparison)
    onlooker = ComparisonProgress(stream)
    try:
        onlooker.tell(f"{comparison.plan.name} in {comparison.out}")
        outcome = run_comparison(
            comparison,
            cores or usable_cores(),
            onlooker,
            lambda: keep_plan(comparison, onlooker.tell),
        )
    finally:
        onlooker.stop()  # the terminal's cursor is hidden until then
    if outcome.exit_code:
        onlooker.tell("Interrupted. Run the same command again to continue.")
        return outcome.exit_code
    write_results(comparison, outcome.failed, stream)
    return 1 if outcome.failed else 0


def show_plan(path: Path, out: Path | None, stream: TextIO) -> None:
    """Check everything and print what would run; nothing is written."""
    comparison = load_comparison(path, out)
    sets = load_sets(comparison.arms[0].config)
    check_plan(comparison)
    every = [job for arm in comparison.arms for job in rate_jobs(comparison, arm)]
    every += [job for arm in comparison.arms for job in result_jobs(comparison, arm, None)]
    finished = sum(state_of(job) is State.FINISHED for job in every)
    print_comparison_plan(comparison, finished, sets.notes, Console(file=stream, highlight=False))


def rewrite_results(path: Path, out: Path | None, stream: TextIO) -> None:
    """Write tables and figure from the runs that are finished; nothing is run."""
    write_results(_begun(path, out), [], stream)


def print_against(path: Path, out: Path | None, arm: str, stream: TextIO) -> None:
    """Print the tables of what is finished with `arm` as the baseline; nothing is written.

    Raises `ConfigError` if the plan has no such arm.
    """
    comparison = _begun(path, out)
    names = [one.name for one in comparison.arms]
    if arm not in names:
        raise ConfigError(f"--against {arm}: no such arm in {path}; its arms: {', '.join(names)}")
    _print_tables(replace(_figures(comparison, []), baseline=arm), stream)


def write_results(comparison: Comparison, failed: list[str], stream: TextIO) -> None:
    """Read every finished run, write the result files, and print the tables."""
    figures = _figures(comparison, failed)
    files = {
        "results.txt": comparison_text(figures),
        "results.md": comparison_markdown(figures),
        "results.csv": comparison_csv(figures),
        "results.json": json.dumps(comparison_data(figures), indent=2) + "\n",
    }
    if figures.choices:
        files["learning_rates.json"] = json.dumps(rates_data(figures.choices), indent=2) + "\n"
    for name, text in files.items():
        (comparison.out / name).write_text(text, encoding="utf-8")
    draw_comparison(
        figures.arms,
        figures.baseline,
        comparison.plan.evaluation.targets,
        [comparison.out / "accuracy.png", comparison.out / "accuracy.svg"],
        " ".join(figures.notes),
    )
    _print_tables(figures, stream)
    stream.write(f"\nwritten to {comparison.out}: {', '.join(files)}, accuracy.png, accuracy.svg\n")


def usable_cores() -> int:
    """Cores that this process may use."""
    linux = sys.platform == "linux"
    return len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1


def rate_choices(comparison: Comparison) -> dict[str, RateChoice]:
    """By arm: the rate that its runs so far choose; none where the plan chooses no rates."""
    if comparison.plan.learning_rate is None:
        return {}
    found = {arm.name: choose_rate(comparison, arm) for arm in comparison.arms}
    return {name: choice for name, choice in found.items() if choice is not None}


def _begun(path: Path, out: Path | None) -> Comparison:
    """The comparison of a plan of which something was run."""
    comparison = load_comparison(path, out)
    if not (comparison.out / "plan.toml").is_file():
        raise RunDirectoryError(f"{comparison.out}: no comparison has been begun there")
    check_plan(comparison)
    return comparison


def _figures(comparison: Comparison, failed: list[str]) -> ComparisonFigures:
    """What every finished run says."""
    choices = rate_choices(comparison)
    rates = {name: choice.chosen for name, choice in choices.items()}
    notes = notes_of(comparison.arms[0].config)
    return ComparisonFigures(
        plan=comparison.plan,
        baseline=comparison.baseline.name,
        arms=[read_arm(comparison, arm, rates.get(arm.name)) for arm in comparison.arms],
        choices=choices,
        failed=failed,
        notes=[*notes, CHANGED] if source_changed(comparison) else notes,
    )


def _print_tables(figures: ComparisonFigures, stream: TextIO) -> None:
    console = Console(file=stream, highlight=False)
    console.print()
    console.print(comparison_view(figures, console.width))
