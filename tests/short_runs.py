"""Runs of a few steps on the scripted engine, whose right answer is always 7."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from srpo.config import Config
from srpo.embedded import MODEL_DIR
from srpo.engines import ModelOpener, OpenModel
from srpo.engines.scripted import ScriptedEngine
from srpo.run.figures import StepFigures
from srpo.run.watcher import Silent

RIGHT, WRONG = "<think>x</think>\\boxed{7}", "<think>x</think>\\boxed{8}"


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[StepFigures] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, figures: StepFigures) -> None:
        self.steps.append(figures)


def problem_file(folder: Path, count: int) -> Path:
    path = folder / "p.jsonl"
    rows = [
        {"domain": "math", "statement": f"What is {n} + 0?", "answer": "7"} for n in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def config_of(folder: Path, *, count: int = 6, **changes: Any) -> Config:
    stage = {
        "name": "only",
        "sets": {"math": 1},
        "epochs": 20,
        "problems_per_step": 3,
        "group_size": 4,
        "max_completion_tokens": 24,
        "learning_rate": 0.1,
    }
    return Config.model_validate(
        {
            "sets": {"math": {"files": [str(problem_file(folder, count))], "domain": "math"}},
            "stage": [{**stage, **changes.pop("stage", {})}],
            "probe": {"problems": 0},
            "evaluation": {"samples": 0},
            "verifier": {"second_opinion_share": 0.0},  # it starts a server
            **changes,
        }
    )


@cache
def _tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL_DIR)


def opener(
    answers: Sequence[str], engine: Callable[..., ScriptedEngine] = ScriptedEngine
) -> ModelOpener:
    """An engine whose every prompt is answered by one of `answers`, equally often at first."""

    def open_model(config: Config, folder: Path) -> OpenModel:
        tokenizer = _tokenizer()
        end = tokenizer.eos_token_id
        completions = [(*tokenizer.encode(text), end) for text in answers]
        return OpenModel(engine({}, folder, completions), tokenizer, 1000, {})

    return open_model
