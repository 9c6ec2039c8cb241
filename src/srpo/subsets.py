"""Train on the most varied rollouts of a group only (PODS, arXiv 2504.13818)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from srpo.types import Group, Verdict


def most_varied(rewards: Sequence[float], count: int) -> list[int]:
    """Positions of the `count` rewards whose variance is greatest, in ascending order.

    PODS (arXiv 2504.13818), max-variance down-sampling: a set of greatest variance consists of
    the k highest and the count - k lowest rewards for some k, so after sorting only count + 1
    sets have to be looked at: O(G log G). Sums are exact fractions, so that equal variances are
    seen to be equal: then fewest of the high rewards are taken. Of equal rewards the earlier
    come first. All positions, if there are no more than `count`.

    >>> most_varied([0.0, 1.0, 0.0, 0.0, 0.5, 1.0], 4)
    [0, 1, 2, 5]
    """
    if len(rewards) <= count:
        return list(range(len(rewards)))
    rising = sorted(range(len(rewards)), key=lambda i: (rewards[i], i))
    falling = sorted(range(len(rewards)), key=lambda i: (-rewards[i], i))
    num_high = _best_split([Fraction(rewards[i]) for i in rising], count)
    high = falling[:num_high]
    low = [i for i in rising if i not in set(high)][: count - num_high]
    return sorted([*high, *low])


def with_subset(group: Group, count: int, *, train_truncated: bool = True) -> Group:
    """The group with `trained` false for all rollouts but the `count` most varied in reward.

    The choice comes before the advantages, which are then those of the chosen among themselves
    (`srpo.batching.with_advantages`), as in the code that the paper's authors published: there
    mean and std are taken of the chosen rewards.

    What could not be graded is never chosen. `train_truncated`: truncated answers may get an
    advantage, so they are chosen like others. Otherwise the choice is made among the others, and
    truncated ones only take the places that these leave empty: there they can count in the
    group's mean, and nothing that could be trained on makes room for them (ours).

    Of equal rewards an answer that was not truncated is preferred, then the earlier one. A group
    with no more than `count` gradable rollouts stays as it is, and so does every group if `count`
    is 0.
    """
    gradable = [i for i, rollout in enumerate(group.rollouts) if rollout.reward is not None]
    if not count or len(gradable) <= count:
        return group
    gradable.sort(key=lambda i: _truncated(group, i))  # stable
    able = [i for i in gradable if train_truncated or not _truncated(group, i)]
    rewards = [group.rollouts[i].reward or 0.0 for i in able]
    chosen = [able[position] for position in most_varied(rewards, count)]
    others = [i for i in gradable if i not in set(able)]
    kept = {*chosen, *others[: count - len(chosen)]}
    rollouts = (replace(r, trained=i in kept) for i, r in enumerate(group.rollouts))
    return replace(group, rollouts=tuple(rollouts))


def _truncated(group: Group, i: int) -> bool:
    return group.rollouts[i].verdict is Verdict.TRUNCATED


def _best_split(rising: Sequence[Fraction], count: int) -> int:
    """How many of the highest to take, and the rest from the lowest, for the greatest variance."""
    total, squares = sum(rising[:count]), sum(x * x for x in rising[:count])
    best, best_spread = 0, count * squares - total * total  # count^2 times the variance
    for num_high in range(1, count + 1):
        into, out = rising[-num_high], rising[count - num_high]
        total += into - out
        squares += into * into - out * out
        spread = count * squares - total * total
        if spread > best_spread:
            best, best_spread = num_high, spread
    return best
