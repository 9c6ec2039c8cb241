"""Verdicts on programs. docs/rewards.md says what counts as right, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srpo.sandbox import CaseOutput, FunctionCall, Job, JobResult, Limits, Sandbox, Stdin
from srpo.types import CodeCase, FunctionCase, Problem, Verdict

_LANGUAGES = ("", "python", "py", "python3")
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 1e-9, 1e-9
_FENCE = "```"


@dataclass(frozen=True, slots=True)
class CodeFinding:
    """What running a program on a problem's cases showed.

    >>> CodeFinding(Verdict.CORRECT, passed_frac=1.0).note
    ''
    """

    verdict: Verdict
    passed_frac: float | None = None  # None if not every case was run
    note: str = ""


def extract_program(answer: str) -> str | None:
    r"""The last closed block between lines of three backquotes, marked python or not at all.

    None if there is none, or if it is blank: code outside a block is not an answer.

    >>> extract_program("Here:\n```python\nx = 1\n```\n")
    'x = 1\n'
    """
    program: str | None = None
    block: list[str] | None = None
    counts = False
    for line in answer.splitlines(keepends=True):
        mark = line.strip()
        if block is None and mark.startswith(_FENCE):
            block, counts = [], mark[len(_FENCE) :].strip().lower() in _LANGUAGES
        elif block is not None and mark == _FENCE:
            program = "".join(block) if counts else program
            block = None
        elif block is not None:
            block.append(line)
    return program if program is not None and program.strip() else None


def same_value(expected: object, value: object) -> bool:
    """Whether a returned plain value is the expected one.

    True and 1 differ; 1 and 1.0 are the same; floats may differ by 1e-9, relative or absolute;
    a list and a tuple with the same items are the same; a set is only the same as a set; integer
    keys of dictionaries are the same as their decimal text, as JSON has no others.
    """
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    if isinstance(expected, (int, float)) and isinstance(value, (int, float)):
        return _same_real(expected, value)
    if isinstance(expected, (list, tuple)) and isinstance(value, (list, tuple)):
        return len(expected) == len(value) and all(map(same_value, expected, value))
    if isinstance(expected, dict) and isinstance(value, dict):
        return _same_dict(expected, value)
    return type(expected) is type(value) and expected == value


def _same_real(expected: int | float, value: int | float) -> bool:
    if expected == value or (expected != expected and value != value):  # the second: both nan
        return True
    if isinstance(expected, int) and isinstance(value, int):
        return False
    try:
        gap, size = abs(expected - value), max(abs(expected), abs(value))
    except OverflowError:  # an integer beyond the floats
        return False
    return gap <= max(_RELATIVE_TOLERANCE * size, _ABSOLUTE_TOLERANCE) and size != float("inf")


def _same_dict(expected: dict[object, object], value: dict[object, object]) -> bool:
    one = {_as_key(key): item for key, item in expected.items()}
    other = {_as_key(key): item for key, item in value.items()}
    if len(one) != len(expected) or len(other) != len(value):
        return False
    return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)


def _as_key(key: object) -> object:
    return str(key) if isinstance(key, int) and not isinstance(key, bool) else key


def same_stdout(expected: str, stdout: str) -> bool:
    """Whether two outputs have the same tokens on each line, blank lines at the end aside."""
    return _lines(expected) == _lines(stdout)


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.rstrip().split("\n")]


def check_programs(
    items: Sequence[tuple[Problem, str]], sandbox: Sandbox, limits: Limits
) -> list[CodeFinding]:
    """A finding for each problem and program, in order. Equal pairs are run once.

    A problem without tests is UNGRADABLE.
    """
    todo: dict[tuple[str, str], Problem] = {
        (problem.id, program): problem for problem, program in items if problem.tests
    }
    jobs = [
        Job(str(i_job), program, tuple(map(_input, problem.tests)), limits)
        for i_job, ((_, program), problem) in enumerate(todo.items())
    ]
    results = {result.id: result for result in sandbox.run(jobs)}
    findings = {
        key: _judge(problem.tests, results[str(i_job)])
        for i_job, (key, problem) in enumerate(todo.items())
    }
    ungradable = CodeFinding(Verdict.UNGRADABLE, note="the problem has no tests")
    return [findings.get((problem.id, program), ungradable) for problem, program in items]


def _input(case: CodeCase) -> FunctionCall | Stdin:
    if isinstance(case, FunctionCase):
        return FunctionCall(case.function, case.args)
    return Stdin(case.stdin)


def _judge(cases: Sequence[CodeCase], result: JobResult) -> CodeFinding:
    if result.infra_error or len(result.outputs) != len(cases):
        note = result.infra_error or "the sandbox ran another number of cases"
        return CodeFinding(Verdict.INFRA_ERROR, note=note)
    passed = [_passes(case, out) for case, out in zip(cases, result.outputs, strict=True)]
    all_run = all(out.status != "not_run" for out in result.outputs)
    passed_frac = sum(passed) / len(passed) if all_run else None
    if all(passed):
        return CodeFinding(Verdict.CORRECT, passed_frac)
    i_case = passed.index(False)
    first = result.outputs[i_case]
    verdict = Verdict.TIMED_OUT if first.status == "timed_out" else Verdict.WRONG
    return CodeFinding(verdict, passed_frac, _note(i_case, first))


def _passes(case: CodeCase, output: CaseOutput) -> bool:
    if output.status != "ok":
        return False
    if isinstance(case, FunctionCase):
        return same_value(case.expected, output.value)
    return same_stdout(case.stdout, output.stdout)


def _note(i_case: int, output: CaseOutput) -> str:
    what = "another result" if output.status == "ok" else output.status.replace("_", " ")
    return f"case {i_case + 1}: {what}" + (f" ({output.error})" if output.error else "")
