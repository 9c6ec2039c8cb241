"""Problems of the embedded world: deterministic by seed, graded in levels, split for good.

Math: follow a chain of operations on one-digit counters that wrap around (arithmetic modulo
ten). Code: write f(x) on lists, where constants are given by such chains. Levels 1 to 8 of both
domains grow from one look to eight steps of work; from level 7 on two chains must both be right.

A problem belongs to a split by a hash of its meaning (chains and operations, whatever the
wording), so train, validation and test can never share one, not even reworded.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from srpo.problems import content_id
from srpo.types import Domain, FunctionCase, Json, Problem

Split = Literal["train", "validation", "test"]
LEVELS = range(1, 9)

# Level -> number of operations in each chain. At level 1 nothing is to be worked out: math asks
# for a digit that is given (beside a chain that does not matter), code is told its constant.
MATH_CHAINS = {n: (n - 1,) for n in range(1, 7)} | {7: (3, 3), 8: (4, 4)}
CODE_CHAINS = {n: (n - 1,) for n in range(1, 7)} | {7: (2, 2), 8: (3, 3)}

NAMES = ("Mia", "Ben", "Ada", "Leo")
SUM_WORDS = {"+": "add", "-": "subtract", "*": "multiply by"}
DIAL_WORDS = {"+": "up", "-": "down", "*": "times"}

# What the list operations of code problems are called, and how they are written.
WITH_CONSTANT = {
    "add {k} to every item": "[v + {k} for v in x]",
    "subtract {k} from every item": "[v - {k} for v in x]",
    "multiply every item by {k}": "[v * {k} for v in x]",
    "keep the items above {k}": "[v for v in x if v > {k}]",
    "keep the items below {k}": "[v for v in x if v < {k}]",
}
WITHOUT_CONSTANT = {
    "keep the even items": "[v for v in x if v % 2 == 0]",
    "keep the odd items": "[v for v in x if v % 2 == 1]",
    "square every item": "[v * v for v in x]",
    "negate every item": "[-v for v in x]",
    "take absolute values": "[abs(v) for v in x]",
    "sort the items": "sorted(x)",
    "reverse the order": "x[::-1]",
    "drop the first item": "x[1:]",
    "drop the last item": "x[:-1]",
    "keep each value once and sort": "sorted(set(x))",
}
RETURNS = {
    "the sum": "sum(x)",
    "the number of items": "len(x)",
    "the largest": "max(x, default=0)",
    "the smallest": "min(x, default=0)",
    "the list": "x",
}
HARDLY_MATTERS = {
    ("keep the items above {k}", "the largest"),
    ("keep the items below {k}", "the smallest"),
}
NUM_TESTS = 8
TRIES_A_TASK = 2000  # more than enough wherever the split has half as many again


@dataclass(frozen=True, slots=True)
class Chain:
    """A start digit and operations, worked from left to right modulo ten.

    >>> Chain(5, (("+", 6), ("*", 7))).value
    7
    """

    start: int
    operations: tuple[tuple[str, int], ...]

    @property
    def steps(self) -> list[tuple[int, str, int, int]]:
        """Each step as (digit before, operation, operand, digit after)."""
        steps, digit = [], self.start
        for sign, operand in self.operations:
            after = apply(digit, sign, operand)
            steps.append((digit, sign, operand, after))
            digit = after
        return steps

    @property
    def value(self) -> int:
        """The digit that the chain ends on."""
        return self.steps[-1][3] if self.operations else self.start

    @property
    def signs(self) -> str:
        """Written with signs: `5 + 6 * 7`."""
        return str(self.start) + "".join(f" {sign} {n}" for sign, n in self.operations)

    def words(self, names: dict[str, str]) -> str:
        """The operations in words: `add 6, multiply by 7`."""
        return ", ".join(f"{names[sign]} {n}" for sign, n in self.operations)


@dataclass(frozen=True, slots=True)
class Task:
    """What a problem means, before it is worded: enough to solve it and to demonstrate it."""

    domain: Domain
    level: int
    chains: tuple[Chain, ...]
    operations: tuple[str, ...] = ()  # code: keys of WITH_CONSTANT and WITHOUT_CONSTANT, in order
    returns: str = ""  # code: a key of RETURNS
    bystander: Chain | None = None  # math, level 1: a second chain that does not matter

    @property
    def values(self) -> tuple[int, ...]:
        """The digit that each chain ends on."""
        return tuple(chain.value for chain in self.chains)

    @property
    def split(self) -> Split:
        """The one split this task can ever appear in."""
        meaning = repr((self.domain, self.chains, self.operations, self.returns, self.bystander))
        bucket = int(hashlib.sha256(meaning.encode()).hexdigest(), 16) % 20
        return "test" if bucket < 4 else "validation" if bucket < 7 else "train"


def apply(digit: int, sign: str, operand: int) -> int:
    """One operation on a counter that shows `digit` (0 to 9) and wraps around."""
    results = {"+": digit + operand, "-": digit - operand, "*": digit * operand}
    return results[sign] % 10


def draw_task(rng: random.Random, domain: Domain, level: int) -> Task:
    """One random task of a domain and level."""
    if domain == "math":
        chains = tuple(_draw_chain(rng, n) for n in MATH_CHAINS[level])
        return Task("math", level, chains, bystander=_draw_chain(rng, 2) if level == 1 else None)
    chains = tuple(_draw_chain(rng, n) for n in CODE_CHAINS[level])
    with_constant, returns = _draw_where_constants_matter(rng, len(chains))
    operations = list(with_constant)
    operations.insert(rng.randint(0, len(operations)), rng.choice(list(WITHOUT_CONSTANT)))
    return Task("code", level, chains, tuple(operations), returns)


def word(task: Task, rng: random.Random) -> str:
    """The task as a statement, in one of several wordings."""
    return _word_math(task, rng) if task.domain == "math" else _word_code(task, rng)


def solution_lines(operations: Sequence[str], returns: str, constants: Sequence[int]) -> list[str]:
    """The lines of f(x) that solve a code task whose constants are `constants`, in order."""
    left = iter(constants)
    lines = ["def f(x):"]
    for operation in operations:
        expression = WITHOUT_CONSTANT.get(operation)
        if expression is None:
            expression = WITH_CONSTANT[operation].format(k=next(left))
        lines.append(f"    x = {expression}")
    return [*lines, f"    return {RETURNS[returns]}"]


def problem_of(task: Task, rng: random.Random) -> Problem:
    """The task as a problem, with its gold answer or its tests."""
    statement = word(task, rng)
    answer: str | None = None
    tests: tuple[FunctionCase, ...] = ()
    if task.domain == "math":
        answer = "".join(str(value) for value in task.values)
    else:
        tests = _tests(task, rng)
    return Problem(
        id=content_id(task.domain, statement, answer, tests),
        domain=task.domain,
        statement=statement,
        answer=answer,
        tests=tests,
        source="embedded",
        level=task.level,
    )


def generate(
    domain: Domain, split: Split, count: int, seed: int, level_weights: Sequence[float] = ()
) -> list[Problem]:
    """`count` problems of one split, no two with the same meaning; same arguments, same list.

    Levels appear in proportion to `level_weights` (equal if empty; one weight a level).
    Raises `ValueError` if a level has fewer distinct problems than asked for.
    """
    rng = random.Random(f"{domain}/{split}/{seed}")
    problems: list[Problem] = []
    for level, wanted in zip(LEVELS, _shares(count, level_weights), strict=True):
        problems += [
            problem_of(task, rng) for task in draw_tasks(rng, domain, level, split, wanted)
        ]
    rng.shuffle(problems)
    return problems


def draw_tasks(
    rng: random.Random, domain: Domain, level: int, split: Split, count: int
) -> list[Task]:
    """`count` different tasks of one level and split. Raises `ValueError` if there are too few."""
    tasks: dict[Task, None] = {}  # a set that keeps its order
    for _ in range(count * TRIES_A_TASK):
        if len(tasks) == count:
            break
        task = draw_task(rng, domain, level)
        if task.split == split:
            tasks[task] = None
    if len(tasks) < count:
        raise ValueError(f"the {split} split has too few {domain} problems of level {level}")
    return list(tasks)


def _shares(count: int, weights: Sequence[float]) -> list[int]:
    """`count` cut in proportion to `weights`, the largest remainders rounded up."""
    weights = list(weights) or [1.0] * len(LEVELS)
    if len(weights) != len(LEVELS):
        raise ValueError(f"level_weights needs {len(LEVELS)} numbers, one a level")
    exact = [count * weight / sum(weights) for weight in weights]
    shares = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for i in by_remainder[: count - sum(shares)]:
        shares[i] += 1
    return shares


def _draw_chain(rng: random.Random, num_operations: int) -> Chain:
    """Multiplying by 2, 3, 7 or 9 keeps most digits apart, so that every step matters."""
    operations = []
    for _ in range(num_operations):
        sign = rng.choice("++--*")
        operand = rng.choice((2, 3, 7, 9)) if sign == "*" else rng.randint(1, 9)
        operations.append((sign, operand))
    return Chain(rng.randint(0, 9), tuple(operations))


def _draw_where_constants_matter(rng: random.Random, count: int) -> tuple[list[str], str]:
    """Operations with constants and a return value that a wrong constant would change.

    Counting sees only what was kept; the largest of the items above k hardly depends on k.
    """
    while True:
        operations = rng.sample(list(WITH_CONSTANT), count)
        returns = rng.choice(list(RETURNS))
        counted_blindly = returns == "the number of items" and not operations[-1].startswith("keep")
        if not counted_blindly and all(
            (name, returns) not in HARDLY_MATTERS for name in operations
        ):
            return operations, returns


def _word_math(task: Task, rng: random.Random) -> str:
    wording = rng.randrange(3)
    if task.bystander is not None:
        return _word_lookup(task.chains[0].start, task.bystander, wording, rng.choice(NAMES))
    if len(task.chains) == 1:
        chain = task.chains[0]
        if wording == 0:
            return f"Compute modulo ten, from left to right: {chain.signs}."
        if wording == 1:
            words = chain.words(SUM_WORDS)
            return (
                f"A counter with one digit wraps around. From {chain.start}, {words}. What is left?"
            )
        turns = chain.words(DIAL_WORDS)
        name = rng.choice(NAMES)
        return f"{name} turns a dial with ten digits from {chain.start}, {turns}. Where is it?"
    first, second = task.chains
    if wording == 0:
        both = f"{first.signs} and {second.signs}"
        return f"Compute both modulo ten, from left to right: {both}. Write two digits."
    if wording == 1:
        both = " ".join(f"From {c.start}, {c.words(SUM_WORDS)}." for c in task.chains)
        return f"Two counters with one digit wrap around. {both} Write two digits."
    turns = " and one from ".join(f"{c.start}, {c.words(DIAL_WORDS)}" for c in task.chains)
    return f"{rng.choice(NAMES)} turns a dial with ten digits from {turns}. Write two digits."


def _word_lookup(digit: int, other: Chain, wording: int, name: str) -> str:
    if wording == 0:
        second = f"Second, modulo ten from left to right: {other.signs}."
        return f"First: {digit}. {second} Write the first."
    if wording == 1:
        words = f"The second starts from {other.start}, {other.words(SUM_WORDS)}."
        return (
            f"Two counters with one digit. The first stays at {digit}. {words} What has the first?"
        )
    turns = f"{other.start}, {other.words(DIAL_WORDS)}"
    return f"{name} leaves a dial at {digit} and turns another from {turns}. Where is the first?"


def _word_code(task: Task, rng: random.Random) -> str:
    names = iter("km")
    phrases = [
        text.format(k=next(names)) if text in WITH_CONSTANT else text for text in task.operations
    ]
    todo = f"{', '.join(phrases)}, return {task.returns}."
    if rng.randrange(2):
        given = " and ".join(
            f"{name} is {chain.signs}" for name, chain in zip("km", task.chains, strict=False)
        )
        return f"Write f(x) for a list x: {todo} Modulo ten, from left to right, {given}."
    given = " and ".join(
        f"{name} is {chain.start}" + (f", {chain.words(SUM_WORDS)}" if chain.operations else "")
        for name, chain in zip("km", task.chains, strict=False)
    )
    return f"Define f(x) on a list x of integers: {todo} On a counter with one digit, {given}."


def _tests(task: Task, rng: random.Random) -> tuple[FunctionCase, ...]:
    solve = _compile(solution_lines(task.operations, task.returns, task.values))
    inputs: list[list[Json]] = [
        [rng.randint(-9, 15) for _ in range(rng.randint(5, 10))] for _ in range(NUM_TESTS - 2)
    ]
    inputs += [[5, 5, -3, 2, 8, 8, 1, -7, 4], list(range(-9, 14))]
    return tuple(FunctionCase("f", (list(x),), solve(list(x))) for x in inputs)


def _compile(lines: Sequence[str]) -> Callable[[list[Json]], Json]:
    """Our own reference solution as a function; nothing a model wrote ever comes here."""
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)
    return scope["f"]  # type: ignore[no-any-return]
