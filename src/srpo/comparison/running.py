"""The runs of a comparison as processes of their own: side by side, resumed, and retried once.

A comparison that was killed goes on with the same command: finished runs stay, half ones are
resumed from their last checkpoint. Each run holds the lock `locks/NAME` while it is at work, so
that a run which outlived a killed comparison is waited for and never trained twice at once.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

from srpo.comparison.jobs import (
    Job,
    State,
    count_runs,
    rate_jobs,
    result_jobs,
    share_done,
    state_of,
)
from srpo.comparison.plan import Arm, Comparison
from srpo.comparison.results import RateChoice, choose_rate
from srpo.comparison.source import check_source
from srpo.config.files import dump
from srpo.errors import RunDirectoryError, SrpoError
from srpo.formats import counted
from srpo.run.interrupts import Interrupts
from srpo.rundir.lock import take_lock

TRAIN = (sys.executable, "-m", "srpo", "train")
POLL_S = 0.2
LOOK_S = 2.0  # between looks at how far the running ones are
TRIES = 2
PR_SET_PDEATHSIG = 1  # Linux: the signal that a child gets when its parent dies
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a comparison has come."""

    finished: int  # runs
    total: int  # runs that are known of; those of seeds and rates
    running: tuple[tuple[str, float], ...]  # words and share done of each run at work
    left_s: float | None  # estimated; None while nothing can be said


class Onlooker(Protocol):
    """Whoever is told how a comparison goes on."""

    def tell(self, text: str) -> None:
        """A sentence that stays."""

    def show(self, standing: Standing) -> None:
        """The state of things, which replaces the one before."""


@dataclass(slots=True)
class Outcome:
    """What running left behind."""

    rates: dict[str, RateChoice] = field(default_factory=dict)  # by arm
    failed: list[str] = field(default_factory=list)  # words of the runs that failed twice
    exit_code: int = 0  # of an interrupt, else 0


@dataclass(slots=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: TextIO


class Runner:
    """Runs what is left of a comparison, at most `cores` runs at a time."""

    def __init__(
        self, comparison: Comparison, cores: int, onlooker: Onlooker, program: Sequence[str]
    ) -> None:
        self._comparison = comparison
        self._program = program
        self._cores = cores
        self._onlooker = onlooker
        self._outcome = Outcome()
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._tries: Counter[str] = Counter()
        self._undecided: list[Arm] = []  # their rate runs are not over
        self._over: set[str] = set()  # names of runs that are finished or have failed
        self._begun_s = time.monotonic()
        self._looked_s = 0.0
        self._done_at_start: float | None = None

    def run(self, interrupts: Interrupts) -> Outcome:
        """Run everything; ends early, runs saved, when a signal came."""
        plan = self._comparison.plan
        for arm in self._comparison.arms:
            if plan.learning_rate is None:
                self._add(result_jobs(self._comparison, arm, None))
            else:
                self._undecided.append(arm)
                self._add(rate_jobs(self._comparison, arm))
        try:
            while self._waiting or self._running or self._undecided:
                if interrupts.caught:
                    self._stop()
                    self._outcome.exit_code = interrupts.exit_code
                    break
                self._collect()
                self._decide()
                self._start()
                self._look()
                time.sleep(POLL_S)
        except SrpoError:
            self._stop()
            raise
        except BaseException:  # a second Ctrl-C, or a fault of ours: leave no run behind
            for one in self._running:
                one.process.kill()
            raise
        return self._outcome

    def _add(self, jobs: list[Job]) -> None:
        """Queue what is not finished: rates first, then seed by seed, so that pairs are whole."""
        for job in jobs:
            if state_of(job) is State.FINISHED:
                self._over.add(job.name)
            else:
                self._waiting.append(job)
        order = {seed: i for i, seed in enumerate(self._comparison.plan.seeds)}
        arms = {arm.name: i for i, arm in enumerate(self._comparison.arms)}
        self._waiting.sort(key=lambda j: (not j.tries_rate, order.get(j.seed, -1), arms[j.arm]))

    def _decide(self) -> None:
        """Choose the rate of every arm whose rate runs are over, and queue its results."""
        for arm in list(self._undecided):
            if any(j.name not in self._over for j in rate_jobs(self._comparison, arm)):
                continue
            self._undecided.remove(arm)
            choice = choose_rate(self._comparison, arm)
            if choice is None:
                self._onlooker.tell(f"{arm.name}: every learning rate had a failed run; left out")
                self._outcome.failed.append(f"{arm.name}, all seeds (no learning rate)")
                continue
            edge = "; at the edge of what was tried" if choice.at_edge else ""
            late = f"; {choice.better:g} does better, but came too late" if choice.better else ""
            self._onlooker.tell(f"{arm.name}: learning rate {choice.chosen:g}{late}{edge}")
            self._outcome.rates[arm.name] = choice
            self._add(result_jobs(self._comparison, arm, choice.chosen))

    def _start(self) -> None:
        """Start waiting runs while there are cores; one that is still at work is left waiting."""
        for job in list(self._waiting):
            if len(self._running) >= self._cores:
                return
            lock = _lock(self._comparison, job)
            if lock is None:
                continue
            self._waiting.remove(job)
            try:
                if state_of(job) is State.FINISHED:  # by a process that outlived its comparison
                    self._finish(job)
                else:
                    check_source(self._comparison)  # it may change while runs go on
                    self._running.append(_begin(self._comparison, job, lock, self._program))
            finally:
                os.close(lock)  # the run has its own copy

    def _collect(self) -> None:
        """See which runs have ended, and how."""
        for one in list(self._running):
            code = one.process.poll()
            if code is None:
                continue
            self._running.remove(one)
            one.log.close()
            if code == 0 and state_of(one.job) is State.FINISHED:
                self._finish(one.job)
                continue
            self._tries[one.job.name] += 1
            again = self._tries[one.job.name] < TRIES
            words = _last_words(self._comparison, one.job)
            said = f"{one.job.words}: failed (exit code {code}: {words})"
            self._onlooker.tell(f"{said}; {'trying again' if again else 'giving up'}")
            if again:
                self._waiting.insert(0, one.job)
            else:
                self._over.add(one.job.name)
                self._outcome.failed.append(one.job.words)

    def _finish(self, job: Job) -> None:
        self._over.add(job.name)
        standing = self._standing()
        left = "" if standing.left_s is None else f", about {standing.left_s / 60:.0f} min left"
        self._onlooker.tell(
            f"{job.words}: finished ({standing.finished} of {standing.total} runs{left})"
        )

    def _look(self) -> None:
        if time.monotonic() - self._looked_s >= LOOK_S:
            self._looked_s = time.monotonic()
            self._onlooker.show(self._standing())

    def _standing(self) -> Standing:
        """Runs done, and the time left if work goes on at the rate of this process so far."""
        total = count_runs(self._comparison)
        running = tuple((one.job.words, share_done(one.job)) for one in self._running)
        done = len(self._over) + sum(share for _, share in running)
        if self._done_at_start is None:
            self._done_at_start = done
        won, took_s = done - self._done_at_start, time.monotonic() - self._begun_s
        left_s = (total - done) * took_s / won if won > 0.02 else None
        return Standing(len(self._over), total, running, left_s)

    def _stop(self) -> None:
        """Let every run finish its step and save; then all are gone."""
        self._onlooker.tell(
            f"stopping {counted(len(self._running), 'run')}; each saves after its step"
        )
        for one in self._running:
            one.process.terminate()
        for one in self._running:
            one.process.wait()
            one.log.close()
        self._running.clear()


def run_comparison(
    comparison: Comparison,
    cores: int,
    onlooker: Onlooker,
    check: Callable[[], None],
    program: Sequence[str] = TRAIN,
) -> Outcome:
    """Run what is left, after `check` has looked at the folder. The folder is held meanwhile.

    `program` is called as `srpo train` is: with CONFIG --out RUN, or with --resume RUN. Raises
    `RunDirectoryError` if another process is running this comparison.
    """
    advice = "what was recorded stays: the same command goes on"
    with Interrupts(onlooker.tell, advice) as interrupts, _held(comparison):
        check()
        return Runner(comparison, cores, onlooker, program).run(interrupts)


@contextmanager
def _held(comparison: Comparison) -> Iterator[None]:
    """The folder, for this process alone."""
    path = comparison.out / "locks" / "comparison"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise RunDirectoryError(f"{comparison.out}: cannot be written: {error.strerror}") from None
    try:
        if not take_lock(lock, path):
            raise RunDirectoryError(
                f"{comparison.out}: this comparison is being run by another process"
            )
        yield
    finally:
        os.close(lock)


def _lock(comparison: Comparison, job: Job) -> int | None:
    """A descriptor that holds the run's lock, or None if a process is still at work on it."""
    path = comparison.out / "locks" / job.name.replace("/", "_")
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    taken = False
    try:
        taken = take_lock(lock, path)
    finally:
        if not taken:
            os.close(lock)
    return lock if taken else None


def _begin(comparison: Comparison, job: Job, lock: int, program: Sequence[str]) -> _Running:
    """Start a run, or resume it from its last checkpoint. The process keeps `lock` open."""
    if state_of(job) is not State.ABSENT:
        arguments = ["--resume", str(job.folder)]
    else:
        if job.folder.exists():  # killed before it was a run
            shutil.rmtree(job.folder)
        config = comparison.out / "configs" / f"{job.name.replace('/', '_')}.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(dump(job.config), encoding="utf-8")
        job.folder.parent.mkdir(parents=True, exist_ok=True)
        arguments = [str(config), "--out", str(job.folder)]
    path = _log_path(comparison, job)
    path.parent.mkdir(exist_ok=True)
    log = path.open("a", encoding="utf-8")
    process = subprocess.Popen(
        [*program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **THREADS},
        pass_fds=(lock,),
        start_new_session=True,  # Ctrl-C reaches the comparison alone, which tells its runs
        preexec_fn=_end_with_parent if _LIBC else None,
    )
    return _Running(job, process, log)


def _log_path(comparison: Comparison, job: Job) -> Path:
    return comparison.out / "logs" / f"{job.name.replace('/', '_')}.log"


def _last_words(comparison: Comparison, job: Job) -> str:
    """The last line that a run wrote."""
    lines: list[str] = []
    with suppress(OSError):
        text = _log_path(comparison, job).read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the run's process: if the comparison is killed, finish the step in hand and save."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
