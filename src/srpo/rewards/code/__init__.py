"""Verdicts on programs. docs/rewards.md says what counts as right, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from srpo.rewards.code.jobs import CodeFinding, CodeJob, job_for
from srpo.rewards.code.output import same_stdout
from srpo.rewards.code.text import extract_program
from srpo.rewards.code.values import same_value
from srpo.sandbox import Limits, Sandbox
from srpo.types import Problem, Verdict

__all__ = ["CodeFinding", "check_programs", "extract_program", "same_stdout", "same_value"]


def check_programs(
    items: Sequence[tuple[Problem, str]],
    sandbox: Sandbox,
    limits: Limits,
    *,
    run_all: bool = False,
    failures: Mapping[str, Mapping[int, int]] | None = None,
) -> list[CodeFinding]:
    """A finding for each problem and program, in order. Equal pairs are run once.

    `failures`: how often each case (from 0) of a problem (by id) has failed so far; the most
    frequent are run first. `run_all`: go on after a failure. A problem without tests is
    UNGRADABLE.
    """
    keys = {(problem.id, program): problem for problem, program in items if problem.tests}
    jobs: dict[str, CodeJob] = {}
    for i_job, ((_, program), problem) in enumerate(keys.items()):
        counts = (failures or {}).get(problem.id, {})
        known = [counts.get(i_case, 0) for i_case in range(len(problem.tests))] if counts else ()
        jobs[str(i_job)] = job_for(
            str(i_job), problem.tests, program, limits, run_all=run_all, failures=known
        )
    found: dict[str, CodeFinding] = {}
    for result in sandbox.run(made.job for made in jobs.values()):
        found[result.id] = jobs[result.id].finding(result)
    findings = {key: found[id] for key, id in zip(keys, jobs, strict=True)}
    ungradable = CodeFinding(Verdict.UNGRADABLE, note="the problem has no tests")
    return [findings.get((problem.id, program), ungradable) for problem, program in items]
