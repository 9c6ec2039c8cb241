"""A sandbox that runs nothing: it looks programs up. For tests and for dry runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from srpo.sandbox import CaseOutput, Job, JobResult


class ScriptedSandbox:
    """Answers each program with the outputs written down for it.

    A program that is not in `outputs` has crashed on every input. With `infra_error` set (at
    any time) every job fails with that text, as if the machine had broken. `seen` holds the
    jobs of all calls, in order.

    >>> sandbox = ScriptedSandbox({"p": (CaseOutput("ok", value=3),)})
    >>> next(sandbox.run([Job("1", "p", ())])).outputs[0].value
    3
    """

    def __init__(
        self, outputs: Mapping[str, Sequence[CaseOutput]] | None = None, infra_error: str = ""
    ) -> None:
        self.outputs = dict(outputs or {})
        self.infra_error = infra_error
        self.seen: list[Job] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Look every job's program up; see `Sandbox.run`."""
        ids: set[str] = set()
        for job in jobs:
            if job.id in ids:
                raise ValueError(f"two jobs have the same id: {job.id!r}")
            ids.add(job.id)
            self.seen.append(job)
            outputs = () if self.infra_error else self._outputs(job)
            yield JobResult(job.id, outputs, infra_error=self.infra_error)

    def _outputs(self, job: Job) -> tuple[CaseOutput, ...]:
        unknown = [CaseOutput("crashed", error="not in the script")] * len(job.inputs)
        return tuple(self.outputs.get(job.program, unknown))

    def describe(self) -> str:
        """One sentence: nothing is run."""
        return "No program is run: outputs are looked up in a script."

    def close(self) -> None:
        """Nothing to end."""
