"""The local sandbox: warm fork servers, one confined process for every program.

Messages: the parent sends one job as a JSON object with `program`, `calls` (pairs of a name and
the arguments as JSON text), `stdin` (texts), `timeout_s`, `memory_mib`, `output_bytes`; the
server answers with a list of outcomes: first those of the calls, then those of the scripts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from srpo.errors import InfraError
from srpo.sandbox import CaseOutput, CaseStatus, FunctionCall, Job, JobResult, Stdin
from srpo.sandbox.wire import decode_value
from srpo.sandbox.workers import WorkerPool, clean_env

# -s -P -E would be -I, but the seed of hash() comes from the (clean) environment.
_COMMAND = (sys.executable, "-s", "-P", "-S", "-B", str(Path(__file__).with_name("boot.py")))
_SLACK_S = 10.0  # beyond the sum of the server's own deadlines
_STATUSES: frozenset[str] = frozenset(get_args(CaseStatus))


class ForkServerSandbox:
    """Runs programs in `workers` fork servers side by side; 0 means one for each core.

    Nothing is started before the first job or `describe()`.
    """

    def __init__(self, workers: int = 0) -> None:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        env = {**clean_env(), "PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1"}
        self._pool = WorkerPool(workers or cores, _COMMAND, env)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Run all jobs; see `Sandbox.run`."""
        waiting = list(jobs)
        if len({job.id for job in waiting}) != len(waiting):
            raise ValueError("two jobs have the same id")
        yield from self._pool.map(self._run_one, waiting)

    def _run_one(self, job: Job) -> JobResult:
        limit_s = job.limits.timeout_s * (len(job.inputs) + 2) + _SLACK_S
        try:
            answer = self._pool.ask(_message(job), limit_s)
            return JobResult(job.id, _outputs(job, answer))
        except InfraError as error:
            return JobResult(job.id, (), infra_error=str(error))

    def describe(self) -> str:
        """One sentence on the isolation in force. Starts a server; SandboxError if it cannot."""
        hello = self._pool.first().hello
        missing = hello.get("missing") if isinstance(hello, dict) else None
        if missing:
            return "Programs run in limited processes, but not fully isolated: " + "; ".join(
                missing
            )
        return (
            "Programs run in processes of their own with limits on time, memory and output, "
            "without network, without other processes, and with only the standard library and "
            "an empty folder to read and write."
        )

    def close(self) -> None:
        """End all servers."""
        self._pool.close()


def _message(job: Job) -> dict[str, object]:
    calls = [item for item in job.inputs if isinstance(item, FunctionCall)]
    return {
        "program": job.program,
        "calls": [(call.function, json.dumps(call.args)) for call in calls],
        "stdin": [item.text for item in job.inputs if isinstance(item, Stdin)],
        "timeout_s": job.limits.timeout_s,
        "memory_mib": job.limits.memory_mib,
        "output_bytes": job.limits.output_kib << 10,
    }


def _outputs(job: Job, answer: object) -> tuple[CaseOutput, ...]:
    """The server's answer in the order of the inputs. Raises InfraError if it does not fit."""
    if not isinstance(answer, list) or len(answer) != len(job.inputs):
        raise InfraError("the sandbox answered something else than was asked")
    num_calls = sum(isinstance(item, FunctionCall) for item in job.inputs)
    calls: Iterator[CaseOutput] = map(_call_output, answer[:num_calls])
    scripts: Iterator[CaseOutput] = map(_output, answer[num_calls:])
    return tuple(
        next(calls) if isinstance(item, FunctionCall) else next(scripts) for item in job.inputs
    )


def _output(outcome: dict[str, str]) -> CaseOutput:
    status = outcome["status"]
    if status not in _STATUSES:
        raise InfraError(f"unknown status {status!r}")
    return CaseOutput(
        status=status,  # type: ignore[arg-type]  # checked against the type's own values
        stdout=outcome["stdout"],
        error=outcome["error"],
    )


def _call_output(outcome: dict[str, str]) -> CaseOutput:
    output = _output(outcome)
    if output.status != "ok":
        return output
    try:
        return CaseOutput("ok", value=decode_value(outcome["value"]))
    except ValueError as error:  # forged: the encoder never writes such text
        return CaseOutput("not_plain", error=str(error)[:300])
