"""One whole GRPO step, srpo's local engine against TRL's GRPOTrainer, in turn in one process."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measuring import Section, seconds, spread
from benchmarks.trl_side import run_trl
from benchmarks.workload import (
    GROUP_SIZE,
    MAX_TOKENS,
    PROBLEMS_PER_STEP,
    OurTrainer,
    StepCost,
    Work,
)

WARM_UP = 1
MICRO_BATCHES = (16, 32, 64, 128, 256)  # what TRL may choose from


@dataclass(frozen=True, slots=True)
class Steps:
    """The counted steps of all sides, taken in turn on the same problems."""

    micro_batch: int  # TRL's best
    trl: list[StepCost]
    alike: list[StepCost]  # srpo, every group through the model, as TRL does
    ours: list[StepCost]  # srpo as it is, groups without a signal left out


def measure_steps(work: Work, rounds: int, micro_batches: Sequence[int] = MICRO_BATCHES) -> Steps:
    """`rounds` steps of each side after one to warm up. `work` holds one more step than that."""
    micro_batch = _best_micro_batch(work, micro_batches)
    alike, ours = OurTrainer(work, every_group=True), OurTrainer(work, every_group=False)
    costs: list[tuple[StepCost, StepCost]] = []

    def between(number: int) -> None:
        costs.append((alike.step(number), ours.step(number)))

    trl = run_trl(work, micro_batch, rounds + WARM_UP, between)
    counted = costs[WARM_UP:]
    return Steps(micro_batch, trl[WARM_UP:], [c[0] for c in counted], [c[1] for c in counted])


def _best_micro_batch(work: Work, sizes: Sequence[int]) -> int:
    """The micro-batch at which TRL's second step takes least."""
    if len(sizes) == 1:
        return sizes[0]
    costs = {size: run_trl(work, size, 2, lambda _: None)[-1].total for size in sizes}
    return min(costs, key=costs.__getitem__)


def section(steps: Steps) -> Section:
    """The table of the step."""
    sides = (
        (f"TRL's GRPOTrainer, {steps.micro_batch} completions a micro-batch", steps.trl),
        ("srpo, every group sent (like for like)", steps.alike),
        ("srpo as it is, groups without a signal left out", steps.ours),
    )
    return Section(
        "One training step against TRL",
        f"One GRPO step on the embedded model and its math problems (all levels): "
        f"{PROBLEMS_PER_STEP} problems x {GROUP_SIZE} completions of at most {MAX_TOKENS} tokens "
        "at temperature 1, the same exact-match reward in Python, advantages, clipped loss, "
        "gradient, AdamW; no KL term, one pass over the data, fp32, one thread. Both sides see the "
        f"same prompts, step by step, in turn in one process; {len(steps.trl)} steps of each "
        "count, after one to warm up. TRL runs on the CPU without vLLM, gradient checkpointing, "
        f"dropout, logging and saving, with the best micro-batch of {_listed(MICRO_BATCHES)}. "
        "The learning rate is 1e-6, so all sides keep sampling from nearly the same policy. "
        "Medians of CPU-seconds; in the last column the median of the ratios step by step, "
        "and the range.",
        ("side", "sampling", "the rest", "step", "mean length", "completions trained", "TRL / it"),
        tuple(_row(name, costs, steps.trl) for name, costs in sides),
    )


def _row(name: str, costs: list[StepCost], trl: list[StepCost]) -> tuple[str, ...]:
    return (
        name,
        seconds([c.sampling for c in costs]),
        seconds([c.rest for c in costs]),
        seconds([c.total for c in costs]),
        f"{statistics.fmean(c.mean_length for c in costs):.1f}",
        f"{statistics.fmean(c.num_trained for c in costs):.0f}",
        spread([c.total for c in trl], [c.total for c in costs]),
    )


def _listed(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}"
