"""Can 24 GB train 0.5 B weights with 4,096-token answers? One step, drawn and trained on.

    python -m benchmarks.half_billion [ROWS] [float32|bfloat16]

The shape is Qwen2.5-0.5B's with random weights, the settings those of its recipe
(configs/srpo-qwen2.5-0.5b.toml) but for ROWS, the number of answers (default 2): memory does not
depend on it, and a CPU takes minutes for each. The peak is that of this process, in turn after
drawing and after training, beside what srpo plan predicts.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.shapes import qwen25_half_billion
from srpo.config import Config
from srpo.config.files import load_config
from srpo.engines.local.decoder import Passes
from srpo.engines.local.engine import LocalEngine
from srpo.planning.known_models import known_shape
from srpo.planning.memory import estimate_memory
from srpo.types import Adam, Clip, Datum, Sampling

RECIPE = Path(__file__).parents[1] / "configs" / "srpo-qwen2.5-0.5b.toml"
NAME = "Qwen/Qwen2.5-0.5B"
PROMPT = tuple(range(100, 612))  # 512 tokens


def peak_gib() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def said(what: str, started_s: float) -> None:
    """What was done, how long it took, and the peak so far."""
    print(f"{what}: {time.monotonic() - started_s:.0f} s, peak {peak_gib():.1f} GiB", flush=True)


def main(rows: int, dtype: str) -> None:
    """Draw `rows` answers, train on them, and say what it took."""
    config: Config = load_config(RECIPE).config
    length = config.stage[0].max_completion_tokens
    started_s = time.monotonic()
    model = qwen25_half_billion()
    said("model built", started_s)
    engine = LocalEngine(
        model,
        Path(tempfile.gettempdir()),
        dtype=getattr(torch, dtype),
        micro_batch_tokens=config.model.micro_batch_tokens,
        sampler_rows=config.model.sampler_rows,
        training=Passes(config.model.gradient_checkpointing),
    )
    started_s = time.monotonic()
    (samples,) = engine.sample([PROMPT], rows, Sampling(max_tokens=length, stop_ids=(), seed=1))
    said(f"drawn {rows} answers of {len(samples[0].tokens)} tokens", started_s)
    before, sign = len(PROMPT), (1.0, -1.0)
    data = [
        Datum(
            tokens=PROMPT + sample.tokens,
            mask=(0.0,) * before + (1.0,) * length,
            sampler_logprobs=(0.0,) * before + sample.logprobs,
            advantages=(0.0,) * before + (sign[i % 2] / (rows * length),) * length,
        )
        for i, sample in enumerate(samples)
    ]
    started_s = time.monotonic()
    logprobs = engine.forward_backward(data, Clip())
    gap = max(
        abs(new - old)
        for datum, row in zip(data, logprobs, strict=True)
        for new, old in zip(row[before:], datum.sampler_logprobs[before:], strict=True)
    )
    said(f"gradient of {rows} answers, logprobs within {gap:.2g} of the sampler's", started_s)
    norm = engine.optim_step(Adam(lr=1e-6))["grad_norm"]
    said(f"updated, gradient norm {norm:.3g}", started_s)
    shape = known_shape(NAME)
    assert shape is not None
    model_config = config.model.model_copy(update={"sampler_rows": rows, "dtype": dtype})
    estimate = estimate_memory(config.model_copy(update={"model": model_config}), shape)
    print(f"foretold for the model: {estimate.peak / 2**30:.1f} GiB, and the interpreter")


if __name__ == "__main__":
    main(
        rows=int(sys.argv[1]) if len(sys.argv) > 1 else 2,
        dtype=sys.argv[2] if len(sys.argv) > 2 else "bfloat16",
    )
