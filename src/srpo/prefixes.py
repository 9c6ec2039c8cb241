"""Prefixes of own correct answers, for problems that no rollout solves any more or yet again.

PrefixRL (arXiv 2601.18795): a hard problem is drawn from part of the way along a correct answer,
where the rest is within reach; the prefix is part of the prompt and is not trained on. Here the
answers are the run's own: the newest correct completion of a problem that was seldom solved. A
group that began with a prefix says nothing about whether the policy solves the problem alone, so
selection does not learn from it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from srpo.config import Config
from srpo.types import Group, Outcome, Request, Verdict

SELDOM = 0.5  # an answer is remembered if no more than this share of its group was correct
SHARES = (0.25, 0.5, 0.75)  # of the answer's tokens; which of them is drawn anew each time


def longest_prefix(config: Config, number: int) -> int:
    """The most tokens of an own answer that may follow a prompt of stage `number`, from 1.

    The answer is of that stage or of an earlier one. 0 if `reuse.prefixes` is not set.
    """
    if not config.reuse.prefixes:
        return 0
    longest = max(stage.max_completion_tokens for stage in config.stage[:number])
    return int((longest - 1) * max(SHARES))  # without its stop token


def longest_prompt(config: Config, number: int) -> int:
    """Tokens of a prompt of stage `number`, from 1, with the start of an own answer after it."""
    return config.stage[number - 1].max_prompt_tokens + longest_prefix(config, number)


class OwnAnswers:
    """What the run knows of its hard problems: a correct answer of old, and which fail now."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[int, ...]] = {}  # without the stop token
        self._unsolved: set[str] = set()  # the newest group was all wrong

    def observe(self, groups: Iterable[Group]) -> None:
        """Remember what a step's groups showed; groups that began with a prefix are left aside."""
        for group in groups:
            if group.prefix:
                continue
            problem_id = group.problem.id
            self._unsolved.discard(problem_id)
            if group.outcome is Outcome.ALL_WRONG:
                self._unsolved.add(problem_id)
            elif 0 < group.num_correct <= SELDOM * group.num_gradable:
                right = [r for r in group.rollouts if r.verdict is Verdict.CORRECT]
                self._answers[problem_id] = right[-1].tokens[:-1]
            elif group.num_correct:
                self._answers.pop(problem_id, None)  # no longer hard

    def begun(self, requests: Sequence[Request], rng: random.Random) -> list[Request]:
        """The requests, those for problems that fail now begun with part of a correct answer.

        Every other time such a problem comes it is drawn from its bare prompt, so that it is seen
        whether it is solved by now.
        """
        return [self._begun(request, rng) for request in requests]

    def state_dict(self) -> dict[str, Any]:
        """Answers and unsolved problems, as JSON."""
        answers = {i: list(tokens) for i, tokens in self._answers.items()}
        return {"answers": answers, "unsolved": sorted(self._unsolved)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._answers = {i: tuple(tokens) for i, tokens in state["answers"].items()}
        self._unsolved = set(state["unsolved"])

    def _begun(self, request: Request, rng: random.Random) -> Request:
        problem_id = request.problem.id
        answer = self._answers.get(problem_id, ())
        if problem_id not in self._unsolved or len(answer) < len(SHARES) + 1:
            return request
        self._unsolved.discard(problem_id)  # the next time it comes from its bare prompt
        length = max(1, int(len(answer) * rng.choice(SHARES)))
        why = f"{request.why}; from {length} tokens of an own answer"
        return replace(request, prefix=answer[:length], why=why)
