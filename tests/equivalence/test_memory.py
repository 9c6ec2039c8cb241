"""The peak that `srpo plan` tells, against the peak of a process that does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from srpo.memory import ModelShape, estimate_memory
from tests.short_runs import config_of

PROMPT, ANSWER, SAMPLED = 32, 128, 32
SHAPES: dict[str, dict[str, Any]] = {
    "deep": {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 10, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49_152, "tie_word_embeddings": True,
    },
    "large vocabulary": {
        "model_type": "qwen2", "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2,
        "vocab_size": 151_936, "tie_word_embeddings": True,
    },
    "wide": {
        "model_type": "llama", "hidden_size": 1024, "intermediate_size": 2816,
        "num_hidden_layers": 5, "num_attention_heads": 16, "num_key_value_heads": 16,
        "vocab_size": 4096, "tie_word_embeddings": False,
    },
}  # fmt: skip
CHILD = """
import json, resource, sys, tempfile
from pathlib import Path
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from srpo.engines.local import LocalEngine
from srpo.engines.local.decoder import Passes
from srpo.types import Adam, Clip, Datum, Sampling
torch.set_num_threads(1)
shape, tokens, checkpointing, prompt, answer, rows = json.loads(sys.argv[1])
base = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape)).eval()
sizes = {"num_weights": sum(w.numel() for w in model.parameters())}
engine = LocalEngine(model, Path(tempfile.mkdtemp()), micro_batch_tokens=tokens,
                     training=Passes(checkpointed=checkpointing))
length = prompt + answer
data = [
    Datum(tuple(5 + (i * j) % 90 for j in range(length)), (0.0,) * prompt + (1.0,) * answer,
          (0.0,) * prompt + (-8.0,) * answer, (0.0,) * prompt + (0.5,) * answer, 1.0)
    for i in range(1, tokens // answer + 1)
]
for _ in range(2):
    engine.forward_backward(data, Clip())
    engine.optim_step(Adam(lr=1e-4))
engine.sample([data[0].tokens[:prompt]], rows, Sampling(max_tokens=4, stop_ids=(), seed=1))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({**sizes, "peak": peak - base}))
"""


def measured(shape: dict[str, Any], tokens: int, *, checkpointing: bool) -> dict[str, int]:
    given = json.dumps([shape, tokens, checkpointing, PROMPT, ANSWER, SAMPLED])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, given], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and ru_maxrss in KiB")
@pytest.mark.slow  # half a minute each
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("name", "tokens", "checkpointing"),
    [
        ("large vocabulary", 1024, False),
        ("deep", 2048, False),
        ("deep", 2048, True),
        ("wide", 2048, False),
    ],
)
def test_the_peak_is_foretold_within_15_percent(
    tmp_path: Path, name: str, tokens: int, *, checkpointing: bool
) -> None:
    of = SHAPES[name]
    found = measured(of, tokens, checkpointing=checkpointing)
    head_size = of["hidden_size"] // of["num_attention_heads"]
    shape = ModelShape(
        found["num_weights"], of["num_hidden_layers"], of["hidden_size"],
        of["intermediate_size"], of["num_key_value_heads"] * head_size, of["vocab_size"],
    )  # fmt: skip
    config = config_of(
        tmp_path,
        stage={"max_prompt_tokens": PROMPT, "max_completion_tokens": ANSWER},
        model={"micro_batch_tokens": tokens, "gradient_checkpointing": checkpointing},
    )
    foretold = estimate_memory(config, shape).peak
    assert foretold == pytest.approx(found["peak"], rel=0.15)
