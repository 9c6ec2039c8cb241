"""Which rollouts another grader checks as well, and what becomes of its disagreements.

The sample is drawn by hashing, not from a generator, so that a resumed run asks about the same
rollouts as one that never stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from srpo.rewards.format import split_completion
from srpo.types import Group, Json, Verdict

if TYPE_CHECKING:
    from srpo.rewards.math.second_opinion import Opinion

Question: TypeAlias = tuple[str, str, str, Verdict, str]  # as second_opinions takes them
_ASKED = (Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.TIMED_OUT)


def questions(
    groups: Sequence[Group], step: int, share: float, *, prefilled_thinking: bool
) -> list[Question]:
    """The sampled math rollouts of a step: id, gold answer, text after the thinking, and ours.

    A rollout is in the sample if the hash of its step, place and problem falls into `share`, 0 to
    1. The id is "problem/rollout". Truncated and badly formed completions are not asked about,
    nor what could not be graded, nor what a problem's own scorer checked.
    """
    found: list[Question] = []
    for i_group, group in enumerate(groups):
        gold = group.problem.answer
        if gold is None or not share or group.problem.scorer is not None:
            continue
        for i_rollout, rollout in enumerate(group.rollouts):
            drawn = _draw(f"{step}/{i_group}/{group.problem.id}/{i_rollout}") < share
            if drawn and rollout.verdict in _ASKED:
                cut = split_completion(rollout.text, prefilled_thinking=prefilled_thinking)
                id = f"{group.problem.id}/{i_rollout}"
                found.append((id, gold, cut.answer, rollout.verdict, rollout.note))
    return found


def opinion_row(step: int, opinions: Sequence[Opinion]) -> dict[str, Json]:
    """One line for the run directory: how many were asked, and every disagreement in full."""
    disagreements: list[Json] = [
        {
            "step": step,
            "rollout": opinion.id,
            "gold": opinion.gold,
            "answer": opinion.answer,
            "verdict": opinion.verdict.value,
            "reason": opinion.reason,
            "other": opinion.other.value,
            "other_reason": opinion.other_reason,
        }
        for opinion in opinions
        if opinion.disagrees
    ]
    return {"step": step, "asked": len(opinions), "disagreements": disagreements}


def _draw(text: str) -> float:
    """A number from 0 to 1 that looks random and is always the same for one text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
