"""One-line builders for tests."""

from __future__ import annotations

from collections.abc import Sequence

from srpo.types import CodeCase, FunctionCase, Group, Problem, Rollout, Verdict


def math_problem(statement: str = "What is 2 + 2?", answer: str = "4", id: str = "m1") -> Problem:
    return Problem(id=id, domain="math", statement=statement, answer=answer)


def code_problem(
    cases: Sequence[CodeCase] = (FunctionCase("add", (1, 2), 3),),
    statement: str = "Write add(a, b).",
    id: str = "c1",
) -> Problem:
    return Problem(id=id, domain="code", statement=statement, tests=tuple(cases))


def rollout(
    verdict: Verdict | None = None,
    *,
    text: str = "",
    reward: float | None = None,
    tokens: Sequence[int] = (5, 2),
    stop_reason: str = "stop",
) -> Rollout:
    return Rollout(
        tokens=tuple(tokens),
        text=text,
        sampler_logprobs=(-0.5,) * len(tokens),
        stop_reason="length" if stop_reason == "length" else "stop",
        verdict=verdict,
        reward=reward,
    )


RIGHT = rollout(Verdict.CORRECT, reward=1.0)
WRONG = rollout(Verdict.WRONG, reward=0.0)
CUT = rollout(Verdict.TRUNCATED, reward=0.0, stop_reason="length")
BROKEN = rollout(Verdict.INFRA_ERROR)


def group_of(*rollouts: Rollout, problem: Problem | None = None) -> Group:
    return Group(
        problem=problem or math_problem(), prompt=(7, 8), rollouts=rollouts, policy_version=0
    )


def group(rewards: Sequence[float], problem: Problem | None = None) -> Group:
    """Rewards of 1.0 and above are correct answers, others wrong ones."""
    rollouts = (
        rollout(Verdict.CORRECT if value >= 1.0 else Verdict.WRONG, reward=value)
        for value in rewards
    )
    return group_of(*rollouts, problem=problem)
