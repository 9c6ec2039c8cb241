"""Write generated function tasks, in the style of HumanEval, as srpo code problems.

    python examples/function_tasks.py data/functions.jsonl --count 300 --seed 1

A task is the head of a Python function and one sentence of what it returns; its tests are calls.
Five levels, from one operation on a number to two steps on a list. HumanEval's own problems are
nearly out of reach for a model of 135M parameters; these are for such models. Expected values
come from reference solutions here, never from a model. Equal seeds write equal files.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from srpo.errors import SrpoError
from srpo.problems import content_id, write_problems
from srpo.types import FunctionCase, Json, Problem

INSTRUCTION = "Write this Python function:"
TESTS = 5  # calls of each function
DRAWS = 200  # of a task or of arguments, before a family counts as used up
WORDS = ("apple", "tree", "river", "sun", "banana", "cat", "window", "green", "letter", "book",
         "summer", "rain", "an", "orange", "little", "see", "house", "moon", "tea")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """Tasks that differ in one parameter: `{n}` in the name and in the sentence.

    `solve(n, value)` is the reference; `values` names how an argument is drawn (`draw_value`).
    """

    level: int
    name: str
    says: str
    values: str
    solve: Callable[[Any, Any], Json]
    letters: bool = False  # the parameter is a letter, else a number from `low` to `high`
    low: int = 2
    high: int = 20


FAMILIES = (
    Family(1, "add_{n}", "Return x plus {n}.", "x", lambda n, x: x + n),
    Family(1, "subtract_{n}", "Return x minus {n}.", "x", lambda n, x: x - n),
    Family(1, "multiply_by_{n}", "Return x times {n}.", "x", lambda n, x: x * n),
    Family(1, "square_plus_{n}", "Return the square of x, plus {n}.", "x", lambda n, x: x * x + n),
    Family(2, "is_greater_than_{n}", "Return True if x is greater than {n}, else False.", "x",
           lambda n, x: x > n),
    Family(2, "is_multiple_of_{n}", "Return True if x is divisible by {n}, else False.", "x",
           lambda n, x: x % n == 0, high=9),
    Family(2, "at_most_{n}", "Return x, but never more than {n}.", "x", lambda n, x: min(x, n)),
    Family(2, "double_plus_{n}", "Multiply x by 2, add {n}, and return the result.", "x",
           lambda n, x: 2 * x + n),
    Family(3, "first_{n}", "Return the first {n} characters of text.", "text",
           lambda n, text: text[:n], high=6),
    Family(3, "repeat_{n}", "Return text repeated {n} times.", "text",
           lambda n, text: text * n, high=9),
    Family(3, "count_letter_{n}", "Return how often the letter '{n}' is in text.", "text",
           lambda n, text: text.count(n), letters=True),
    Family(3, "has_letter_{n}", "Return True if the letter '{n}' is in text, else False.", "text",
           lambda n, text: n in text, letters=True),
    Family(3, "sum_plus_{n}", "Return the sum of the list numbers, plus {n}.", "numbers",
           lambda n, numbers: sum(numbers) + n),
    Family(3, "largest_minus_{n}", "Return the largest of the list numbers, minus {n}.", "numbers",
           lambda n, numbers: max(numbers) - n),
    Family(4, "greater_than_{n}", "Return a list of those numbers that are greater than {n}.",
           "numbers", lambda n, numbers: [x for x in numbers if x > n]),
    Family(4, "add_{n}_to_each", "Return a list of the numbers with {n} added to each.", "numbers",
           lambda n, numbers: [x + n for x in numbers]),
    Family(4, "count_multiples_of_{n}", "Return how many of the numbers are divisible by {n}.",
           "numbers", lambda n, numbers: sum(x % n == 0 for x in numbers), high=6),
    Family(4, "remove_letter_{n}", "Return text without any letter '{n}'.", "text",
           lambda n, text: text.replace(n, ""), letters=True),
    Family(4, "words_with_{n}", "Return a list of those words that contain the letter '{n}'.",
           "words", lambda n, words: [w for w in words if n in w], letters=True),
    Family(5, "sum_greater_than_{n}", "Return the sum of those numbers that are greater than {n}.",
           "numbers", lambda n, numbers: sum(x for x in numbers if x > n)),
    Family(5, "squares_less_than_{n}", "Return the squares of those numbers that are less than "
           "{n}, in order.", "numbers", lambda n, numbers: [x * x for x in numbers if x < n]),
    Family(5, "last_{n}_reversed", "Return the last {n} characters of text, in reverse order.",
           "text", lambda n, text: text[-n:][::-1], high=6),
    Family(5, "sorted_longer_than_{n}", "Return those words that are longer than {n} characters, "
           "sorted.", "words", lambda n, words: sorted(w for w in words if len(w) > n), high=5),
    Family(5, "sum_of_multiples_of_{n}", "Return the sum of all numbers from 1 to x that are "
           "divisible by {n}.", "x", lambda n, x: sum(range(n, x + 1, n)), high=9),
)  # fmt: skip


def make_tasks(count: int, seed: int, levels: tuple[int, ...] = (1, 2, 3, 4, 5)) -> list[Problem]:
    """`count` different problems, fewer if the levels have no more; as many of each level.

    The families of a level take turns, in an order that the seed decides.
    """
    rng = random.Random(seed)
    problems: dict[str, Problem] = {}  # by statement
    for i_level, level in enumerate(levels):
        wanted = count // len(levels) + (i_level < count % len(levels))
        families = [family for family in FAMILIES if family.level == level]
        rng.shuffle(families)
        found: dict[str, Problem] = {}
        for draw in range(DRAWS * len(families)):
            if len(found) == wanted:
                break
            problem = make_task(families[draw % len(families)], rng)
            found.setdefault(problem.statement, problem)
        problems |= found
    return list(problems.values())


def make_task(family: Family, rng: random.Random) -> Problem:
    """One task of a family, with tests that do not all expect the same."""
    n = rng.choice("aeionrst") if family.letters else rng.randint(family.low, family.high)
    name = family.name.format(n=n)
    head = f'def {name}({family.values}):\n    """{family.says.format(n=n)}"""'
    statement = f"{INSTRUCTION}\n\n```python\n{head}\n```"
    cases: list[FunctionCase] = []
    for _ in range(DRAWS):
        args = (draw_value(family.values, rng),)
        case = FunctionCase(name, args, family.solve(n, *args))
        told_apart = len(cases) + 1 < TESTS or any(c.expected != case.expected for c in cases)
        if case not in cases and told_apart:
            cases.append(case)
        if len(cases) == TESTS:
            break
    return Problem(
        id=content_id("code", statement, None, cases),
        domain="code",
        statement=statement,
        tests=tuple(cases),
        source="function-tasks",
        level=family.level,
        name=name,
    )


def draw_value(kind: str, rng: random.Random) -> Json:
    """An argument: a whole number, a list of them, a text of a few words, or a list of words."""
    if kind == "x":
        return rng.randint(0, 40)
    if kind == "numbers":
        return [rng.randint(0, 30) for _ in range(rng.randint(3, 7))]
    words: list[Json] = [rng.choice(WORDS) for _ in range(rng.randint(2, 5))]
    return words if kind == "words" else " ".join(str(word) for word in words)


@click.command(help=str(__doc__).replace("    python", "\b\n    python", 1))  # \b: keep these lines
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--count", default=300, type=click.IntRange(1), show_default=True)
@click.option("--seed", default=1, type=click.IntRange(0), show_default=True)
@click.option("--level", "levels", multiple=True, type=click.IntRange(1, 5),
              help="May be repeated; else all.")  # fmt: skip
def main(out: Path, count: int, seed: int, levels: tuple[int, ...]) -> None:
    """Draw, write, and say how many there are."""
    problems = make_tasks(count, seed, tuple(dict.fromkeys(levels)) or (1, 2, 3, 4, 5))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_problems(out, problems)
    except (SrpoError, OSError) as error:
        raise click.ClickException(str(error)) from error
    short = f", {count - len(problems)} fewer than asked for" if len(problems) < count else ""
    click.echo(f"{out}: {len(problems)} problems{short}")


if __name__ == "__main__":
    main()
