"""The last rollouts of every problem, kept as drafts for its next group (SPEC-RL, 2509.23232).

A draft is used once: two completions that began with the same one would not be independent. It is
good for the prompt it was drawn for, no other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from srpo.types import Draft, Group

DRAFT_TOP_K = 16  # likely tokens that are noted at each place of a completion, at most
FILE = "drafts.safetensors"

Tokens = tuple[int, ...]


class DraftStore:
    """Drafts by problem: those of its newest group, each given out once."""

    def __init__(self) -> None:
        self._drafts: dict[str, tuple[Tokens, list[Draft]]] = {}  # with the prompt they are for

    def __len__(self) -> int:
        """How many problems have drafts."""
        return len(self._drafts)

    def take(self, group: Group, count: int) -> list[Draft]:
        """At most `count` drafts for a group that is to be drawn; they are not given out again.

        None if its prompt is another than that of the drafts, or if it begins with a prefix.
        """
        prompt, drafts = self._drafts.get(group.problem.id, ((), []))
        if prompt != group.prompt or group.prefix:
            return []
        taken, drafts[:] = drafts[:count], drafts[count:]
        return taken

    def remember(self, groups: Iterable[Group]) -> None:
        """The drafts of a step's groups, in place of what their problems had."""
        for group in groups:
            drafts = [rollout.draft for rollout in group.rollouts if rollout.draft is not None]
            if drafts and not group.prefix:
                self._drafts[group.problem.id] = (group.prompt, drafts)

    def save(self, folder: Path) -> None:
        """Write everything into a checkpoint's folder, as one safetensors file."""
        held = [(i, *pair) for i, pair in self._drafts.items() if pair[1]]
        drafts = [draft for _, _, of_problem in held for draft in of_problem]
        arrays: dict[str, np.ndarray[Any, np.dtype[Any]]] = {
            "prompt_lengths": _ints(len(prompt) for _, prompt, _ in held),
            "prompt_tokens": _ints(token for _, prompt, _ in held for token in prompt),
            "drafts_of_problem": _ints(len(of_problem) for _, _, of_problem in held),
            "draft_lengths": _ints(len(draft.tokens) for draft in drafts),
            "draft_tokens": _ints(token for draft in drafts for token in draft.tokens),
            "top_lengths": _ints(len(row) for draft in drafts for row in draft.top_ids),
            "top_ids": _ints(i for draft in drafts for row in draft.top_ids for i in row),
            "top_logprobs": np.array(
                [value for draft in drafts for row in draft.top_logprobs for value in row],
                dtype=np.float64,
            ),
        }
        ids = json.dumps([problem_id for problem_id, _, _ in held])
        save_file(arrays, folder / FILE, metadata={"problems": ids})

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; nothing is known if the folder has no such file.

        Raises `ValueError` if the file does not fit together, `OSError` if it cannot be read.
        """
        self._drafts = {}
        if not (folder / FILE).is_file():
            return
        with safe_open(folder / FILE, framework="numpy") as file:
            ids = json.loads(file.metadata()["problems"])
            names = list(file.keys())
            read: dict[str, list[Any]] = {n: file.get_tensor(n).tolist() for n in names}
        lengths = read["top_lengths"]
        top_ids = _cut(read["top_ids"], lengths)
        top_logprobs = _cut(read["top_logprobs"], lengths)
        tokens = _cut(read["draft_tokens"], read["draft_lengths"])
        rows = zip(
            tokens,
            _cut(top_ids, read["draft_lengths"]),
            _cut(top_logprobs, read["draft_lengths"]),
            strict=True,
        )
        drafts = [Draft(tuple(t), tuple(i), tuple(p)) for t, i, p in rows]
        by_problem = _cut(drafts, read["drafts_of_problem"])
        prompts = _cut(read["prompt_tokens"], read["prompt_lengths"])
        for problem_id, prompt, of_problem in zip(ids, prompts, by_problem, strict=True):
            self._drafts[problem_id] = (tuple(prompt), list(of_problem))


def _ints(values: Iterable[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.fromiter(values, dtype=np.int32)


def _cut(values: Sequence[Any], lengths: Sequence[int]) -> list[tuple[Any, ...]]:
    """`values` in pieces of these lengths. Raises `ValueError` if they are not as long together."""
    ends = [0, *accumulate(lengths)]
    if ends[-1] != len(values):
        raise ValueError(f"drafts: {len(values)} values for lengths that sum to {ends[-1]}")
    return [tuple(values[start:end]) for start, end in pairwise(ends)]
