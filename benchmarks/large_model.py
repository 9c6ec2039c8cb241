"""The shape of SmolLM2-135M in bfloat16: shares of the matrix-multiply peak, and other samplers.

    python -m benchmarks.large_model [ROUNDS]

Weights are random and every answer is forced to its full length, so all samplers do the same
work. CPU-seconds of one thread; all in turn in one process, ROUNDS times after one to warm up.
vLLM takes part where it is installed (docs/vllm.md).
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.generating import generate
from benchmarks.measuring import Section, in_turn, spread
from benchmarks.shapes import smollm2_135m
from benchmarks.workload import NO_FOLDER
from srpo.engines.local.decoder import Passes
from srpo.engines.local.engine import LocalEngine
from srpo.engines.local.sampling import Sampler
from srpo.types import Clip, Datum, Sampling

DTYPE = torch.bfloat16
GROUPS, GROUP_SIZE = 32, 8  # 256 answers
PROMPT_TOKENS, ANSWER_TOKENS = 32, 32
TRAINED = 16  # of the answers, for a pass of training
PEAK_SHAPE = (4096, 576, 1536)  # tokens, and the two sides of the model's largest layers


def prompts() -> list[list[int]]:
    """As many prompts as groups, all of one length."""
    return [[100 + (7 * i + j) % 900 for j in range(PROMPT_TOKENS)] for i in range(GROUPS)]


def batch() -> list[Datum]:
    """Answers to train on, in groups that share their prompts."""
    before, count = PROMPT_TOKENS, 4 * ANSWER_TOKENS
    return [
        Datum(
            tokens=(*prompts()[i // GROUP_SIZE], *(100 + (i * j) % 900 for j in range(count))),
            mask=(0.0,) * before + (1.0,) * count,
            sampler_logprobs=(0.0,) * before + (-10.8,) * count,
            advantages=(0.0,) * before + (1e-3 * (-1) ** i,) * count,
        )
        for i in range(TRAINED)
    ]


def training_operations(model: Any, data: Sequence[Datum]) -> int:
    """Multiplications and additions of one pass forward and back, attention left out.

    6 for each weight that a token is multiplied with, the head only where a token is trained.
    Prompts are counted once a group.
    """
    head: int = model.config.vocab_size * model.config.hidden_size
    body: int = sum(w.numel() for w in model.parameters()) - head
    trained = sum(datum.num_trained for datum in data)
    tokens = trained + PROMPT_TOKENS * (len(data) // GROUP_SIZE)
    return 6 * (body * tokens + head * trained)


def plain_pass(model: Any, data: Sequence[Datum]) -> None:
    """The same gradient through transformers, as a simple trainer computes it: 8 rows at once."""
    for first in range(0, len(data), 8):
        rows = data[first : first + 8]
        ids = torch.tensor([datum.tokens for datum in rows])
        with torch.autocast("cpu", dtype=DTYPE):
            logits = model(ids).logits[:, PROMPT_TOKENS - 1 : -1]
        logprobs = torch.log_softmax(logits.float(), -1)
        drawn = logprobs.gather(-1, ids[:, PROMPT_TOKENS:, None])[..., 0]
        advantages = torch.tensor([datum.advantages[PROMPT_TOKENS:] for datum in rows])
        loss = (drawn * advantages).sum()
        loss.backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)


def multiply() -> None:
    """Large products, as fast as this machine multiplies in the model's precision."""
    tokens, inner, outer = PEAK_SHAPE
    left, right = torch.ones(tokens, inner, dtype=DTYPE), torch.ones(outer, inner, dtype=DTYPE)
    for _ in range(10):
        torch.nn.functional.linear(left, right)


def training_section(rounds: int) -> Section:
    """Share of the peak of our training pass and of a plain one."""
    model, data = smollm2_135m(), batch()

    def ours(training: Passes) -> Callable[[], object]:
        engine = LocalEngine(
            model, NO_FOLDER, dtype=DTYPE, micro_batch_tokens=4096, training=training
        )
        return lambda: engine.forward_backward(data, Clip())

    actions = (multiply, ours(Passes()), ours(Passes(compiled=True)))
    costs = in_turn((*actions, lambda: plain_pass(model, data)), rounds)
    tokens, inner, outer = PEAK_SHAPE
    peaks = [10 * 2 * tokens * inner * outer / row[0] for row in costs]
    trained = sum(datum.num_trained for datum in data)
    rows = []
    names = ("srpo", "srpo, model.compile", "transformers, autocast")
    for place, name in enumerate(names, start=1):
        # both are credited with what srpo computes: prompts once a group
        work = training_operations(model, data)
        shares = [work / row[place] / peak for row, peak in zip(costs, peaks, strict=True)]
        rate = statistics.median(trained / row[place] for row in costs)
        cost = spread([row[place] for row in costs], [row[1] for row in costs])
        rows.append((name, f"{rate:.0f}", f"{100 * statistics.median(shares):.0f} %", cost))
    return Section(
        "Training SmolLM2-135M's shape, bfloat16",
        f"{len(data)} answers of {4 * ANSWER_TOKENS} tokens after prompts of {PROMPT_TOKENS}, a "
        f"pass forward and back, in one micro-batch. Peak: {statistics.median(peaks) / 1e9:.0f} "
        f"GFLOP/s, products of {tokens} x {inner} with {inner} x {outer}.",
        ("", "trained tokens a CPU-second", "share of the peak", "cost against srpo"),
        tuple(rows),
    )


def sampling_section(rounds: int) -> Section:
    """Our sampler, `generate`, and vLLM if it is there, on 256 answers."""
    model = smollm2_135m()
    asked = prompts()

    def drawing(sampler: Sampler | None) -> Callable[[], None]:
        engine = LocalEngine(
            model, NO_FOLDER, dtype=DTYPE, sampler=sampler, sampler_rows=GROUPS * GROUP_SIZE
        )
        return lambda: _draw(engine, asked)

    half = smollm2_135m().to(DTYPE)
    names = ["srpo", "generate"]
    actions: list[Callable[[], object]] = [
        drawing(None),
        lambda: generate(half, asked, GROUP_SIZE, ANSWER_TOKENS, ()),
    ]
    if importlib.util.find_spec("vllm") is not None:
        from srpo.engines.local.vllm_sampling import VllmSampler

        longest, rows = PROMPT_TOKENS + ANSWER_TOKENS, GROUPS * GROUP_SIZE
        names.append("vLLM")
        actions.append(
            drawing(VllmSampler(model, DTYPE, rows=rows, longest=longest, cache_gib=2.0))
        )
    costs = in_turn(actions, rounds)
    drawn = GROUPS * GROUP_SIZE * ANSWER_TOKENS
    table = [
        (
            name,
            f"{statistics.median(drawn / row[place] for row in costs):.0f}",
            spread([row[place] for row in costs], [row[0] for row in costs]),
        )
        for place, name in enumerate(names)
    ]
    return Section(
        "Sampling SmolLM2-135M's shape, bfloat16",
        f"{GROUPS * GROUP_SIZE} answers of {ANSWER_TOKENS} tokens side by side, {GROUP_SIZE} to a "
        f"prompt of {PROMPT_TOKENS}.",
        ("", "tokens a CPU-second", "cost against srpo"),
        tuple(table),
    )


def _draw(engine: LocalEngine, asked: Sequence[Sequence[int]]) -> None:
    engine.sample(asked, GROUP_SIZE, Sampling(max_tokens=ANSWER_TOKENS, stop_ids=(), seed=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for make in (training_section, sampling_section):
        print(make(number).markdown(), flush=True)
