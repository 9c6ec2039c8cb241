"""Graded groups to data: advantages are set, and the loss's averaging is folded into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from srpo.advantages import dr_grpo_advantages, grpo_advantages, kl_penalties
from srpo.config import StageConfig
from srpo.config.method import LossConfig
from srpo.subsets import with_subset
from srpo.types import Datum, Group, Outcome, Rollout, Verdict

Average: TypeAlias = Literal["token", "answer", "constant"]
Over: TypeAlias = Literal["all", "mixed"]


def with_advantages(
    group: Group,
    *,
    mask_truncated: bool,
    count_truncated: bool,
    scale_by_std: bool = True,
    over: Over = "all",
) -> Group:
    """The group with advantages from its rewards.

    `mask_truncated`: truncated rollouts get advantage zero (SRPO, arXiv 2504.14286).
    `count_truncated`: their rewards still count in the group's mean and std (ours).
    `scale_by_std`: GRPO's formula; without it Dr. GRPO's (2503.20783).
    `over`: as in `counted`. Over "mixed" groups, the others get zeros even if the rest of the
    reward differs, so that what is recorded as their advantage is what they were trained with.

    A rollout that is not trained on (`srpo.subsets`) gets zero and leaves mean and std alone.
    """
    left_out = over == "mixed" and group.outcome is not Outcome.MIXED
    rewards = [
        rollout.reward
        if not left_out and _counts(rollout, count_truncated=count_truncated)
        else None
        for rollout in group.rollouts
    ]
    advantages = grpo_advantages(rewards) if scale_by_std else dr_grpo_advantages(rewards)
    rollouts = tuple(
        replace(rollout, advantage=0.0 if mask_truncated and _truncated(rollout) else advantage)
        for rollout, advantage in zip(group.rollouts, advantages, strict=True)
    )
    return replace(group, rollouts=rollouts)


def with_stage_advantages(loss: LossConfig, stage: StageConfig, group: Group) -> Group:
    """The group with advantages, as the config's loss and the stage's penalty have it."""
    mask = loss.mask_truncated and stage.reward.overlong == "mask"
    train_truncated = loss.count_truncated and not mask
    return with_advantages(
        with_subset(group, loss.subset, train_truncated=train_truncated),
        mask_truncated=mask,
        count_truncated=loss.count_truncated,
        scale_by_std=loss.scale_by_std,
        over=loss.average_over,
    )


def training_data(
    groups: Sequence[Group],
    temperature: float,
    *,
    average: Average = "token",
    over: Over = "all",
    max_tokens: int = 0,
    kl: Sequence[Sequence[float]] | None = None,
) -> list[Datum]:
    """Data whose summed loss is the step's averaged loss: the average is in the advantages.

    The average runs over the rollouts that count (`counted`). Each token's advantage is divided:

    * "token", by the tokens of all of them: the mean over tokens (SRPO; DAPO, 2503.14476);
    * "answer", by the length of its own answer and the number of answers: the mean over answers
      of each one's mean over tokens (GRPO, 2402.03300; R1-Zero);
    * "constant", by `max_tokens` and the number of answers: no answer's length plays a part
      (Dr. GRPO, 2503.20783). `max_tokens` is the longest completion allowed, at least 1.

    GRPO averages within each group first. Here every answer weighs the same, which is the same
    as long as groups have equal sizes.

    `kl` has a row for each counted rollout, in order, with a term for each token of prompt and
    completion (`kl_terms`); it is added to the advantages before they are divided. A rollout is
    left out only if no term uses it, and it still counts in the average: the update is the same
    as if it had been sent. Empty if no counted group has a signal and there is no `kl`. Raises
    `ValueError` if "constant" has no `max_tokens`, or `kl` has not one row a rollout.
    """
    if average == "constant" and max_tokens < 1:
        raise ValueError(f"a constant length must be at least 1 token, not {max_tokens}")
    rollouts = counted(groups, over)
    divisors = _divisors([len(r.tokens) for _, r in rollouts], average, max_tokens)
    if kl is None:
        return [
            _datum(group.prompt, rollout, temperature, rollout.advantage / divisor)
            for (group, rollout), divisor in zip(rollouts, divisors, strict=True)
            if rollout.tokens and rollout.advantage != 0.0
        ]
    return [
        _with_terms(_datum(group.prompt, rollout, temperature, rollout.advantage), terms, divisor)
        for (group, rollout), divisor, terms in zip(rollouts, divisors, kl, strict=True)
        if rollout.tokens and (rollout.advantage != 0.0 or any(terms))
    ]


def counted(groups: Sequence[Group], over: Over = "all") -> list[tuple[Group, Rollout]]:
    """The rollouts that an average runs over, each with its group, in order.

    They are graded and not left out of the subset that is trained on. `over`: of "all" groups of
    the step, or only of the "mixed" ones, whose answers are neither all correct nor all wrong by
    the accuracy verdict (DAPO, 2503.14476, trains on no others).
    """
    return [
        (group, rollout)
        for group in groups
        if over == "all" or group.outcome is Outcome.MIXED
        for rollout in group.rollouts
        if rollout.reward is not None and rollout.trained
    ]


def probes(groups: Sequence[Group], temperature: float, over: Over = "all") -> list[Datum]:
    """Data that train nothing: every counted rollout with advantages of zero, in order.

    An engine that is given them adds no gradient, and returns the logprobs of their tokens.
    """
    return [_datum(g.prompt, r, temperature, 0.0) for g, r in counted(groups, over)]


def kl_terms(
    data: Sequence[Datum], reference_logprobs: Sequence[Sequence[float]], weight: float
) -> list[list[float]]:
    """The KL term of every token of `probes`, for `training_data`.

    `reference_logprobs` is what the reference's engine returned for the same data. The policy's
    logprobs are the sampler's: with one update a step, it is the policy that drew the tokens.
    """
    return [
        kl_penalties(datum.sampler_logprobs, row, weight)
        for datum, row in zip(data, reference_logprobs, strict=True)
    ]


def _divisors(lengths: Sequence[int], average: Average, max_tokens: int) -> list[int]:
    """What each answer's advantages are divided by; `lengths` are those of the answers."""
    if average == "token":
        return [sum(lengths)] * len(lengths)
    if average == "answer":
        return [len(lengths) * length for length in lengths]
    return [len(lengths) * max_tokens] * len(lengths)


def _datum(prompt: Sequence[int], rollout: Rollout, temperature: float, advantage: float) -> Datum:
    before, count = len(prompt), len(rollout.tokens)
    return Datum(
        tokens=(*prompt, *rollout.tokens),
        mask=(0.0,) * before + (1.0,) * count,
        sampler_logprobs=(0.0,) * before + rollout.sampler_logprobs,
        advantages=(0.0,) * before + (advantage,) * count,
        temperature=temperature,
    )


def _with_terms(datum: Datum, terms: Sequence[float], divisor: int) -> Datum:
    advantages = (
        (advantage + term) / divisor if trained else 0.0
        for advantage, term, trained in zip(datum.advantages, terms, datum.mask, strict=True)
    )
    return replace(datum, advantages=tuple(advantages))


def _counts(rollout: Rollout, *, count_truncated: bool) -> bool:
    return rollout.trained and (count_truncated or not _truncated(rollout))


def _truncated(rollout: Rollout) -> bool:
    return rollout.verdict is Verdict.TRUNCATED
