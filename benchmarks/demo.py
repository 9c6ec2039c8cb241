"""The demo and its baseline: wall time, and held-out accuracy at the start, half-way, at the end.

Both arms draw the same number of rollouts from the same problems with the same seed. Accuracy is
on test problems. The conflict between the domains is built into the bundled model.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Section
from srpo.config.files import load_config

DOMAINS = ("math", "code")
ARMS = (("SRPO", "srpo"), ("vanilla GRPO", "grpo"))


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One run: accuracy by step and domain, and what it took."""

    accuracy: dict[int, dict[str, float]]
    wall_s: float  # of the whole command, evaluations included
    tokens: int  # generated in training
    rollouts: int


def measure_demo(seeds: Sequence[int]) -> Section:
    """Every arm with every seed, in turn; mean and range over the seeds."""
    steps = sum(stage.steps or 0 for stage in load_config().config.stage)
    half = steps // 2
    runs: dict[str, list[DemoRun]] = {name: [] for name, _ in ARMS}
    for seed in seeds:
        for name, algorithm in ARMS:
            runs[name].append(_run(algorithm, seed, half))
    return Section(
        "The demo against its baseline",
        f"`srpo train` and `srpo train --algorithm grpo`, {steps} steps, seeds "
        f"{', '.join(map(str, seeds))}, with one more evaluation half-way (step {half}); held-out "
        "test problems, 160 a domain, 2 samples each; mean over the seeds, and their range. The "
        "conflict between the domains is built into the bundled model "
        "(docs/scale-model.md): this is no evidence about large models.",
        ("arm", *(f"{d}, step {n}" for n in (0, half, steps) for d in DOMAINS), "tokens", "wall"),
        tuple(
            (
                name,
                *(
                    _range([run.accuracy[step][domain] for run in found])
                    for step in (0, half, steps)
                    for domain in DOMAINS
                ),
                f"{statistics.mean(run.tokens for run in found) / 1000:.0f} k",
                f"{statistics.median(run.wall_s for run in found):.0f} s",
            )
            for name, found in runs.items()
        ),
    )


def _run(algorithm: str, seed: int, half: int) -> DemoRun:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "srpo", "train", "--algorithm", algorithm]
        command += ["--seed", str(seed), "--out", str(out)]
        command += ["--set", f"evaluation.every_steps={half}"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall_s = time.perf_counter() - started
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))["run"]
        lines = (out / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    accuracy = {}
    for row in map(json.loads, lines):
        scores = {d: score["overall"] for d, score in row["domains"].items()}
        accuracy[row["step"]] = {d: s["correct"] / s["samples"] for d, s in scores.items()}
    return DemoRun(accuracy, wall_s, report["generated_tokens"], report["rollouts"])


def _range(values: Sequence[float]) -> str:
    mean = statistics.mean(values)
    return f"{mean:.2f}" + (f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else "")
