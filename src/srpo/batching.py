"""Graded groups to data: advantages are set, and the loss's averaging is folded into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from srpo.advantages import grpo_advantages
from srpo.types import Datum, Group, Rollout, Verdict


def with_advantages(group: Group, *, mask_truncated: bool, count_truncated: bool) -> Group:
    """The group with GRPO advantages from its rewards.

    `mask_truncated`: truncated rollouts get advantage zero (SRPO, arXiv 2504.14286).
    `count_truncated`: their rewards still count in the group's mean and std (ours).
    """
    rewards = [
        None if _truncated(rollout) and not count_truncated else rollout.reward
        for rollout in group.rollouts
    ]
    advantages = grpo_advantages(rewards)
    rollouts = tuple(
        replace(rollout, advantage=0.0 if mask_truncated and _truncated(rollout) else advantage)
        for rollout, advantage in zip(group.rollouts, advantages, strict=True)
    )
    return replace(group, rollouts=rollouts)


def token_mean_data(groups: Sequence[Group], temperature: float) -> list[Datum]:
    """One datum for each rollout with an advantage; their sum is the mean over all tokens.

    Token-level loss (SRPO, 2504.14286; DAPO, 2503.14476): the mean runs over the completion
    tokens of all gradable rollouts of the step. Rollouts whose advantage is zero add nothing to
    the gradient, so they are left out here but stay in the denominator: the update is the same
    as if all had been sent. Empty if no group has a signal.
    """
    num_tokens = sum(len(r.tokens) for g in groups for r in g.rollouts if r.reward is not None)
    return [
        _datum(group.prompt, rollout, rollout.advantage / num_tokens, temperature)
        for group in groups
        for rollout in group.rollouts
        if rollout.advantage != 0.0
    ]


def _datum(prompt: Sequence[int], rollout: Rollout, advantage: float, temperature: float) -> Datum:
    before, count = len(prompt), len(rollout.tokens)
    return Datum(
        tokens=(*prompt, *rollout.tokens),
        mask=(0.0,) * before + (1.0,) * count,
        sampler_logprobs=(0.0,) * before + rollout.sampler_logprobs,
        advantages=(0.0,) * before + (advantage,) * count,
        temperature=temperature,
    )


def _truncated(rollout: Rollout) -> bool:
    return rollout.verdict is Verdict.TRUNCATED
