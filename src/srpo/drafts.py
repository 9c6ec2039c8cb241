"""The last rollouts of every problem, kept as drafts for its next group (SPEC-RL, 2509.23232).

A draft is used once: two completions that began with the same one would not be independent. It is
good for the prompt it was drawn for, no other, and for a later policy: the one that drew it would
take it over whole, and tell nothing new.

Each draw is exact if the draft was a draw of the earlier policy. What selection did with a
problem in between it did by these very rollouts: a problem that is kept because not all were
correct has drafts that are wrong more often than a fresh draw would be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from srpo.types import Draft, Group

DRAFT_TOP_K = 16  # likely tokens that are noted at each place of a completion, at most
FILE = "drafts.safetensors"

Tokens = tuple[int, ...]
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Arrays: TypeAlias = dict[str, Array]  # drafts end to end: see _packed


@dataclass(frozen=True, slots=True)
class Kept:
    """The drafts of one problem that have not been given out, a few tens of bytes a token."""

    prompt: Tokens
    policy_version: int  # of the policy that drew them
    drafts: Arrays


class DraftStore:
    """Drafts by problem: those of its newest group, each given out once."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        """How many problems have drafts."""
        return len(self._kept)

    def copy(self) -> DraftStore:
        """A store with the same drafts; what either gives out, the other still has."""
        other = DraftStore()
        other._kept = dict(self._kept)
        return other

    def take(self, group: Group, count: int) -> list[Draft]:
        """At most `count` drafts for a group that is to be drawn; they are not given out again.

        None if its prompt is another than that of the drafts, if it begins with a prefix, or if
        its policy is the one that drew the drafts.
        """
        kept = self._kept.get(group.problem.id)
        if kept is None or kept.prompt != group.prompt or group.prefix:
            return []
        if kept.policy_version >= group.policy_version:
            return []
        drafts = _unpacked(kept.drafts)
        self._keep(group.problem.id, kept.prompt, kept.policy_version, drafts[count:])
        return drafts[:count]

    def remember(self, groups: Iterable[Group]) -> None:
        """The drafts of a step's groups, in place of what their problems had."""
        for group in groups:
            drafts = [rollout.draft for rollout in group.rollouts if rollout.draft is not None]
            if drafts and not group.prefix:
                self._keep(group.problem.id, group.prompt, group.policy_version, drafts)

    def save(self, folder: Path) -> None:
        """Write everything into a checkpoint's folder, as one safetensors file."""
        held = list(self._kept.values())
        drafts = [kept.drafts for kept in held] or [_packed([])]
        arrays = {
            "prompt_lengths": _ints(len(kept.prompt) for kept in held),
            "prompt_tokens": _ints(token for kept in held for token in kept.prompt),
            "policy_versions": _ints(kept.policy_version for kept in held),
            "drafts_of_problem": _ints(len(kept.drafts["draft_lengths"]) for kept in held),
            **{name: np.concatenate([each[name] for each in drafts]) for name in drafts[0]},
        }
        ids = json.dumps(list(self._kept))
        save_file(arrays, folder / FILE, metadata={"problems": ids})

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote; nothing is known if the folder has no such file.

        Raises `ValueError` if the file is damaged, `OSError` if it cannot be read.
        """
        self._kept = {}
        if not (folder / FILE).is_file():
            return
        try:
            with safe_open(folder / FILE, framework="numpy") as file:
                ids = json.loads(file.metadata()["problems"])
                read: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        except SafetensorError as error:
            raise ValueError(f"{FILE}: {error}") from None
        prompts = _cut(read["prompt_tokens"].tolist(), read["prompt_lengths"].tolist())
        drafts = _cut(_unpacked(read), read["drafts_of_problem"].tolist())
        versions = read["policy_versions"].tolist()
        for problem_id, prompt, version, own in zip(ids, prompts, versions, drafts, strict=True):
            self._keep(problem_id, tuple(prompt), version, own)

    def _keep(
        self, problem_id: str, prompt: Tokens, policy_version: int, drafts: Sequence[Draft]
    ) -> None:
        self._kept.pop(problem_id, None)
        if drafts:
            self._kept[problem_id] = Kept(prompt, policy_version, _packed(drafts))


def _packed(drafts: Sequence[Draft]) -> Arrays:
    """Drafts end to end, each array in the smallest type that holds it without loss."""
    return {
        "draft_lengths": _ints(len(draft.tokens) for draft in drafts),
        "draft_tokens": _ints(token for draft in drafts for token in draft.tokens),
        "top_lengths": _ints(len(row) for draft in drafts for row in draft.top_ids),
        "top_ids": _ints(i for draft in drafts for row in draft.top_ids for i in row),
        "top_logprobs": _floats(x for draft in drafts for row in draft.top_logprobs for x in row),
    }


def _unpacked(arrays: Arrays) -> list[Draft]:
    lengths, top_lengths = arrays["draft_lengths"].tolist(), arrays["top_lengths"].tolist()
    rows = zip(
        _cut(arrays["draft_tokens"].tolist(), lengths),
        _cut(_cut(arrays["top_ids"].tolist(), top_lengths), lengths),
        _cut(_cut(arrays["top_logprobs"].tolist(), top_lengths), lengths),
        strict=True,
    )
    return [Draft(*row) for row in rows]


def _ints(values: Iterable[int]) -> Array:
    wide = np.fromiter(values, dtype=np.int64)
    return wide.astype(np.min_scalar_type(int(wide.max(initial=0))))


def _floats(values: Iterable[float]) -> Array:
    wide = np.fromiter(values, dtype=np.float64)
    narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow, wide) else wide


def _cut(values: Sequence[Any], lengths: Sequence[int]) -> list[tuple[Any, ...]]:
    """`values` in pieces of these lengths. Raises `ValueError` if they are not as long together."""
    ends = [0, *accumulate(lengths)]
    if ends[-1] != len(values):
        raise ValueError(f"{FILE}: {len(values)} values for lengths that sum to {ends[-1]}")
    return [tuple(values[start:end]) for start, end in pairwise(ends)]
