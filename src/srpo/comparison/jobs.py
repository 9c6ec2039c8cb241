"""The runs of a comparison: which there are, their configs, and how far each has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from srpo.comparison.plan import Arm, Comparison, differing
from srpo.config import Config
from srpo.config.files import load_config
from srpo.errors import ConfigError, RunDirectoryError
from srpo.resuming.checkpoints import newest_state
from srpo.rundir import RunDirectory
from srpo.schedule import share_spent


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a comparison."""

    arm: str
    seed: int
    rate: float | None  # learning rate; None: the base's
    tries_rate: bool  # True: it helps to choose the rate, and gives no result
    name: str  # such as "runs/srpo/seed-11"
    folder: Path  # its run directory
    config: Config

    @property
    def words(self) -> str:
        """What to call it in a sentence.

        Such as `SRPO, seed 11` or `SRPO, rate 0.0004, seed 1`.
        """
        rate = f"rate {self.rate:g}, " if self.tries_rate else ""
        return f"{self.arm}, {rate}seed {self.seed}"


class State(Enum):
    """How far a run has come."""

    ABSENT = "absent"  # nothing, or nothing that could be gone on with
    BEGUN = "begun"  # its config is there; without a checkpoint it goes on at step 0
    FINISHED = "finished"


def rate_jobs(comparison: Comparison, arm: Arm) -> list[Job]:
    """The runs that an arm's learning rate is chosen by; none if the plan tries no rates."""
    rates = comparison.plan.learning_rate
    if rates is None:
        return []
    jobs = []
    for seed in rates.seeds:
        for rate in rates.values:
            name = f"rates/{arm.folder}/rate-{rate:g}-seed-{seed}"
            config = _without_test(_with_rate(_with_seed(arm.config, seed), rate))
            config = _with_budget_share(config, rates.budget_share)
            folder = comparison.out / name
            jobs.append(Job(arm.name, seed, rate, True, name, folder, config))
    return jobs


def result_jobs(comparison: Comparison, arm: Arm, rate: float | None) -> list[Job]:
    """The runs that give an arm's results, at this learning rate (None: the base's)."""
    jobs = []
    for seed in comparison.plan.seeds:
        name = f"runs/{arm.folder}/seed-{seed}"
        config = _with_seed(arm.config, seed)
        if rate is not None:
            config = _with_rate(config, rate)
        jobs.append(Job(arm.name, seed, rate, False, name, comparison.out / name, config))
    return jobs


def count_runs(comparison: Comparison) -> int:
    """All runs of a comparison, those that choose learning rates included."""
    rates = comparison.plan.learning_rate
    tried = len(rates.values) * len(rates.seeds) if rates else 0
    return len(comparison.arms) * (len(comparison.plan.seeds) + tried)


def state_of(job: Job) -> State:
    """How far a run has come, by its folder alone. Raises `RunDirectoryError` if damaged."""
    run = RunDirectory(job.folder)
    if not run.config.exists():
        return State.ABSENT
    state = newest_state(run)
    return State.FINISHED if state is not None and state.ending else State.BEGUN


def kept_rate(comparison: Comparison, arm: Arm) -> float | None:
    """The learning rate that an arm's result runs were begun with; None before there are any.

    From then on it is the arm's, whatever rate runs finish later: seeds at other rates would not
    be one arm. Raises `RunDirectoryError` if a run has no config that can be read.
    """
    if comparison.plan.learning_rate is None:
        return None
    for job in result_jobs(comparison, arm, None):
        if state_of(job) is not State.ABSENT:
            return _config_of(job).stage[-1].learning_rate
    return None


def check_runs(comparison: Comparison) -> None:
    """Raise `RunDirectoryError` if a run was made with another config than the plan now asks for.

    The message names the run and the setting.
    """
    for arm in comparison.arms:
        results = result_jobs(comparison, arm, kept_rate(comparison, arm))
        for job in (*rate_jobs(comparison, arm), *results):
            if state_of(job) is State.ABSENT:
                continue
            for name, (was, asked) in differing(_config_of(job), job.config).items():
                raise RunDirectoryError(
                    f"{job.folder}: was made with {name} = {was}, and the plan asks for {asked}; "
                    "move the folder away, or choose another --out"
                )


def share_done(job: Job) -> float:
    """Share of the budget that a run has spent, in [0, 1]."""
    rows = RunDirectory(job.folder).read_metrics()
    if not rows:
        return 0.0
    last, budget = rows[-1], job.config.budget
    accounts = (
        (budget.rollouts, int(last["rollouts/total"] or 0)),
        (budget.tokens, int(last["tokens/total"] or 0)),
    )
    return min(1.0, share_spent(accounts) or 0.0)


def _config_of(job: Job) -> Config:
    """The config that a run was made with."""
    path = RunDirectory(job.folder).config
    try:
        return load_config(path).config
    except ConfigError as error:
        line = str(error).splitlines()[0]
        raise RunDirectoryError(f"{job.folder}: its config cannot be read: {line}") from None


def _with_seed(config: Config, seed: int) -> Config:
    return config.model_copy(update={"seed": seed})


def _with_rate(config: Config, rate: float) -> Config:
    stages = [stage.model_copy(update={"learning_rate": rate}) for stage in config.stage]
    return config.model_copy(update={"stage": tuple(stages)})


def _with_budget_share(config: Config, share: float) -> Config:
    whole = config.budget
    update = {
        "rollouts": math.ceil(whole.rollouts * share),
        "tokens": math.ceil(whole.tokens * share),
    }
    return config.model_copy(update={"budget": whole.model_copy(update=update)})


def _without_test(config: Config) -> Config:
    """The config of a run that never reads its test problems."""
    evaluation = config.evaluation.model_copy(update={"test": "never"})
    return config.model_copy(update={"evaluation": evaluation})
