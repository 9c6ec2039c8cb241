"""What stands in a run's files line by line: how a line is written, read, and cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.endswith("\n"))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, in order. Raises `RunDirectoryError` for a line that is no JSON."""
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            yield dict(json.loads(line))
        except (ValueError, TypeError):
            raise RunDirectoryError(
                f"{path}: line {number} is damaged; put back a copy of the file"
            ) from None


def rollout_lines(groups: Iterator[Group]) -> Iterator[str]:
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
