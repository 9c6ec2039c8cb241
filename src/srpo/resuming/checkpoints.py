"""Checkpoints: the weights and everything else that a resumed run needs.

A checkpoint is a folder that holds a model in Hugging Face format and `trainer.json`, which has
the state of the run and a checksum of every file. It is written aside, flushed to disk, and then
renamed, so that a folder of its name is whole; if it has been damaged since, its sums say so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srpo.drafts import DraftStore
from srpo.engines import Engine
from srpo.errors import RunDirectoryError
from srpo.run.state import RunState
from srpo.rundir import RunDirectory, step_of
from srpo.rundir.disk import Disk
from srpo.schedule import Progress

SCHEMA = 3
STATE_FILE = "trainer.json"
Sums = dict[str, str]  # file name -> SHA-256 of its bytes


def write_checkpoint(
    run: RunDirectory,
    engine: Engine,
    tokenizer: Any,
    state: RunState,
    drafts: DraftStore | None = None,
) -> Path:
    """Write the checkpoint of `state.step`; whole, or not there at all. Returns its folder.

    If that step is saved already, its weights stay, and only the state is written anew: the old
    checkpoint is never destroyed before the new one is whole. Raises `FaultError` if it cannot be
    written.
    """
    folder = run.checkpoint_of(state.step)
    sums = _sums_if_same(folder, state)
    if sums is not None:
        run.disk.write(folder / STATE_FILE, state_text(state, sums))
        return folder
    aside = folder.with_name(f".{folder.name}.partial")
    with run.disk.filled(aside):
        engine.save(aside.name)
        tokenizer.save_pretrained(str(aside))
        if drafts is not None:
            drafts.save(aside)
        sums = _on_disk(aside, run.disk)
        run.disk.write(aside / STATE_FILE, state_text(state, sums))
    if folder.exists():  # of other weights, or half removed
        old = folder.with_name(f".{folder.name}.old")
        run.disk.remove(old)
        run.disk.rename(folder, old)
    run.disk.rename(aside, folder)
    return folder


def checkpoints_of(run: RunDirectory) -> list[Path]:
    """Folders with the name of a checkpoint, oldest first; whole, if nobody damaged them.

    Empty if the folder of all is not there. Raises `RunDirectoryError` if it cannot be read.
    """
    return list(_by_step(run).values())


def _by_step(run: RunDirectory) -> dict[int, Path]:
    try:
        paths = list(run.checkpoints.iterdir())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunDirectoryError(f"{run.checkpoints}: cannot be read: {error.strerror}") from None
    found = {step: path for path in paths if (step := step_of(path)) is not None}
    return dict(sorted(found.items()))


def newest_whole(run: RunDirectory) -> tuple[Path | None, dict[Path, str]]:
    """The newest checkpoint that is whole, and the newer ones, with what is wrong with each."""
    damaged: dict[Path, str] = {}
    for folder in reversed(checkpoints_of(run)):
        wrong = damage_of(folder)
        if wrong is None:
            return folder, damaged
        damaged[folder] = wrong
    return None, damaged


def damage_of(folder: Path) -> str | None:
    """What is wrong with a checkpoint, in words; None if every byte is as it was written."""
    try:
        state, sums = _read(folder)
    except RunDirectoryError as error:
        return str(error)
    if state.step != step_of(folder):
        return f"{folder}: holds the state of step {state.step}"
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: missing"
        try:
            found = _sum(path)
        except OSError as error:
            return f"{path}: cannot be read: {error.strerror}"
        if found != expected:
            return f"{path}: damaged, its checksum is another"
    return None


def remove_old(run: RunDirectory, keep_last: int, keep_every: int = 0) -> None:
    """Remove all but the newest `keep_last` checkpoints and those of every `keep_every` steps.

    What a killed process has left half written or half removed goes as well.
    """
    for step, folder in list(_by_step(run).items())[:-keep_last]:
        if not keep_every or step % keep_every:
            # renamed first, so that what is left of it half of the way is no checkpoint
            run.disk.rename(folder, folder.with_name(f".{folder.name}.old"))
    for left in sorted(run.checkpoints.glob(".step_*")):
        run.disk.remove(left)


def read_state(folder: Path) -> RunState:
    """The state saved in a checkpoint. Raises `RunDirectoryError` if it cannot be read."""
    return _read(folder)[0]


def newest_state(run: RunDirectory) -> RunState | None:
    """The newest state that can be read, without a look at the weights; None if there is none."""
    for folder in reversed(checkpoints_of(run)):
        try:
            return read_state(folder)
        except RunDirectoryError:
            continue
    return None


def _read(folder: Path) -> tuple[RunState, Sums]:
    path = folder / STATE_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise RunDirectoryError(
                f"{folder}: checkpoint of schema {data['schema']}, not {SCHEMA}"
            )
        if data["sha256"] != _sum_of({"files": data["files"], "state": data["state"]}):
            raise RunDirectoryError(f"{path}: damaged, its checksum is another")
        state = data["state"]
        return RunState(**{**state, "progress": Progress(**state["progress"])}), data["files"]
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from None


def state_text(state: RunState, sums: Sums) -> str:
    """What trainer.json holds."""
    held = {"files": sums, "state": asdict(state)}
    return json.dumps({"schema": SCHEMA, "sha256": _sum_of(held), **held}) + "\n"


def _sums_if_same(folder: Path, state: RunState) -> Sums | None:
    """The sums of a folder that is a checkpoint of the same step and weights; else None."""
    try:
        saved, sums = _read(folder)
    except RunDirectoryError:
        return None
    same = (saved.step, saved.policy_version) == (state.step, state.policy_version)
    return sums if same else None


def _on_disk(folder: Path, disk: Disk) -> Sums:
    """Flush every file and the folder to disk, and sum the bytes up meanwhile."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(max_workers=4) as pool:
        flushed = [pool.submit(disk.sync, path) for path in paths]
        sums = {path.relative_to(folder).as_posix(): _sum(path) for path in paths}
        for done in flushed:
            done.result()
    disk.sync(folder)
    return sums


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum_of(held: Mapping[str, Any]) -> str:
    """Of what is held as it is read back: JSON has no tuples, and only text keys."""
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()
