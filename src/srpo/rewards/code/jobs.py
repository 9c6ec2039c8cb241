"""One program on its way through the sandbox: what is sent, and what came of it.

Expected values stay here: a job holds inputs only, and `CodeJob` compares in this process.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from srpo.rewards.code.output import same_stdout
from srpo.rewards.code.values import same_value
from srpo.sandbox import (
    Asserts,
    CaseInput,
    CaseOutput,
    FunctionCall,
    Job,
    JobResult,
    Limits,
    Stdin,
)
from srpo.types import AssertCase, CodeCase, FunctionCase, Verdict

# What LeetCode's own environment, and so LiveCodeBench's harness, has imported for a solution.
# The last line undoes what the stars do to built-in names such as pow.
USUAL_IMPORTS = """\
import bisect, collections, copy, functools, heapq, itertools, math, operator, random, re
import string, sys, typing
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from math import *
from operator import *
from typing import *
from builtins import *
"""
_SOLUTION = re.compile(r"^class[ \t]+Solution\b", re.MULTILINE)
_MAX_NOTE_CHARS = 300


@dataclass(frozen=True, slots=True)
class CodeFinding:
    """What a check showed; the fields after the note are of programs on a problem's cases.

    >>> CodeFinding(Verdict.CORRECT, passed_frac=1.0).note
    ''
    """

    verdict: Verdict
    passed_frac: float | None = None  # cases known to pass / all cases; None if not gradable
    note: str = ""
    failed_case: int | None = None  # the first case that failed, from 0


@dataclass(slots=True)
class CodeJob:
    """A job for the sandbox, and the cases to compare its outputs with.

    `order` holds the places of the cases in the order in which they are run.
    """

    cases: tuple[CodeCase, ...]
    order: tuple[int, ...]
    run_all: bool
    job: Job = field(init=False)
    _seen: dict[int, tuple[CaseOutput, bool]] = field(default_factory=dict)  # by place in the job

    def finding(self, result: JobResult) -> CodeFinding:
        """The verdict that a result of this job comes to."""
        outputs = result.outputs
        if result.infra_error or len(outputs) != len(self.cases):
            note = result.infra_error or "the sandbox ran a different number of cases"
            return CodeFinding(Verdict.INFRA_ERROR, note=_one_line(note))
        places = zip(range(len(outputs)), self.order, outputs, strict=True)
        run = {i: (out, self._passes(at, out)) for at, i, out in places if out.status != "not_run"}
        passed_frac = sum(passes for _, passes in run.values()) / len(self.cases)
        failed = min((i for i, (_, passes) in run.items() if not passes), default=None)
        if failed is not None:
            return self._failed(failed, run[failed][0], len(run), passed_frac)
        if len(run) < len(self.cases):  # nothing but the time of the whole program ends it here
            note = f"out of time for all cases ({len(run)} of {len(self.cases)} run)"
            return CodeFinding(Verdict.TIMED_OUT, passed_frac, note, self.order[len(run)])
        return CodeFinding(Verdict.CORRECT, passed_frac)

    def _failed(
        self, i_case: int, output: CaseOutput, num_run: int, passed_frac: float
    ) -> CodeFinding:
        verdict = Verdict.TIMED_OUT if output.status == "timed_out" else Verdict.WRONG
        what = "another result" if output.status == "ok" else output.status.replace("_", " ")
        error = _one_line(output.error)
        note = f"case {i_case + 1}: {what}" + (f" ({error})" if error else "")
        num_cases = len(self.cases)
        if num_run < num_cases:
            note += f"; {num_run} of {num_cases} cases run"
        return CodeFinding(verdict, passed_frac, note, i_case)

    def goes_on(self) -> Callable[[int, CaseOutput], bool]:
        """What the sandbox asks after each output: a plain function that shows no case."""
        return lambda at, output: self._passes(at, output)

    def _passes(self, at: int, output: CaseOutput) -> bool:
        """Whether the output at a place of the job passes; compared once."""
        seen = self._seen.get(at)
        if seen is None or seen[0] is not output:
            seen = (output, _passes(self.cases[self.order[at]], output))
            self._seen[at] = seen
        return seen[1]


def job_for(
    id: str,
    cases: Sequence[CodeCase],
    program: str,
    limits: Limits,
    *,
    run_all: bool = False,
    failures: Sequence[int] = (),
) -> CodeJob:
    """The job that runs a program on all cases; unless `run_all`, it ends at the first failure.

    `failures` says how often each case has failed so far (none: never): the most frequent go
    first.

    >>> job_for("1", [FunctionCase("f", (), 1)] * 3, "", Limits(), failures=(0, 2, 1)).order
    (1, 2, 0)
    """
    order = tuple(range(len(cases)))
    if failures:
        order = tuple(sorted(order, key=lambda i_case: -failures[i_case]))
    made = CodeJob(tuple(cases), order, run_all)
    # half characters, which no encoding can carry, become question marks
    prelude, program = _program_for(cases, program.encode("utf-8", "replace").decode())
    made.job = Job(
        id,
        program,
        tuple(_input(cases[i_case]) for i_case in order),
        limits,
        keep_going=None if run_all else made.goes_on(),
        prelude=prelude,
    )
    return made


def _one_line(text: str) -> str:
    """What a program may have written, short and without what could move a cursor."""
    shown = "".join(char if char.isprintable() else " " for char in text[:_MAX_NOTE_CHARS])
    return " ".join(shown.split())


def _input(case: CodeCase) -> CaseInput:
    if isinstance(case, FunctionCase):
        return FunctionCall(case.function, case.args)
    if isinstance(case, AssertCase):
        return Asserts(case.tests, whole_setup(case.setup), case.entry_point)
    return Stdin(case.stdin)


def _passes(case: CodeCase, output: CaseOutput) -> bool:
    if output.status != "ok":
        return False
    if isinstance(case, FunctionCase):
        return same_value(case.expected, output.value)
    if isinstance(case, AssertCase):
        return True  # the trusted tests have judged, in a process of their own
    return same_stdout(case.stdout, output.stdout, case.checker)


# -- what goes to the program besides itself -------------------------------------------------


def _program_for(cases: Sequence[CodeCase], program: str) -> tuple[str, str]:
    """The prelude of a program, and the program as it is run."""
    first = cases[0] if cases else None
    if isinstance(first, FunctionCase):
        return (USUAL_IMPORTS if _SOLUTION.search(program) else ""), program
    if not isinstance(first, AssertCase) or not first.setup.strip():
        return "", program
    setup = _parsed(first.setup)
    name = first.entry_point
    head = _head(setup, name)
    if head is not None and not _defines(program, name):
        return "", f"{first.setup.rstrip()}\n{_indented(program, first.setup)}"
    return _shared(setup, with_helpers=head is not None, but=name), program


def whole_setup(setup: str) -> str:
    """A setup that is Python: one that ends with a head without any body is given one.

    >>> whole_setup("def f(x):"), whole_setup("import math")
    ('def f(x):\\n    pass\\n', 'import math')
    """
    with_body = f"{setup.rstrip()}\n    pass\n"
    return with_body if python_problem(setup) and not python_problem(with_body) else setup


def python_problem(text: str) -> str:
    """Why a trusted text is no Python, in a few words; "" if it is.

    >>> python_problem("assert True"), bool(python_problem("?!"))
    ('', True)
    """
    found = _tree(text)
    return found if isinstance(found, str) else ""


@lru_cache(maxsize=1024)  # many programs come for one problem
def _tree(text: str) -> ast.Module | str:
    """The syntax tree of a trusted text, or why it has none."""
    try:
        with warnings.catch_warnings():  # of its escapes, as "\\d" in HumanEval
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error)[:100] or type(error).__name__


def _parsed(setup: str) -> ast.Module:
    found = _tree(whole_setup(setup))
    return ast.Module([], []) if isinstance(found, str) else found


def _head(setup: ast.Module, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function `name` if the setup ends with it and it has no body yet, as a prompt does."""
    last = setup.body[-1] if setup.body else None
    if not isinstance(last, (ast.FunctionDef, ast.AsyncFunctionDef)) or last.name != name:
        return None
    empty = all(
        isinstance(node, (ast.Pass, ast.Import, ast.ImportFrom))  # HumanEval/115 imports there
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in last.body
    )
    return last if empty else None


def _defines(program: str, name: str) -> bool:
    """Whether a line of the program, not indented, gives the name a meaning. Nothing is parsed."""
    name = re.escape(name)
    return bool(
        re.search(
            rf"^(?:async[ \t]+def|def|class)[ \t]+{name}\b|^{name}[ \t]*[:=]"
            rf"|^(?:from|import)\b[^\r\n]*\b{name}\b",
            program,
            re.MULTILINE,
        )
    )


def _indented(body: str, setup: str) -> str:
    """A bare body under its head; one that lost the indentation of its first line gets it back."""
    lines = body.strip("\r\n").splitlines(keepends=True)
    filled = [line for line in lines if line.strip()]
    if not filled or filled[0][0] in " \t":
        return "".join(lines)
    found = re.findall(r"^([ \t]+)\S", setup, re.MULTILINE)
    indent = found[-1] if found else "    "
    flat = sum(line[0] not in " \t" for line in filled) > 1
    return "".join(indent + line if flat or i == 0 else line for i, line in enumerate(lines))


def _shared(setup: ast.Module, *, with_helpers: bool, but: str) -> str:
    """What of a setup the program may see: its imports, and the functions that a prompt shows.

    Never more: a setup may hold expected values.
    """
    kinds: tuple[type[ast.stmt], ...] = (ast.Import, ast.ImportFrom)
    if with_helpers:
        kinds = (*kinds, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [n for n in setup.body if isinstance(n, kinds) and getattr(n, "name", None) != but]
    return "".join(f"{ast.unparse(node)}\n" for node in nodes)
