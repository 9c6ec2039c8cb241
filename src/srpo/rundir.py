"""The run directory: the one module that knows its file names.

    RUN/config.toml                    the resolved config: the only place a number lives
    RUN/environment.json               versions, machine, device, hashes of the problem sets
    RUN/history.jsonl                  what another run's ledger knew at the start: a line an epoch
    RUN/metrics.jsonl                  one line a step
    RUN/rollouts/epoch_001/step_000012.jsonl   one line a rollout
    RUN/ledger.sqlite                  the prompt ledger
    RUN/checkpoints/step_000040/       model, tokenizer and config in Hugging Face format,
                                       optimizer.safetensors, trainer.json
    RUN/evaluations.jsonl              one line an evaluation on held-out problems
    RUN/second_opinions.jsonl          one line a step in which another grader was asked
    RUN/report.json, report.txt, curve.png     written at the end

Everything may be read while the run goes on.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srpo.errors import RunDirectoryError
from srpo.types import Group

SCHEMA = 1


class RunDirectory:
    """The files of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.toml"
        self.environment = root / "environment.json"
        self.history = root / "history.jsonl"
        self.metrics = root / "metrics.jsonl"
        self.evaluations = root / "evaluations.jsonl"
        self.opinions = root / "second_opinions.jsonl"
        self.rollouts = root / "rollouts"
        self.ledger = root / "ledger.sqlite"
        self.checkpoints = root / "checkpoints"
        self.report_json = root / "report.json"
        self.report_text = root / "report.txt"
        self.curve = root / "curve.png"

    @classmethod
    def create(
        cls, root: Path, config_toml: str, environment: Mapping[str, object]
    ) -> RunDirectory:
        """Make a new run directory.

        Raises `RunDirectoryError` if `root` exists and is not an empty folder, or cannot be made.
        """
        cls.check_new(root)
        run = cls(root)
        try:
            run.rollouts.mkdir(parents=True)
            run.checkpoints.mkdir()
            run.config.write_text(config_toml, encoding="utf-8")
            run.environment.write_text(json.dumps(environment, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(f"{root}: cannot be written: {error.strerror}") from None
        return run

    @staticmethod
    def check_new(root: Path) -> None:
        """Raise `RunDirectoryError` if `root` exists and is not an empty folder."""
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise RunDirectoryError(
                f"{root}: already exists; choose another --out, or go on with --resume {root}"
            )

    @classmethod
    def open(cls, root: Path) -> RunDirectory:
        """An existing run directory. Raises `RunDirectoryError` if `root` is not one."""
        run = cls(root)
        if not root.is_dir():
            raise RunDirectoryError(f"{root}: no such run directory")
        if not run.config.is_file():
            raise RunDirectoryError(f"{root}: not a run directory (config.toml is missing)")
        return run

    def read_environment(self) -> dict[str, Any]:
        """What was noted when the run was made; empty if it is not made yet.

        Raises `RunDirectoryError` if it cannot be read.
        """
        if not self.environment.exists():
            return {}
        try:
            return dict(json.loads(self.environment.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunDirectoryError(f"{self.environment}: cannot be read: {error}") from None

    def write_history(self, epochs: Iterable[Mapping[str, tuple[int, int]]]) -> None:
        """Another run's history, epoch by epoch: problem -> (correct, gradable). Whole or not."""
        aside = self.history.with_suffix(".partial")
        with aside.open("w", encoding="utf-8") as file:
            for epoch in epochs:
                file.write(_line(epoch))
        aside.replace(self.history)

    def read_history(self) -> Iterator[dict[str, tuple[int, int]]]:
        """What `write_history` wrote, in its order; nothing if it was never called."""
        for row in _read_lines(self.history):
            yield {
                problem_id: (correct, gradable) for problem_id, (correct, gradable) in row.items()
            }

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """One more line of metrics."""
        _append(self.metrics, row)

    def append_evaluation(self, row: Mapping[str, object]) -> None:
        """One more line of held-out accuracy."""
        _append(self.evaluations, row)

    def append_opinions(self, row: Mapping[str, object]) -> None:
        """One more line of what another grader said: step, number asked, disagreements."""
        _append(self.opinions, row)

    def write_rollouts(self, step: int, epoch: int, groups: Iterable[Group]) -> None:
        """All rollouts of a step, one line each, in the order of the groups."""
        path = self.rollouts / f"epoch_{epoch:03d}" / f"step_{step:06d}.jsonl"
        path.parent.mkdir(exist_ok=True)
        lines = [
            json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            for group in groups
            for row in _rollout_rows(group)
        ]
        path.write_text("\n".join(lines) + "\n" if lines else "", encoding="utf-8")

    def read_metrics(self) -> list[dict[str, float | int | None]]:
        """Every whole line of metrics, in order; none if the run has not begun."""
        return list(_read_lines(self.metrics))

    def read_evaluations(self) -> list[dict[str, Any]]:
        """Every whole line of held-out accuracy, in order."""
        return list(_read_lines(self.evaluations))

    def read_opinions(self) -> list[dict[str, Any]]:
        """Every whole line of what another grader said, in order."""
        return list(_read_lines(self.opinions))

    def forget_after(self, step: int) -> None:
        """Remove the lines and rollouts of later steps, for a resumed run."""
        for path in (self.metrics, self.evaluations, self.opinions):
            kept = [row for row in _read_lines(path) if row["step"] <= step]
            if path.exists():
                aside = path.with_suffix(".partial")
                aside.write_text("".join(_line(row) for row in kept), encoding="utf-8")
                aside.replace(path)
        for path in self.rollouts.glob("epoch_*/step_*.jsonl"):
            if int(path.stem.removeprefix("step_")) > step:
                path.unlink()


def next_free(parent: Path, name: str) -> Path:
    """`parent/name-001`, or the first number that is not taken."""
    number = 1
    while (parent / f"{name}-{number:03d}").exists():
        number += 1
    return parent / f"{name}-{number:03d}"


def check_space(root: Path, needed_bytes: int) -> None:
    """Raises `RunDirectoryError` if the disk under `root` has less than `needed_bytes` free."""
    place = root.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise RunDirectoryError(
            f"{root}: no disk space: checkpoints need {_mib(needed_bytes)} and {_mib(free)} are "
            "free; free some space or choose another --out"
        )


def _mib(size_bytes: int) -> str:
    return f"{math.ceil(size_bytes / 2**20)} MiB"


def _append(path: Path, row: Mapping[str, object]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(row))
        file.flush()
        os.fsync(file.fileno())


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(row, separators=(",", ":")) + "\n"


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):  # a last line without its end is still being written
                yield json.loads(line)


def _rollout_rows(group: Group) -> Iterator[dict[str, object]]:
    for number, rollout in enumerate(group.rollouts):
        yield {
            "schema": SCHEMA,
            "problem": group.problem.id,
            "domain": group.problem.domain,
            "level": group.problem.level,
            "rollout": number,
            "policy_version": group.policy_version,
            "verdict": rollout.verdict.value if rollout.verdict else None,
            "note": rollout.note,
            "parts": rollout.parts,
            "reward": rollout.reward,
            "reward_parts": rollout.reward_parts,
            "advantage": rollout.advantage,
            "stop_reason": rollout.stop_reason,
            "text": rollout.text,
            "tokens": rollout.tokens,
            "sampler_logprobs": [round(value, 6) for value in rollout.sampler_logprobs],
        }
