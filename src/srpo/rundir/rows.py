"""What stands in a run's files line by line: how a line is written, read, and cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srpo.errors import RunDirectoryError
from srpo.types import Group

SCHEMA = 1


def line_of(row: Mapping[str, object]) -> str:
    """One row as a line of JSON."""
    return json.dumps(row, separators=(",", ":")) + "\n"


def whole_lines(path: Path) -> Iterator[str]:
    """The lines of a file; none if there is no file.

    A last line without its end is still being written, or was when the process died: left out.
    """
    try:
        if not path.exists():
            return
        with path.open("rb") as file:  # no other separator ends a line, though texts have some
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield _decoded(path, number, line)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error.strerror}") from None


def is_half_written(path: Path) -> bool:
    """Whether a file ends in the middle of a line; False if there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return size > 0 and file.read() != b"\n"
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error.strerror}") from None


def read_rows(
    path: Path, key: str = "", check: Callable[[dict[str, Any]], None] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """The rows of a file, in order; each has an integer `key`, if one is named, and passes `check`.

    Raises `RunDirectoryError` for a line that is damaged.
    """
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            row = dict(json.loads(line))
            if key and not isinstance(row[key], int):
                raise TypeError
            check(row)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _damaged(path, number) from None
        yield row


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise _damaged(path, number) from None


def _damaged(path: Path, number: int) -> RunDirectoryError:
    return RunDirectoryError(f"{path}: line {number} is damaged; put back a copy of the file")


def rollout_lines(groups: Iterable[Group]) -> Iterator[str]:
    """One line a rollout, in the order of the groups."""
    for group in groups:
        for row in _rollout_rows(group):
            yield json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


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
