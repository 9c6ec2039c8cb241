"""Rewards to advantages, one small function a formula. Plain numbers in, plain numbers out.

G: the rollouts of a group; T: the tokens of one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

EPS = 1e-6


def grpo_advantages(rewards_G: Sequence[float | None], eps: float = EPS) -> list[float]:
    """GRPO's advantages of one group: (reward - mean) / (std + eps), std over the group itself.

    DeepSeekMath (arXiv 2402.03300), section 4.1.2; SRPO (2504.14286) uses it unchanged. The std
    is that of the population (divided by n; the papers leave this open). A reward of None (not
    gradable) gets 0.0 and leaves mean and std alone.

    Whether a group has a signal is decided on the reward values, not on a float std: equal
    rewards, a single gradable reward, and an empty group all give zeros.

    >>> grpo_advantages([1.0, 0.0, 0.0, None], eps=0.0)
    [1.414..., -0.707..., -0.707..., 0.0]
    """
    known = _differing(rewards_G)
    if not known:
        return [0.0] * len(rewards_G)
    mean = math.fsum(known) / len(known)
    std = math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / len(known))
    return [0.0 if reward is None else (reward - mean) / (std + eps) for reward in rewards_G]


def dr_grpo_advantages(rewards_G: Sequence[float | None]) -> list[float]:
    """Dr. GRPO's advantages of one group: reward - mean, without the division by the std.

    "Understanding R1-Zero-Like Training" (arXiv 2503.20783): dividing by the std gives more
    weight to problems that are nearly always or nearly never solved, whose std is small. None,
    equal rewards, a single gradable reward and an empty group are as in `grpo_advantages`.

    >>> dr_grpo_advantages([1.0, 0.0, 0.0, 0.0, None])
    [0.75, -0.25, -0.25, -0.25, 0.0]
    """
    known = _differing(rewards_G)
    if not known:
        return [0.0] * len(rewards_G)
    mean = math.fsum(known) / len(known)
    return [0.0 if reward is None else reward - mean for reward in rewards_G]


def kl_penalties(
    policy_logprobs_T: Sequence[float], reference_logprobs_T: Sequence[float], weight: float
) -> list[float]:
    """What the KL to the reference adds to each token's advantage: -weight * (log pi - log ref).

    Both logprobs are of the same tokens, which the policy drew, at the same temperature. Where
    they are equal the term is zero. Raises `ValueError` if the lengths differ.

    It is added AFTER a group's rewards have become advantages. As a part of the rewards it would
    be normalised with them: where all answers have the same reward, the noise of the KL would be
    all the difference there is, and the division by its std would blow it up to a signal of
    unit size, in just the groups that should say nothing.

    DeepSeekMath (arXiv 2402.03300) has the KL in the loss instead, with the estimator
    k3 = ref/pi - log(ref/pi) - 1 at each token. Same: one term a token, averaged like the
    policy's own term, blind to what a token does to later ones, and equal to first order while
    policy and reference are close. Different: here the expected gradient is that of KL(pi || ref)
    at each token; the gradient of k3, differentiated in the loss, is in expectation that of
    KL(ref || pi), with more noise where the policy has left the reference's likely tokens. And
    the term is part of the advantage here, so that it is clipped with it.

    tinker-cookbook's `incorporate_kl_penalty` is the same term less its mean over the batch,
    a baseline, which changes no expectation.

    >>> kl_penalties([-1.0, -2.0], [-1.5, -2.0], weight=0.5)
    [-0.25, -0.0]
    """
    pairs = zip(policy_logprobs_T, reference_logprobs_T, strict=True)
    return [-weight * (policy - reference) for policy, reference in pairs]


def _differing(rewards_G: Sequence[float | None]) -> list[float]:
    """The rewards that are known, if any two of them differ; else none."""
    known = [reward for reward in rewards_G if reward is not None]
    return known if len(set(known)) > 1 else []
