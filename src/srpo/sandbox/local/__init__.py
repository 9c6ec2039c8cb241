"""The local sandbox: warm fork servers side by side, one confined process for every program."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from srpo.errors import SandboxError
from srpo.sandbox import CaseOutput, Job, JobResult
from srpo.sandbox.local.bubblewrap import fence_program
from srpo.sandbox.local.client import ServerClient, ServerDiedError, rehearse
from srpo.sandbox.local.driver import Worker
from srpo.sandbox.strengths import AUTOMATIC, SENTENCES, Strength, Wanted

_DONE = object()


class LocalSandbox:
    """Runs programs in `workers` fork servers side by side; 0 means one for each core.

    `strength`: "auto" takes the strongest that this machine allows and says what it could not
    have; a name takes that one or raises SandboxError. Without any, SandboxError is raised
    unless `allow_unsafe`. `fence`: "bubblewrap" puts each server into bubblewrap as well.
    Nothing is started before the first job, `describe()` or `strength`.
    """

    def __init__(
        self,
        workers: int = 0,
        strength: Wanted = "auto",
        *,
        allow_unsafe: bool = False,
        fence: str = "",
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        self.workers = workers or cores
        self._wanted = strength
        self._allow_unsafe = allow_unsafe
        self._fence = fence
        self._found: Strength | None = None
        self._refused: dict[Strength, str] = {}
        self._lacks_landlock = False
        self._rehearsed: ServerClient | None = None  # until a worker takes it
        self._finding = threading.Lock()
        self._all = [Worker(self._start_server) for _ in range(self.workers)]
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()  # the warmest first
        for worker in reversed(self._all):
            self._free.put(worker)

    @property
    def strength(self) -> Strength:
        """The strength in force. Starts a server to find out; SandboxError if there is none."""
        with self._finding:
            if self._found is None:
                self._found = self._find()
            return self._found

    def _find(self) -> Strength:
        """The first wanted strength that starts and holds in a rehearsal."""
        fence_program(self._fence)  # its absence has nothing to do with strengths
        for strength in self._candidates():
            try:
                client = ServerClient(strength, self._fence)
            except SandboxError as error:
                self._refused[strength] = str(error)
                continue
            try:
                holes = rehearse(client) if strength != "none" else ""
            except ServerDiedError as error:
                holes = str(error)
            if not holes:
                self._lacks_landlock = client.lacks_landlock
                self._rehearsed = client
                return strength
            client.close()
            self._refused[strength] = f"a rehearsal found holes: {holes}"
        reasons = "; ".join(f"{name}: {why}" for name, why in self._refused.items())
        raise SandboxError(
            f"untrusted programs cannot be isolated here ({reasons}); run on Linux with user "
            "namespaces, Landlock or seccomp, or set verifier.allow_unsafe = true to run them as "
            "you, with all your permissions"
        )

    def _candidates(self) -> tuple[Strength, ...]:
        unsafe: tuple[Strength, ...] = ("none",) if self._allow_unsafe else ()
        if self._wanted not in get_args(Wanted):  # a caller without type checks
            raise SandboxError(f"there is no strength {self._wanted!r}")
        if self._wanted != "auto":
            return (self._wanted,)  # by name: never weakened
        if self._fence:  # inside it there is no second user namespace to be had
            return (*AUTOMATIC[1:], *unsafe)
        return (*AUTOMATIC, *unsafe)

    def _start_server(self) -> ServerClient:
        strength = self.strength
        with self._finding:
            client, self._rehearsed = self._rehearsed, None
        return client or ServerClient(strength, self._fence)

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Run all jobs; see `Sandbox.run`."""
        crew = _Crew(self._run_one, jobs, self.workers)
        try:
            yield from crew.results()
        finally:
            crew.stop()

    def _run_one(self, job: Job) -> JobResult:
        worker = self._free.get()
        start_s = time.monotonic()
        try:
            outputs = self._run_twice(worker, job)
        except ServerDiedError as error:
            return JobResult(job.id, (), f"the sandbox failed twice ({error})"[:300])
        finally:
            self._free.put(worker)
        return JobResult(job.id, outputs, seconds=time.monotonic() - start_s)

    def _run_twice(self, worker: Worker, job: Job) -> tuple[CaseOutput, ...]:
        """Run the job; if a server dies, once more on new ones. Raises ServerDiedError."""
        reason = ""
        for _ in range(2):
            try:
                return worker.run(job)
            except (ServerDiedError, SandboxError, OSError) as error:
                worker.close()
                reason = str(error)
        raise ServerDiedError(reason)

    def describe(self) -> str:
        """One sentence on the isolation in force. SandboxError if there can be none."""
        strength = self.strength
        fence = f" inside {self._fence}" if self._fence else ""
        text = f"Sandbox {strength}{fence}: {SENTENCES[strength]}"
        if self._lacks_landlock:
            text += ", without Landlock as a second fence for files"
        if self._refused:
            missing = "; ".join(f"{name} ({why})" for name, why in self._refused.items())
            text += f". Not available here: {missing}"
        return text + "."

    def pids(self) -> list[int]:
        """Process ids of the servers that run now, to look at them from outside."""
        return [pid for worker in self._all for pid in worker.pids()]

    def close(self) -> None:
        """End all servers. Not while another thread is running jobs."""
        for worker in self._all:
            worker.close()
        if self._rehearsed is not None:
            self._rehearsed.close()
            self._rehearsed = None


class _Crew:
    """Threads that take jobs from an iterable and give results through a short queue."""

    def __init__(self, run: Callable[[Job], JobResult], jobs: Iterable[Job], size: int) -> None:
        self._run = run
        self._jobs = iter(jobs)
        self._taking = threading.Lock()
        self._ids: set[str] = set()
        self._results: queue.Queue[object] = queue.Queue(maxsize=2 * size)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(size)]

    def results(self) -> Iterator[JobResult]:
        """Results as they come. Raises what taking a job raised."""
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            item = self._results.get()
            if item is _DONE:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            elif isinstance(item, JobResult):
                yield item

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                job = self._take()
                if job is None:
                    break
                self._results.put(self._run(job))
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            self._results.put(error)
        finally:
            self._results.put(_DONE)

    def _take(self) -> Job | None:
        with self._taking:
            job = next(self._jobs, None)
            if job is not None and job.id in self._ids:
                raise ValueError(f"two jobs have the same id: {job.id!r}")
            if job is not None:
                self._ids.add(job.id)
            return job

    def stop(self) -> None:
        """Let the threads end after the jobs in hand."""
        self._stopped.set()
        for thread in self._threads:
            while thread.is_alive():
                try:
                    self._results.get(timeout=0.05)
                except queue.Empty:
                    continue
