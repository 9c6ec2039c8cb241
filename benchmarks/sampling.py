"""Drawing 256 completions: srpo's local engine against transformers' `generate`, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.generating import generate
from benchmarks.measuring import Section, in_turn, seconds, spread
from benchmarks.shapes import llama_28m
from benchmarks.workload import GROUP_SIZE, MAX_TOKENS, NO_FOLDER, Work
from srpo.engines.local.engine import LocalEngine
from srpo.types import Sampling

LARGER_TOKENS = 32  # tokens a completion with the larger model, to keep the run short


@dataclass(frozen=True, slots=True)
class Drawn:
    """CPU-seconds of both samplers, round by round, and the lengths they drew."""

    name: str
    theirs: list[float]
    ours: list[float]
    their_length: float
    our_length: float


def measure_sampling(work: Work, rounds: int) -> list[Drawn]:
    """Natural stops and forced lengths on the embedded model, forced lengths on a larger one."""
    prompts, stops = work.prompts(0), work.prompter.stop_ids
    model, larger = work.model(), llama_28m()
    return [
        _measure("embedded model, natural stops", model, prompts, MAX_TOKENS, stops, rounds),
        _measure(
            f"embedded model, {MAX_TOKENS} tokens each", model, prompts, MAX_TOKENS, (), rounds
        ),
        _measure(
            f"Llama of 28 million weights, {LARGER_TOKENS} tokens each",
            larger,
            prompts,
            LARGER_TOKENS,
            (),
            max(1, rounds // 2),
        ),
    ]


def _measure(
    name: str,
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stops: tuple[int, ...],
    rounds: int,
) -> Drawn:
    engine = LocalEngine(model, NO_FOLDER)
    lengths: tuple[list[float], list[float]] = ([], [])

    def theirs() -> None:
        lengths[0].extend(generate(model, prompts, GROUP_SIZE, max_tokens, stops))

    def ours() -> None:
        how = Sampling(max_tokens, stops, seed=len(lengths[1]))
        groups = engine.sample(prompts, GROUP_SIZE, how)
        lengths[1].extend(len(sample.tokens) for group in groups for sample in group)

    costs = in_turn((theirs, ours), rounds)
    return Drawn(
        name,
        [cost[0] for cost in costs],
        [cost[1] for cost in costs],
        statistics.fmean(lengths[0]),
        statistics.fmean(lengths[1]),
    )


def section(measured: Sequence[Drawn]) -> Section:
    """The table of sampling."""
    return Section(
        "Sampling against transformers",
        "256 completions (32 prompts x 8) at temperature 1, fp32, one thread, in turn in one "
        "process. `generate` returns tokens; srpo returns tokens and their logprobs. Without stop "
        "tokens both draw the same number of tokens, so that gain comes from the work a token "
        "takes; with natural stops rows that are done also leave srpo's batch. Medians of "
        "CPU-seconds, and the median ratio with its range.",
        ("work", "transformers", "srpo", "mean length, both", "transformers / srpo"),
        tuple(
            (
                drawn.name,
                seconds(drawn.theirs),
                seconds(drawn.ours),
                f"{drawn.their_length:.1f}, {drawn.our_length:.1f}",
                spread(drawn.theirs, drawn.ours),
            )
            for drawn in measured
        ),
        "So the gain depends on the lengths: it is largest where most completions end early and a "
        "few run long, as here, and comes down to that of the forced lines where all are alike.",
    )
