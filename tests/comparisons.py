"""Plans and run directories of comparisons, made without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from srpo.comparison.jobs import Job
from srpo.comparison.plan import Comparison, load_comparison
from srpo.config.files import dump
from srpo.resuming.checkpoints import state_text
from srpo.run.figures import Accuracy, DomainScore, Evaluation, evaluation_row
from srpo.run.state import RunState
from srpo.rundir import RunDirectory
from srpo.types import Split

BASE = """
[sets.math]
generate = "math"
count = 16
holdout = 8
validation = 8
[sets.code]
generate = "code"
count = 16
holdout = 8
validation = 8
[every_stage]
problems_per_step = 4
group_size = 2
max_completion_tokens = 32
learning_rate = 1e-3
[[stage]]
name = "first"
sets = { math = 1 }
steps = 2
[[stage]]
name = "second"
sets = { math = 1, code = 1 }
steps = 3
"""

PLAN = """
name = "two ways"
base = "base.toml"
seeds = [11, 12]
[budget]
rollouts = 100
tokens = 1000
[evaluation]
every_steps = 1
targets = [0.7]
[[arm]]
name = "plain"
algorithm = "grpo"
[[arm]]
name = "ours"
"""

RATES = "[learning_rate]\nvalues = [1e-4, 2e-4]\nseeds = [1]\n"


def write_plan(folder: Path, text: str = PLAN, base: str = BASE) -> Path:
    """Write base.toml and plan.toml; returns the plan."""
    (folder / "base.toml").write_text(base, encoding="utf-8")
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def comparison(folder: Path, text: str = PLAN) -> Comparison:
    """A comparison whose folder is `folder/out`."""
    return load_comparison(write_plan(folder, text), folder / "out")


Levels = Mapping[str, Sequence[float]]  # domain -> accuracy at each validation


def write_run(
    job: Job, tokens: Sequence[int], levels: Levels, test: Mapping[str, float] | None = None
) -> None:
    """A finished run: a validation after each step, the first before training.

    Every step has 10 rollouts in 2 groups, one of which has a signal, and takes a second.
    """
    run = RunDirectory.create(job.folder, dump(job.config), {})
    for step, spent in enumerate(tokens):
        scores = {domain: values[step] for domain, values in levels.items()}
        run.append_evaluation(evaluation_row(evaluation(step, spent, scores)))
        if step:
            run.append_times({"step": step, "sampling": 0.75, "updating": 0.25})
            run.append_metrics(metrics_row(step, spent) | {"tokens/step": spent - tokens[step - 1]})
    if test is not None:
        last = evaluation(len(tokens) - 1, tokens[-1], test, "test")
        run.append_evaluation(evaluation_row(last))
    finish(run, len(tokens) - 1)


def metrics_row(step: int, tokens: int) -> dict[str, float]:
    """What metrics.jsonl says of a step, as far as a comparison reads it."""
    return {
        "step": step,
        "stage": 1,
        "epoch": 1,
        "tokens/step": 0,
        "rollouts/total": 10 * step,
        "tokens/total": tokens,
        "all/groups": 2,
        "all/signal_frac": 0.5,
    }


def finish(run: RunDirectory, step: int, ending: str = "The run is complete.") -> None:
    """A checkpoint; of a run that is over, if there is an `ending`."""
    folder = run.checkpoints / f"step_{step:06d}"
    folder.mkdir()
    state = RunState(step=step, ending=ending, num_evaluations=len(run.read_evaluations()))
    (folder / "trainer.json").write_text(state_text(state, {}), encoding="utf-8")


def evaluation(
    step: int, tokens: int, accuracy: Mapping[str, float], split: Split = "validation"
) -> Evaluation:
    """An evaluation with the given accuracies, on 1000 problems a domain."""
    scores = {
        domain: DomainScore(Accuracy(1000, 1000, round(1000 * value)), {}, 0.0, 0.0, 0)
        for domain, value in accuracy.items()
    }
    return Evaluation(step, scores, 0, split, 10 * step, tokens)  # type: ignore[arg-type]
