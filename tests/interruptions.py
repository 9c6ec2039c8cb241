"""Runs that are killed, and disks that fail, at any one of the moments of a training.

A moment is a phase that begins, a call of the engine, or a write: before it, half of the way
through it, or after it. All are reached through what `train` takes: watcher, engine and machine.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from srpo.config import Config
from srpo.engines import Drafts, ModelOpener
from srpo.engines.scripted import ScriptedEngine
from srpo.run.watcher import Silent
from srpo.rundir.disk import Disk, reported
from srpo.trainer import Machine, Run, train
from srpo.types import Adam, Clip, Datum, Sample, Sampling
from tests import short_runs
from tests.short_runs import RIGHT, WRONG, config_of

Meet = Callable[[str], None]


class Phases(Silent):
    """A watcher whose moments are the phases of a step."""

    def __init__(self, meet: Meet) -> None:
        self._meet = meet

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        self._meet(f"{name} begins")


class Writes(Disk):
    """A disk whose moments are its writes; an error that a moment raises is one of the disk."""

    def __init__(self, meet: Meet) -> None:
        self._meet = meet

    def at(self, moment: str, path: Path) -> None:
        with reported(path):
            self._meet(f"{moment} {path.name}")

    def append(self, path: Path, text: str) -> None:
        self.at("before append", path)
        super().append(path, text)
        self.at("after append", path)

    def write(self, path: Path, text: str) -> None:
        self.at("before write", path)
        super().write(path, text)
        self.at("after write", path)

    @contextmanager
    def filled(self, folder: Path) -> Iterator[None]:
        self.at("before fill", folder)
        with super().filled(folder):
            yield
            self.at("at the end of fill", folder)

    def commit(self, path: Path, db: sqlite3.Connection) -> None:
        self.at("before commit", path)
        super().commit(path, db)
        self.at("after commit", path)

    def sync(self, path: Path) -> None:
        if path.is_dir():  # and of files, the others
            self.at("before sync", path)
        super().sync(path)

    def rename(self, old: Path, new: Path) -> None:
        self.at("before rename", new)
        super().rename(old, new)
        self.at("after rename", new)

    def remove(self, path: Path) -> None:
        self.at("before remove", path)
        super().remove(path)


class Torn(Writes):
    """The same, but a moment comes when half of the bytes of an appended line are in the file."""

    def append(self, path: Path, text: str) -> None:
        before = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
        self.at("half of append", path)
        os.truncate(path, before)
        super().append(path, text)


class Calls(ScriptedEngine):
    """An engine whose moments are the calls of its verbs."""

    meet: Meet

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        self.meet("before sample")
        return super().sample(prompts, n, how, drafts)

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        self.meet("before forward_backward")
        return super().forward_backward(data, clip)

    def optim_step(self, how: Adam) -> dict[str, float]:
        self.meet("before optim_step")
        figures = super().optim_step(how)
        self.meet("after optim_step")
        return figures

    def save(self, name: str) -> str:
        self.meet("before save")
        saved = super().save(name)
        self.meet("after save")
        return saved


def opener(answers: Sequence[str], meet: Meet = lambda _: None) -> ModelOpener:
    """An engine of short runs, whose calls are moments."""

    def made(*given: Any) -> Calls:
        engine = Calls(*given)
        engine.meet = meet
        return engine

    return short_runs.opener(answers, made)


def two_stages(folder: Path, **changes: Any) -> Config:
    """Two epochs of two steps, then a stage of a step that begins with what is left."""
    config = config_of(folder, stage={"name": "one", "epochs": 2, "learning_rate": 0.4}, **changes)
    second = config.stage[0].model_copy(update={"name": "two", "epochs": None, "steps": 1})
    return config.model_copy(update={"stage": (config.stage[0], second)})


def begin(config: Config, out: Path, disk: type[Writes]) -> Callable[[Meet], Run]:
    """Train, with moments to meet."""
    return lambda meet: train(
        config,
        out,
        watcher=Phases(meet),
        open_model=opener([RIGHT, WRONG], meet),
        machine=Machine(disk=disk(meet)),
    )


def go_on(out: Path, disk: type[Writes]) -> Callable[[Meet], Run]:
    """Resume, with moments to meet."""
    return lambda meet: train(
        resume=out,
        watcher=Phases(meet),
        open_model=opener([RIGHT, WRONG], meet),
        machine=Machine(disk=disk(meet)),
    )


def finish(config: Config, out: Path) -> Run:
    """Go on with a run, or begin it if it was killed before there was one."""
    if not (out / "config.toml").exists():
        return train(config, out, open_model=opener([RIGHT, WRONG]))
    return train(resume=out, open_model=opener([RIGHT, WRONG]))


def disk_full() -> None:
    """What a moment does on a disk that takes no more."""
    raise OSError(errno.ENOSPC, "full")


class Once:
    """Does something at the first moment of a name, and nothing after that."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self.name, self._act, self.came = name, act, False

    def __call__(self, moment: str) -> None:
        if moment == self.name and not self.came:
            self.came = True
            self._act()


def killed_at(moment: int, work: Callable[[Meet], object]) -> str | None:
    """Let a process of its own do the work, and kill it at its `moment`-th moment, from 1.

    Returns what that moment was; None if the work was over before it came. The process waits
    there until it is killed, so it cannot clean up.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_until(moment, work, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        name = told.readline().strip()
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if name.startswith("failed"):
        raise AssertionError(name)
    return None if name == "over" else name


def _work_until(moment: int, work: Callable[[Meet], object], writing: int) -> None:
    left = moment

    def meet(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(writing, f"{name}\n".encode())
            signal.pause()

    try:
        work(meet)
        os.write(writing, b"over\n")
    except BaseException as error:  # noqa: BLE001 - told to the process that waits
        os.write(writing, f"failed: {type(error).__name__}: {error}\n".encode())
    finally:
        sys.stdout.flush()
        os._exit(0)
