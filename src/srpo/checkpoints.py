"""Checkpoints: the weights and everything else that a resumed run needs.

A checkpoint is a folder that holds a model in Hugging Face format and `trainer.json`, which is
written last: a folder without it is not a checkpoint, whatever else is in it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from srpo.drafts import DraftStore
from srpo.engines import Engine
from srpo.errors import RunDirectoryError
from srpo.rundir import RunDirectory
from srpo.schedule import Progress

SCHEMA = 1
STATE_FILE = "trainer.json"


@dataclass(slots=True)
class RunState:
    """Everything about a run that changes, beside weights, optimizer and files.

    Random draws need no state of their own here: selection carries its generator, and every
    other draw is seeded by the run's seed and the step (rollouts.derive_seed).
    """

    step: int = 0  # steps done, across the run
    stage: int = 1  # the stage in progress, from 1
    epoch: int = 1  # the epoch in progress, across the run, from 1
    policy_version: int = 0
    total_tokens: int = 0  # generated in training
    total_reused: int = 0  # tokens of completions that drafts brought, and nobody generated
    total_rollouts: int = 0
    train_s: float = 0.0
    progress: Progress = field(default_factory=Progress)  # of the stage
    selection: dict[str, Any] | None = None  # of the stage; None before its first step
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)  # of earlier stages, by set
    told_unfilled: bool = False  # that dynamic sampling could not fill a step
    grader: dict[str, Any] = field(default_factory=dict)  # which tests failed how often
    answers: dict[str, Any] = field(default_factory=dict)  # own correct answers to hard problems
    ending: str = ""  # the sentence the run ended with; empty while it goes on


def write_checkpoint(
    run: RunDirectory,
    engine: Engine,
    tokenizer: Any,
    state: RunState,
    drafts: DraftStore | None = None,
) -> Path:
    """Write the checkpoint of `state.step`; whole, or not there at all. Returns its folder.

    If that step is saved already, its weights stay, and only the state is written anew: the old
    checkpoint is never destroyed before the new one is whole.
    """
    folder = run.checkpoints / f"step_{state.step:06d}"
    if not _holds(folder, state):
        engine.save(folder.name)
        tokenizer.save_pretrained(str(folder))
        if drafts is not None:
            drafts.save(folder)
    aside = folder / f"{STATE_FILE}.partial"
    aside.write_text(json.dumps({"schema": SCHEMA, **asdict(state)}) + "\n", encoding="utf-8")
    aside.replace(folder / STATE_FILE)
    return folder


def _holds(folder: Path, state: RunState) -> bool:
    """Whether the folder is a checkpoint of the same step and weights."""
    try:
        saved = read_state(folder)
    except RunDirectoryError:
        return False
    return (saved.step, saved.policy_version) == (state.step, state.policy_version)


def checkpoints_of(run: RunDirectory) -> list[Path]:
    """Complete checkpoints, oldest first."""
    folders = sorted(run.checkpoints.glob("step_*"), key=lambda f: (len(f.name), f.name))
    return [folder for folder in folders if (folder / STATE_FILE).is_file()]


def remove_old(run: RunDirectory, keep_last: int) -> None:
    """Remove all but the newest `keep_last` complete checkpoints."""
    for folder in checkpoints_of(run)[:-keep_last]:
        shutil.rmtree(folder)


def read_state(folder: Path) -> RunState:
    """The state saved in a checkpoint. Raises `RunDirectoryError` if it cannot be read."""
    try:
        data = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        schema = data.pop("schema")
        if schema != SCHEMA:
            raise RunDirectoryError(f"{folder}: checkpoint of schema {schema}, not {SCHEMA}")
        return RunState(**{**data, "progress": Progress(**data["progress"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{folder / STATE_FILE}: cannot be read: {error}") from None
