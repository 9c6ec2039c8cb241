"""What a program is run with, in which order, and what its outputs come to."""

from __future__ import annotations

import pytest

from srpo.rewards.code.jobs import USUAL_IMPORTS, CodeJob, job_for
from srpo.sandbox import Asserts, CaseOutput, FunctionCall, JobResult, Limits, Stdin
from srpo.types import AssertCase, CodeCase, FunctionCase, StdioCase, Verdict

ADD = tuple(FunctionCase("add", (i, 1), i + 1) for i in range(3))
PROMPT = '''import math
from typing import List

def helper(x):
    return x + 1

def solve(x: int) -> int:
    """ Add one.
    >>> solve(1)
    2
    """
'''
CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


def asserting(program: str, setup: str = PROMPT, entry_point: str = "solve") -> CodeJob:
    return job_for("1", [AssertCase(CHECK, setup, entry_point)], program, Limits())


def result(*outputs: CaseOutput, infra_error: str = "") -> JobResult:
    return JobResult("1", outputs, infra_error)


def value(given: object) -> CaseOutput:
    return CaseOutput("ok", value=given)


NOT_RUN = CaseOutput("not_run")


def test_inputs_hold_no_expected_value() -> None:
    cases: list[CodeCase] = [StdioCase("1", "secret"), FunctionCase("f", (1,), "secret")]
    job = job_for("1", cases, "p", Limits()).job
    assert job.inputs == (Stdin("1"), FunctionCall("f", (1,)))
    assert "secret" not in repr(job)


def test_the_most_frequent_failure_goes_first_and_the_rest_keep_their_order() -> None:
    made = job_for("1", ADD, "p", Limits(), failures=(0, 5, 0))
    assert made.order == (1, 0, 2)
    assert made.job.inputs == tuple(FunctionCall("add", (i, 1)) for i in (1, 0, 2))
    # the third case to be run is case 3; the first that fails is named by its own number
    finding = made.finding(result(value(2), value(1), value(99)))
    assert (finding.failed_case, finding.note) == (2, "case 3: another result")


def test_a_job_ends_at_the_first_failure_unless_all_are_wanted() -> None:
    made = job_for("1", ADD, "p", Limits())
    going_on = made.job.keep_going
    assert going_on is not None
    assert going_on(0, value(1)) and not going_on(1, value(7))
    assert not going_on(1, CaseOutput("timed_out"))
    assert job_for("1", ADD, "p", Limits(), run_all=True).job.keep_going is None


@pytest.mark.parametrize(
    ("outputs", "verdict", "passed_frac", "note"),
    [
        ((value(1), value(2), value(3)), Verdict.CORRECT, 1.0, ""),
        (
            (value(1), value(7), NOT_RUN), Verdict.WRONG, 1 / 3,
            "case 2: another result; 2 of 3 cases run",
        ),
        ((value(9), value(2), value(3)), Verdict.WRONG, 2 / 3, "case 1: another result"),
        (
            (value(1), CaseOutput("timed_out"), NOT_RUN), Verdict.TIMED_OUT, 1 / 3,
            "case 2: timed out; 2 of 3 cases run",
        ),
        (
            (value(1), NOT_RUN, NOT_RUN), Verdict.TIMED_OUT, 1 / 3,
            "out of time for all cases (1 of 3 run)",
        ),
        (
            (CaseOutput("crashed", error="ValueError: x"), value(2), value(3)), Verdict.WRONG,
            2 / 3, "case 1: crashed (ValueError: x)",
        ),
    ],
)  # fmt: skip
def test_findings(
    outputs: tuple[CaseOutput, ...], verdict: Verdict, passed_frac: float, note: str
) -> None:
    finding = job_for("1", ADD, "p", Limits()).finding(result(*outputs))
    assert (finding.verdict, finding.note) == (verdict, note)
    assert finding.passed_frac == pytest.approx(passed_frac)


def test_an_outage_is_never_a_wrong_answer() -> None:
    made = job_for("1", ADD, "p", Limits())
    for broken in (result(infra_error="gone"), result(value(1))):
        finding = made.finding(broken)
        assert finding.verdict is Verdict.INFRA_ERROR and finding.passed_frac is None
        assert finding.note


def test_the_sandbox_judges_assert_tests() -> None:
    made = asserting("def solve(x): return x + 1")
    assert made.job.inputs == (Asserts(CHECK, PROMPT, "solve"),)
    assert made.finding(result(CaseOutput("ok"))).verdict is Verdict.CORRECT
    assert made.finding(result(CaseOutput("failed"))).verdict is Verdict.WRONG


# -- what goes to the program besides itself ---------------------------------------------------


def test_a_whole_program_gets_the_imports_and_helpers_of_a_prompt() -> None:
    job = asserting("def solve(x): return helper(x)").job
    assert job.program == "def solve(x): return helper(x)"
    assert job.prelude == (
        "import math\nfrom typing import List\ndef helper(x):\n    return x + 1\n"
    )


@pytest.mark.parametrize(
    ("body", "in_place"),
    [
        ("    return x + 1\n", "    return x + 1"),
        ("\n    y = 1\n    return x + y", "    y = 1\n    return x + y"),
        ("return x + 1", "    return x + 1"),  # its first line lost its indentation
        ("y = 1\n    return x + y", "    y = 1\n    return x + y"),
        ("y = 1\nreturn x + y", "    y = 1\n    return x + y"),  # all lines did
    ],
)
def test_a_bare_body_is_put_under_its_head(body: str, in_place: str) -> None:
    job = asserting(body).job
    assert (job.prelude, job.program) == ("", f"{PROMPT.rstrip()}\n{in_place}")


@pytest.mark.parametrize(
    "program",
    [
        "def solve(x): return x",
        "async def solve(x): return x",
        "class solve: pass",
        "solve = lambda x: x",
        "solve: object = None",
        "from math import floor as solve",
    ],
)
def test_a_program_that_defines_the_function_stands_for_itself(program: str) -> None:
    assert asserting(program).job.program == program


def test_nothing_but_imports_of_a_setup_reaches_the_program() -> None:
    setup = "import math\nEXPECTED = 4711\ndef oracle(x):\n    return EXPECTED\n"
    for program in ("def solve(x): return 1", "    return 1"):
        job = asserting(program, setup=setup).job
        assert (job.prelude, job.program) == ("import math\n", program)
    full = "def solve(x):\n    return 4711\n"  # a reference solution, not a head
    assert "4711" not in repr(asserting("    return 1", setup=full).job.program)


def test_a_head_may_hold_imports() -> None:
    setup = 'def solve(x):\n    import math\n    """ Add one. """\n'
    assert asserting("    return x + 1", setup=setup).job.program == f"{setup}    return x + 1"


def test_a_head_without_a_body_is_a_head() -> None:
    job = asserting("    return x + 1", setup="def solve(x):\n").job
    assert job.program == "def solve(x):\n    return x + 1"
    assert job.inputs == (Asserts(CHECK, "def solve(x):\n    pass\n", "solve"),)


def test_a_setup_that_is_no_python_gives_nothing() -> None:
    assert asserting("def solve(x): return 1", setup="?!").job.prelude == ""


def test_a_solution_class_gets_the_usual_imports_and_a_function_does_not() -> None:
    solution = "class Solution:\n    def add(self, a, b):\n        return a + b\n"
    assert job_for("1", ADD, solution, Limits()).job.prelude == USUAL_IMPORTS
    assert job_for("1", ADD, "def add(a, b): return a", Limits()).job.prelude == ""
    assert job_for("1", [StdioCase("", "")], solution, Limits()).job.prelude == ""


def test_the_usual_imports_leave_built_in_names_alone() -> None:
    names: dict[str, object] = {}
    exec(USUAL_IMPORTS, names)
    for name in ("pow", "sum", "open", "abs", "map"):
        assert names[name] is __builtins__[name]  # type: ignore[index]  # a dict in a module
    assert {"List", "deque", "heappush", "bisect_left", "inf", "Counter", "reduce"} <= names.keys()


def test_half_a_character_in_a_program_is_no_failure_of_ours() -> None:
    assert job_for("1", ADD, "x = '\ud800'", Limits()).job.program == "x = '?'"
