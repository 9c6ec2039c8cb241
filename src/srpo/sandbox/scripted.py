"""A sandbox that runs nothing: it looks programs up. For tests and for dry runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from srpo.sandbox import CaseOutput, Job, JobResult, check_ids


class ScriptedSandbox:
    """Answers each program with the outputs written down for it.

    A program that is not in `outputs` has crashed on every input. With `infra_error` set (at
    any time) every job fails with that text, as if the machine had broken. `seen` holds the
    jobs of all calls, in order.

    >>> sandbox = ScriptedSandbox({"p": (CaseOutput("ok", value=3),)})
    >>> sandbox.run([Job("1", "p", ())])[0].outputs[0].value
    3
    """

    def __init__(
        self, outputs: Mapping[str, Sequence[CaseOutput]] | None = None, infra_error: str = ""
    ) -> None:
        self.outputs = dict(outputs or {})
        self.infra_error = infra_error
        self.seen: list[Job] = []

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Look every job's program up; see `Sandbox.run`."""
        check_ids(jobs)
        self.seen += jobs
        if self.infra_error:
            return [JobResult(job.id, (), infra_error=self.infra_error) for job in jobs]
        return [JobResult(job.id, self._outputs(job)) for job in jobs]

    def _outputs(self, job: Job) -> tuple[CaseOutput, ...]:
        unknown = [CaseOutput("crashed", error="not in the script")] * len(job.inputs)
        return tuple(self.outputs.get(job.program, unknown))

    def describe(self) -> str:
        """One sentence: nothing is run."""
        return "No program is run: outputs are looked up in a script."

    def close(self) -> None:
        """Nothing to end."""
