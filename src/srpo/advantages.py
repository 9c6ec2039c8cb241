"""Rewards to advantages. Plain numbers in, plain numbers out."""

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
    known = [reward for reward in rewards_G if reward is not None]
    if len(set(known)) < 2:
        return [0.0] * len(rewards_G)
    mean = math.fsum(known) / len(known)
    std = math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / len(known))
    return [0.0 if reward is None else (reward - mean) / (std + eps) for reward in rewards_G]
