"""Make the embedded base model from a seed: `python -m srpo.embedded.pretrain [OUT_DIR]`.

Phase 1 teaches both domains cleanly: mostly with thinking, no mistakes. Phase 2, the mixture,
teaches the habits of the base that RL starts from (see `demonstrations`). Only tasks of the
train split are shown, so validation and test problems are new to the base as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from srpo.embedded import MODEL_DIR
from srpo.embedded.base_report import measure, summary
from srpo.embedded.demonstrations import (
    BASE,
    CLEAN,
    WITHOUT_CONFLICT,
    Habits,
    demonstrate,
)
from srpo.embedded.tokenizer import DOMAINS, learn_tokenizer, save_tokenizer
from srpo.embedded.world import LEVELS, draw_task, word
from srpo.engines.local.attention import attend_to_self
from srpo.engines.local.decoder import Decoder
from srpo.types import Domain

BATCH = 96
SORTED_BATCHES = 8  # so many batches are drawn together and cut by length
MUON_LR, ADAM_LR = 0.02, 3e-3
MUON_DECAY = 0.1  # keeps attention scores small, so that float32 rounds them well
WARMUP_STEPS = 40
LEVEL_WEIGHTS = (1, 1, 1, 1, 1, 1, 2, 2)  # the levels with two chains take longest to learn
IGNORED = -100

Row = tuple[list[int], int]  # token ids, and how many of them are the prompt


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of pre-training: whom to imitate, for how long, how fast."""

    name: str
    habits: Mapping[Domain, Habits]
    steps: int
    lr_scale: Callable[[float], float]  # progress in [0, 1) -> share of the full rates


def phases(*, conflict: bool) -> tuple[Phase, Phase]:
    """First clean answers, then mostly without thinking; with the domains' conflict or without."""
    mixture = BASE if conflict else WITHOUT_CONFLICT
    return (
        Phase("clean", CLEAN, 640, lambda done: 1.0 - max(0.0, 0.85 * (done - 0.4) / 0.6)),
        Phase("mixture", mixture, 250, lambda done: 0.4 * max(0.02, 1.0 - done)),
    )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Any:
    """A freshly initialised Llama model of about 0.7 M parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and "embed" not in name:
            small = 0.5 if "o_proj" in name or "down_proj" in name else 1.0
            torch.nn.init.normal_(weight, std=small * weight.shape[1] ** -0.5)
    return model


def train_phase(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    phase: Phase,
    seed: int,
    said: Callable[[str], None],
) -> None:
    """Train `model` in place on demonstrations of one phase."""
    rng = random.Random(f"{phase.name}/{seed}")
    batches = _batches(rng, phase, tokenizer)
    decoder = Decoder(model, torch.float32)
    optimizers = _optimizers(model)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    started = time.monotonic()
    for step in range(phase.steps):
        scale = phase.lr_scale(step / phase.steps) * min(1.0, (step + 1) / WARMUP_STEPS)
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * scale
        loss = _loss(decoder, next(batches))
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 50 == 0 or step == phase.steps - 1:
            passed_s = time.monotonic() - started
            left_s = passed_s / (step + 1) * (phase.steps - step - 1)
            said(
                f"{phase.name:8} step {step + 1:4}/{phase.steps}  loss {loss.item():.4f}  "
                f"{passed_s:4.0f} s, about {left_s:.0f} s left"
            )


def _optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings, norms and biases."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in named if p.dim() != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=MUON_LR, weight_decay=MUON_DECAY),
        torch.optim.AdamW(others, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _batches(
    rng: random.Random, phase: Phase, tokenizer: PreTrainedTokenizerFast
) -> Iterator[list[Row]]:
    while True:
        rows = [_row(rng, phase.habits, tokenizer) for _ in range(BATCH * SORTED_BATCHES)]
        rows.sort(key=lambda row: len(row[0]))
        batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        rng.shuffle(batches)
        yield from batches


def _row(
    rng: random.Random, habits: Mapping[Domain, Habits], tokenizer: PreTrainedTokenizerFast
) -> Row:
    domain = rng.choice(DOMAINS)
    level = rng.choices(LEVELS, LEVEL_WEIGHTS)[0]
    task = draw_task(rng, domain, level)
    while task.split != "train":
        task = draw_task(rng, domain, level)
    prompt = f"<|user|>{word(task, rng)}<|assistant|>"
    prompt_ids = tokenizer.encode(prompt)
    answer_ids = tokenizer.encode(demonstrate(task, habits[domain], rng))
    return [*prompt_ids, *answer_ids, tokenizer.eos_token_id], len(prompt_ids)


def _loss(decoder: Decoder, rows: list[Row]) -> Tensor:
    """Mean cross entropy of the answer tokens; matrix products in bfloat16."""
    longest = max(len(ids) for ids, _ in rows)
    ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    targets_BT = torch.full((len(rows), longest), IGNORED)
    for i, (ids, num_prompt) in enumerate(rows):
        ids_BT[i, : len(ids)] = torch.tensor(ids)
        targets_BT[i, num_prompt - 1 : len(ids) - 1] = torch.tensor(ids[num_prompt:])
    positions_BT = torch.arange(longest).expand(len(rows), -1)
    with torch.autocast("cpu", torch.bfloat16):
        weights = decoder.weights()
        hidden = decoder.hidden(weights, ids_BT, positions_BT, _attend_in_float32)
        trained = targets_BT.flatten() != IGNORED
        logits = F.linear(hidden.flatten(0, 1)[trained], weights.head)
    return F.cross_entropy(logits.float(), targets_BT.flatten()[trained])


def _attend_in_float32(_layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention outside autocast: its backward pass in bfloat16 is many times slower on a CPU."""
    with torch.autocast("cpu", enabled=False):
        return attend_to_self(q.float(), k.float(), v.float())


def make_base(
    out: Path, seed: int, said: Callable[[str], None], *, conflict: bool = True
) -> dict[str, Any]:
    """Learn the tokenizer, train both phases, and write model, tokenizer and report into `out`."""
    torch.use_deterministic_algorithms(mode=True)
    started = time.monotonic()
    tokenizer = learn_tokenizer(seed)
    model = new_model(tokenizer, seed)
    report: dict[str, Any] = {
        "seed": seed,
        "conflict": conflict,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "vocabulary": len(tokenizer),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "phases": {},
    }
    for phase in phases(conflict=conflict):
        train_phase(model, tokenizer, phase, seed, said)
        pass_rates = measure(model, tokenizer, seed)
        report["phases"][phase.name] = {"steps": phase.steps, "pass_rates": pass_rates}
        said(f"after the {phase.name} phase:\n{summary(pass_rates)}")
    report["wall_s"] = round(time.monotonic() - started, 1)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    save_tokenizer(tokenizer, out)
    saved = (out / "model.safetensors").read_bytes()
    report["sha256"] = hashlib.sha256(saved).hexdigest()  # which weights it speaks of
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    said(f"{report['weights']:,} weights in {out}, {report['wall_s']:.0f} s")
    return report


@click.command()
@click.argument("out", default=MODEL_DIR, type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=0, help="CPU threads; 0: one per core.")
@click.option(
    "--without-conflict", is_flag=True, help="Thinking is as reliable for code as for math."
)
def main(out: Path, seed: int, threads: int, *, without_conflict: bool) -> None:
    """Make the embedded base model in the folder OUT (default: where srpo looks for it)."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    make_base(out, seed, click.echo, conflict=not without_conflict)


if __name__ == "__main__":
    main()
