"""What a checkpoint costs: of the demo model as a share of training, of a large one against dd.

python -m benchmarks.saving
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.measuring import Section, machine
from srpo.config.run import CheckpointConfig
from srpo.embedded import MODEL_DIR
from srpo.engines.local.engine import LocalEngine
from srpo.resuming.checkpoints import write_checkpoint
from srpo.run.state import RunState
from srpo.rundir import RunDirectory
from srpo.trainer import train
from srpo.types import Adam, Clip, Datum

ROUNDS = 5
STEPS = 24
REPORT = Path("docs/benchmarks.md")  # which `python -m benchmarks` writes before


def wall_s(action: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def demo_share(folder: Path) -> tuple[float, float, float]:
    """(seconds of a step, of a checkpoint, its share at the default interval), demo model."""
    from srpo.config.files import load_config, parse_set

    settings = [
        parse_set(text) for text in ("stage.1.steps=12", "stage.2.steps=12", "evaluation.samples=0")
    ]
    run = train(load_config(None, settings).config, folder / "demo")
    seconds = RunDirectory(run.directory).read_seconds()
    step_s = statistics.median(sum(phases.values()) for phases in seconds.values())
    engine, tokenizer = engine_of(folder / "demo" / "checkpoints", str(run.checkpoint))
    directory = RunDirectory(run.directory)
    saves = []
    for step in range(1000, 1000 + ROUNDS):
        saves.append(wall_s(lambda: write_checkpoint(directory, engine, tokenizer, RunState(step))))  # noqa: B023 - called at once
    save_s = statistics.median(saves)
    return step_s, save_s, save_s / (step_s * CheckpointConfig().every_steps)


def engine_of(folder: Path, name: str) -> tuple[LocalEngine, object]:
    """An engine with the weights and moments of a checkpoint."""
    from srpo.engines.local.loading import load_model

    engine = LocalEngine(load_model(name, torch.device("cpu")).model, folder)
    engine.load(name)
    return engine, AutoTokenizer.from_pretrained(MODEL_DIR)


def large_engine(folder: Path) -> LocalEngine:
    """A model of 125 million weights that has made a step: 1.5 GB with its moments."""
    config = LlamaConfig(
        vocab_size=4096, hidden_size=1024, intermediate_size=2816, num_hidden_layers=10,
        num_attention_heads=16, num_key_value_heads=16, tie_word_embeddings=True,
    )  # fmt: skip
    engine = LocalEngine(LlamaForCausalLM(config), folder)
    datum = Datum((1, 2, 3), (0.0, 1.0, 1.0), (0.0, -8.0, -8.0), (0.0, 1.0, 1.0), 1.0)
    engine.forward_backward([datum], Clip(0.2, 0.2))
    engine.optim_step(Adam(lr=1e-6))
    return engine


def against_dd(folder: Path) -> tuple[float, list[float], list[float]]:
    """(gigabytes, seconds of checkpoints, seconds of dd with fsync), in turn."""
    run = RunDirectory.create(folder / "large", "", {})
    engine, tokenizer = large_engine(run.checkpoints), AutoTokenizer.from_pretrained(MODEL_DIR)
    saves, copies = [], []
    size = 0
    for step in range(ROUNDS + 1):
        save_s = wall_s(lambda: write_checkpoint(run, engine, tokenizer, RunState(step)))  # noqa: B023 - called at once
        saved = run.checkpoints / f"step_{step:06d}"
        size = sum(path.stat().st_size for path in saved.iterdir())
        shutil.rmtree(saved)
        target = folder / "dd"
        copy_s = wall_s(lambda: _dd(target, size))  # noqa: B023 - called at once
        target.unlink()
        if step:  # the first is to warm up
            saves.append(save_s)
            copies.append(copy_s)
    return size / 1e9, saves, copies


def _dd(target: Path, size_bytes: int) -> None:
    blocks = size_bytes // 2**20
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={target}", "bs=1M", f"count={blocks}", "conv=fsync"],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    """Measure both, print it, and put it in docs/benchmarks.md as its last section."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        step_s, save_s, share = demo_share(Path(name))
        size_gb, saves, copies = against_dd(Path(name))
    rates = sorted(copy / save for copy, save in zip(copies, saves, strict=True))
    rows = (
        ("a step of the demo", f"{step_s * 1000:.0f} ms"),
        ("a checkpoint of it", f"{save_s * 1000:.0f} ms"),
        ("share of training, at the default interval", f"{share:.2%}"),
        (f"a checkpoint of {size_gb:.2f} GB", f"{size_gb / statistics.median(saves):.2f} GB/s"),
        ("dd with fsync, as many bytes", f"{size_gb / statistics.median(copies):.2f} GB/s"),
        (
            "share of dd's rate, median of rounds",
            f"{statistics.median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f})",
        ),
    )
    text = f"{machine()} Wall time, {ROUNDS} rounds in turn after one to warm up."
    section = Section("Checkpoints", text, ("what", "result"), rows).markdown()
    print(section)
    others, _, _ = REPORT.read_text(encoding="utf-8").partition("## Checkpoints")
    REPORT.write_text(f"{others.rstrip()}\n\n{section.rstrip()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
