"""One GRPO step of SmolLM2-135M-Instruct in bfloat16 against TRL, in turn in one process.

    python -m benchmarks.large_step MODEL [ROUNDS]

MODEL is the folder that `make real` unpacks. Needs TRL (`pip install srpo[bench]`).
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import torch

from benchmarks.measuring import Section
from benchmarks.step import WARM_UP, measure_steps, section
from benchmarks.workload import StepSize, open_work

SIZE = StepSize(problems=8, group_size=8, max_tokens=64, dtype=torch.bfloat16)
MICRO_BATCH = 16  # completions that TRL trains on at once


def measure(model: str, rounds: int) -> Section:
    """The table of the step."""
    steps = measure_steps(open_work(model, rounds + WARM_UP, SIZE), rounds, (MICRO_BATCH,))
    return replace(
        section(steps),
        title="One training step of SmolLM2-135M-Instruct against TRL, bfloat16",
        text=f"{SIZE.problems} problems x {SIZE.group_size} completions of at most "
        f"{SIZE.max_tokens} tokens, both sides in bfloat16 over weights in float32, TRL by "
        f"autocast with {MICRO_BATCH} completions a micro-batch; the rest as in the step of the "
        f"embedded model. {rounds} steps of each count, after one to warm up.",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    print(measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3).markdown())
