"""Write generated maths problems of reasoning-gym as srpo math problems.

    pip install reasoning-gym
    python examples/export_reasoning_gym.py data/arithmetic.jsonl --count 400 --seed 1

Every problem names the package's own scorer, which is then its verifier; with --no-scorer answers
are compared as mathematics instead, and only those that are one number are kept. What is left out
is counted.

The default tasks, with two terms, are easy enough to learn from for a model of 135M parameters;
docs/log.md has the pass rates. There are only some hundreds of each. Other tasks are named by
--task, and how hard they are is set by --set, as --set chain_sum.max_digits=2; the package lists
both: https://github.com/open-thought/reasoning-gym.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from srpo.errors import SrpoError
from srpo.problems import content_id, write_problems
from srpo.problems.row_words import BadRowError
from srpo.problems.scorer_rows import parse_scorer
from srpo.types import Problem, Scorer

EASY: dict[str, dict[str, Any]] = {
    "chain_sum": {"max_terms": 2, "max_digits": 1},
    "basic_arithmetic": {
        "max_terms": 2,
        "max_digits": 1,
        "allow_negation": False,
        "operators": ["+", "-", "*"],
        "allow_parentheses": False,
    },
}
DRAWS_PER_PROBLEM = 10  # easy tasks repeat themselves, so more are drawn than are kept


def take(
    entries: Iterable[Mapping[str, Any]], task: str, count: int, *, scored: bool = True
) -> tuple[list[Problem], Counter[str]]:
    """The first `count` different problems, and what was left out.

    `scored`: each names the task's scorer; else only numbers are kept as answers.
    """
    problems: dict[str, Problem] = {}  # by statement
    left_out: Counter[str] = Counter()
    for entry in entries:
        if len(problems) == count:
            break
        statement, answer = entry["question"].strip(), entry["answer"]
        scorer = scorer_of(entry, task) if scored else None
        if not scored and not is_number(answer):
            left_out["the answer is not one number"] += 1
        elif scored and scorer is None:
            left_out["the entry is not JSON"] += 1
        elif statement in problems:
            left_out["drawn before"] += 1
        else:
            gold = answer if isinstance(answer, str) and answer.strip() else None
            problems[statement] = Problem(
                id=content_id("math", statement, gold, (), scorer),
                domain="math",
                statement=statement,
                answer=gold,
                source=f"reasoning-gym/{task}",
                scorer=scorer,
            )
    return list(problems.values()), left_out


def scorer_of(entry: Mapping[str, Any], task: str) -> Scorer | None:
    """The scorer with this entry; None if the entry holds what JSON has not, as a date."""
    try:
        return parse_scorer({"package": "reasoning_gym", "dataset": task, "entry": entry})
    except BadRowError:
        return None


def is_number(answer: object) -> bool:
    """True for a text such as "-4", "0.25" or "1/3"."""
    try:
        return isinstance(answer, str) and Fraction(answer) is not None
    except (ValueError, ZeroDivisionError):
        return False


def parse_settings(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`chain_sum.max_terms=2` -> {"chain_sum": {"max_terms": 2}}; values are JSON."""
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        task, dot, option = name.partition(".")
        if not (equals and dot):
            raise click.BadParameter(f"{text!r} is not TASK.OPTION=VALUE", param_hint="--set")
        try:
            options.setdefault(task, {})[option] = json.loads(value)
        except ValueError as error:
            hint = f"{value!r} is not JSON; write a text as '\"text\"'"
            raise click.BadParameter(hint, param_hint="--set") from error
    return options


def draw(task: str, size: int, seed: int, options: Mapping[str, Any]) -> Iterable[Any]:
    """The package's data set of a task, as a sequence that is generated while it is read."""
    gym = importlib.import_module("reasoning_gym")
    try:
        return gym.create_dataset(task, size=size, seed=seed, **options)  # type: ignore[no-any-return]
    except (ValueError, TypeError, AssertionError) as error:
        raise click.ClickException(f"reasoning-gym refuses the task {task}: {error}") from error


@click.command(help=str(__doc__).replace("    pip", "\b\n    pip", 1))  # \b: keep these lines
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--task", "tasks", multiple=True, help=f"May be repeated; else {', '.join(EASY)}.")
@click.option("--count", default=400, type=click.IntRange(1), show_default=True,
              help="Problems to write, the same number of each task.")  # fmt: skip
@click.option("--seed", default=1, type=click.IntRange(0), show_default=True)
@click.option("--set", "sets", multiple=True, metavar="TASK.OPTION=VALUE", help="A task's option.")
@click.option("--scorer/--no-scorer", "scored", default=True, show_default=True,
              help="Let the package's own scorer check answers.")  # fmt: skip
def main(
    out: Path, tasks: tuple[str, ...], count: int, seed: int, sets: tuple[str, ...], scored: bool
) -> None:
    """Draw, keep what can be checked, write and say what was left out."""
    if importlib.util.find_spec("reasoning_gym") is None:
        raise click.ClickException(
            "the package reasoning-gym is missing; run: pip install reasoning-gym"
        )
    settings, problems = parse_settings(sets), []
    tasks = tuple(dict.fromkeys(tasks)) or tuple(EASY)
    if unused := set(settings) - set(tasks):
        raise click.ClickException(f"--set names {min(unused)!r}, which is not among the tasks")
    for i_task, task in enumerate(tasks):
        share = count // len(tasks) + (i_task < count % len(tasks))
        options = EASY.get(task, {}) | settings.get(task, {})
        drawn = draw(task, DRAWS_PER_PROBLEM * share, seed, options)
        taken, left_out = take(drawn, task, share, scored=scored)
        problems += taken
        short = f", {share - len(taken)} fewer than asked for" if len(taken) < share else ""
        reasons = "".join(f"; left out {n}: {why}" for why, n in left_out.most_common())
        click.echo(f"{task}: {len(taken)} problems{short}{reasons}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_problems(out, problems)
    except (SrpoError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out}: {len(problems)} problems")


if __name__ == "__main__":
    main()
