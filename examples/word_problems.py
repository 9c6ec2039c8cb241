"""Write generated word problems with small numbers as srpo math problems.

    python examples/word_problems.py data/words.jsonl --count 150 --seed 1

Three levels: one step with numbers up to 10, one step up to 20, two steps up to 10. For models
that are too small for GSM8K. Equal seeds write equal files.
"""

from __future__ import annotations

import random
from pathlib import Path

import click

from srpo.errors import SrpoError
from srpo.problems import content_id, write_problems
from srpo.types import Problem

LEVELS = (1, 2, 3)
HIGHEST = {1: 10, 2: 20, 3: 10}  # of the numbers in a statement, by level
DRAWS = 50  # for each problem wanted
NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hiro", "Ines", "Jonas")
THINGS = ("apples", "books", "pencils", "marbles", "coins", "stamps", "cookies", "balloons")


def one_step(rng: random.Random, highest: int) -> tuple[str, int]:
    """A statement with one sum, difference or product, and its answer."""
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    a, b = sorted((rng.randint(2, highest), rng.randint(2, highest)), reverse=True)
    kind = rng.randrange(3)
    if kind == 0:
        return f"{name} has {a} {things} and gets {b} more. How many {things} are there now?", a + b
    if kind == 1:
        left = f"How many {things} are left?"
        return f"{name} has {a + b} {things} and gives away {b}. {left}", a
    small = min(b, 5)
    bags = f"{name} has {small} bags with {a} {things} in each."
    return f"{bags} How many {things} are there in all?", small * a


def two_steps(rng: random.Random, highest: int) -> tuple[str, int]:
    """A statement with a sum or product and then a sum or difference, and its answer."""
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    a, b, c = (rng.randint(2, highest) for _ in range(3))
    if rng.randrange(2):
        lost = min(c, a + b - 1)
        first = f"{name} has {a} {things}, finds {b} more, and then loses {lost}."
        return f"{first} How many {things} are left?", a + b - lost
    bags = min(b, 5)
    first = f"{name} has {bags} bags with {a} {things} in each, and {c} more {things}."
    return f"{first} How many {things} are there in all?", bags * a + c


def make_problems(count: int, seed: int, levels: tuple[int, ...] = LEVELS) -> list[Problem]:
    """`count` different problems, as many of each level; fewer if a level has no more."""
    rng = random.Random(seed)
    problems: dict[str, Problem] = {}  # by statement
    for i_level, level in enumerate(levels):
        wanted = count // len(levels) + (i_level < count % len(levels)) + len(problems)
        for _ in range(DRAWS * count):
            if len(problems) == wanted:
                break
            statement, number = (two_steps if level == 3 else one_step)(rng, HIGHEST[level])
            id = content_id("math", statement, str(number), ())
            made = Problem(id, "math", statement, str(number), source="word-problems", level=level)
            problems.setdefault(statement, made)
    return list(problems.values())


@click.command(help=str(__doc__).replace("    python", "\b\n    python", 1))  # \b: keep these lines
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--count", default=150, type=click.IntRange(1), show_default=True)
@click.option("--seed", default=1, type=click.IntRange(0), show_default=True)
@click.option("--level", "levels", multiple=True, type=click.IntRange(1, 3),
              help="May be repeated; else all.")  # fmt: skip
def main(out: Path, count: int, seed: int, levels: tuple[int, ...]) -> None:
    """Draw, write, and say how many there are."""
    problems = make_problems(count, seed, tuple(dict.fromkeys(levels)) or LEVELS)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_problems(out, problems)
    except (SrpoError, OSError) as error:
        raise click.ClickException(str(error)) from error
    short = f", {count - len(problems)} fewer than asked for" if len(problems) < count else ""
    click.echo(f"{out}: {len(problems)} problems{short}")


if __name__ == "__main__":
    main()
