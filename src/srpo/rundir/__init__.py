"""The run directory: the one module that knows its file names.

    RUN/config.toml                    the resolved config: the only place a number lives
    RUN/environment.json               versions, machine, device, hashes of the problem sets
    RUN/attempts.jsonl                 one line each time the run was begun or gone on with
    RUN/lock                           held by the process that trains
    RUN/history.jsonl                  what another run's ledger knew at the start: a line an epoch
    RUN/metrics.jsonl                  one line a step: nothing in it depends on the clock
    RUN/times.jsonl                    one line a step: its seconds, phase by phase
    RUN/rollouts/epoch_001/step_000012.jsonl   one line a rollout
    RUN/ledger.sqlite                  the prompt ledger
    RUN/checkpoints/step_000040/       model, tokenizer and config in Hugging Face format,
                                       optimizer.safetensors, trainer.json (state and checksums)
    RUN/evaluations.jsonl              one line an evaluation on held-out problems
    RUN/second_opinions.jsonl          one line a step in which another grader was asked
    RUN/set_aside/attempt_001/         what an attempt did after the checkpoint that the next one
                                       began at: the same names, ledger.jsonl for its ledger rows
    RUN/faults/step_000012.jsonl       the rollouts of a step whose numbers were not finite
    RUN/report.json, report.txt, curve.png     written at the end

Everything may be read while the run goes on. Two runs of the same config on the same machine are
equal byte by byte but for environment.json, attempts.jsonl, lock and times.jsonl (and the pages of
ledger.sqlite, though not its rows).
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srpo.errors import RunDirectoryError
from srpo.rundir.disk import Disk
from srpo.rundir.rows import line_of, read_rows, rollout_lines
from srpo.rundir.shapes import (
    check_environment,
    check_evaluation,
    check_metrics,
    check_opinions,
    check_times,
)
from srpo.types import Group

LOCK = "lock"
STEP_NAME = re.compile(r"step_(\d+)(?:\.jsonl)?")  # of a checkpoint, or of a file of rollouts


class RunDirectory:
    """The files of one run. `disk` is what all writes go through."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.root = root
        self.disk = disk or Disk()
        self.config = root / "config.toml"
        self.environment = root / "environment.json"
        self.attempts = root / "attempts.jsonl"
        self.lock = root / LOCK
        self.history = root / "history.jsonl"
        self.metrics = root / "metrics.jsonl"
        self.times = root / "times.jsonl"
        self.evaluations = root / "evaluations.jsonl"
        self.opinions = root / "second_opinions.jsonl"
        self.rollouts = root / "rollouts"
        self.ledger = root / "ledger.sqlite"
        self.checkpoints = root / "checkpoints"
        self.set_aside = root / "set_aside"
        self.faults = root / "faults"
        self.report_json = root / "report.json"
        self.report_text = root / "report.txt"
        self.curve = root / "curve.png"

    @property
    def by_step(self) -> tuple[Path, ...]:
        """Files of lines that each belong to a step."""
        return (self.metrics, self.times, self.evaluations, self.opinions)

    @property
    def at_end(self) -> tuple[Path, ...]:
        """Files that are written when the run ends."""
        return (self.report_json, self.report_text, self.curve)

    @classmethod
    def create(
        cls,
        root: Path,
        config_toml: str,
        environment: Mapping[str, object],
        disk: Disk | None = None,
    ) -> RunDirectory:
        """Make a new run directory; its config comes last, and without it there is no run.

        Raises `RunDirectoryError` if `root` is taken (`check_new`), or cannot be made.
        """
        cls.check_new(root)
        run = cls(root, disk)
        try:
            run.rollouts.mkdir(parents=True, exist_ok=True)
            run.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{root}: cannot be written: {error.strerror}") from None
        run.disk.write(run.environment, json.dumps(environment, indent=2) + "\n")
        run.disk.write(run.config, config_toml)
        return run

    @classmethod
    def check_new(cls, root: Path) -> None:
        """Raise `RunDirectoryError` if `root` exists, unless it is empty or a run half made."""
        run = cls(root)
        begun = {run.lock.name, run.environment.name, run.rollouts.name, run.checkpoints.name}
        if not root.exists():
            return
        if not root.is_dir() or any(
            path.name.removesuffix(".partial") not in begun
            or (path.is_dir() and any(path.iterdir()))
            for path in root.iterdir()
        ):
            raise RunDirectoryError(
                f"{root}: already exists; choose another --out, or go on with --resume {root}"
            )

    @classmethod
    def open(cls, root: Path, disk: Disk | None = None) -> RunDirectory:
        """An existing run directory. Raises `RunDirectoryError` if `root` is not one."""
        run = cls(root, disk)
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
            data = dict(json.loads(self.environment.read_text(encoding="utf-8")))
            check_environment(data)
            return data
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunDirectoryError(f"{self.environment}: cannot be read: {error}") from None

    def write_history(self, epochs: Iterable[Mapping[str, tuple[int, int]]]) -> None:
        """Another run's history, epoch by epoch: problem -> (correct, gradable). Whole or not."""
        self.disk.write(self.history, "".join(line_of(epoch) for epoch in epochs))

    def read_history(self) -> Iterator[dict[str, tuple[int, int]]]:
        """What `write_history` wrote, in its order; nothing if it was never called."""
        for row in read_rows(self.history):
            yield {
                problem_id: (correct, gradable) for problem_id, (correct, gradable) in row.items()
            }

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """One more line of metrics."""
        self.disk.append(self.metrics, line_of(row))

    def append_times(self, row: Mapping[str, object]) -> None:
        """One more line of seconds."""
        self.disk.append(self.times, line_of(row))

    def append_evaluation(self, row: Mapping[str, object]) -> None:
        """One more line of held-out accuracy."""
        self.disk.append(self.evaluations, line_of(row))

    def append_opinions(self, row: Mapping[str, object]) -> None:
        """One more line of what another grader said: step, number asked, disagreements."""
        self.disk.append(self.opinions, line_of(row))

    def rollouts_of(self, step: int, epoch: int) -> Path:
        """The file of a step's rollouts."""
        return self.rollouts / f"epoch_{epoch:03d}" / f"{_step_name(step)}.jsonl"

    def checkpoint_of(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.checkpoints / _step_name(step)

    def set_aside_of(self, attempt: int) -> Path:
        """Where what an attempt did after its last checkpoint goes; the first is number 1.

        An attempt that died before it was written down counts as the first.
        """
        return self.set_aside / f"attempt_{max(1, attempt):03d}"

    def write_rollouts(self, step: int, epoch: int, groups: Iterable[Group]) -> None:
        """All rollouts of a step, one line each, in the order of the groups."""
        path = self.rollouts_of(step, epoch)
        self.disk.make_folder(path.parent)
        self.disk.write(path, "".join(rollout_lines(groups)))

    def write_fault(self, step: int, groups: Iterable[Group]) -> Path:
        """The rollouts of a step that went wrong, beside those of all steps. Returns the file."""
        path = self.faults / f"{_step_name(step)}.jsonl"
        self.disk.make_folder(self.faults)
        self.disk.write(path, "".join(rollout_lines(groups)))
        return path

    def read_metrics(self) -> list[dict[str, float | int | None]]:
        """Every whole line of metrics, in order; none if the run has not begun."""
        return list(read_rows(self.metrics, "step", check_metrics))

    def read_times(self) -> list[dict[str, float]]:
        """Every whole line of seconds, in order: step, and seconds by phase."""
        return list(read_rows(self.times, "step", check_times))

    def read_seconds(self) -> dict[int, dict[str, float]]:
        """Step -> its seconds by phase."""
        return {
            int(row["step"]): {phase: s for phase, s in row.items() if phase != "step"}
            for row in self.read_times()
        }

    def read_evaluations(self) -> list[dict[str, Any]]:
        """Every whole line of held-out accuracy, in order."""
        return list(read_rows(self.evaluations, "step", check_evaluation))

    def read_opinions(self) -> list[dict[str, Any]]:
        """Every whole line of what another grader said, in order."""
        return list(read_rows(self.opinions, "step", check_opinions))


def step_of(path: Path) -> int | None:
    """The step that a checkpoint or a file of rollouts is named after; None for other names.

    >>> step_of(Path("epoch_001/step_000012.jsonl")), step_of(Path("step_000012.jsonl.partial"))
    (12, None)
    """
    name = STEP_NAME.fullmatch(path.name)
    return int(name[1]) if name else None


def _step_name(step: int) -> str:
    return f"step_{step:06d}"


def claim_next(parent: Path, name: str) -> Path:
    """Make the folder `parent/name-001`, or of the first number that nobody has taken.

    Raises `RunDirectoryError` if it cannot be made.
    """
    for number in itertools.count(1):
        root = parent / f"{name}-{number:03d}"
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunDirectoryError(f"{root}: cannot be written: {error.strerror}") from None
        return root
    raise AssertionError("numbers do not end")


def check_space(root: Path, needed_bytes: int) -> None:
    """Raises `RunDirectoryError` if the disk under `root` has less than `needed_bytes` free."""
    place = root.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise RunDirectoryError(
            f"{root}: no disk space: checkpoints need {_mib(needed_bytes)} and {_mib(free)} are "
            "free; free some space (a new run may also go elsewhere, with --out)"
        )


def _mib(size_bytes: int) -> str:
    return f"{math.ceil(size_bytes / 2**20)} MiB"
