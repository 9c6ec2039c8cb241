"""Problems to groups: prompts through an engine, completions back as text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from srpo.engines import Engine
from srpo.prompts import Prompter
from srpo.types import Group, Problem, Request, Rollout, Sample, Sampling


def sample_groups(
    engine: Engine,
    prompter: Prompter,
    problems: Sequence[Problem],
    group_size: int,
    how: Sampling,
    policy_version: int,
) -> list[Group]:
    """`group_size` fresh rollouts of each problem, ungraded, in order. No problems, no groups."""
    if not problems:
        return []
    prompts = [prompter.prompt_of(problem) for problem in problems]
    drawn = engine.sample(prompts, group_size, how)
    return [
        Group(problem, prompt, tuple(_rollout(prompter, s) for s in samples), policy_version)
        for problem, prompt, samples in zip(problems, prompts, drawn, strict=True)
    ]


def draw_requests(
    engine: Engine,
    prompter: Prompter,
    requests: Sequence[Request],
    how: Sampling,
    policy_version: int,
) -> list[Group]:
    """Fresh rollouts for every request, ungraded, in order: one call of the engine for each count.

    No two requests may be for the same problem.
    """
    groups: dict[str, Group] = {}
    for count in dict.fromkeys(request.count for request in requests):
        alike = [request for request in requests if request.count == count]
        problems = [request.problem for request in alike]
        drawn = sample_groups(engine, prompter, problems, count, how, policy_version)
        for request, group in zip(alike, drawn, strict=True):
            groups[group.problem.id] = replace(group, why=request.why)
    return [groups[request.problem.id] for request in requests]


def joined(groups: Sequence[Group], more: Sequence[Group]) -> list[Group]:
    """`groups` with the rollouts of `more` added: to the group of the same problem, or as new ones.

    The reason of the later request stands for the whole group, since it names the earlier one.
    """
    whole = {group.problem.id: group for group in groups}
    for group in more:
        first = whole.get(group.problem.id)
        rollouts = (*first.rollouts, *group.rollouts) if first else group.rollouts
        whole[group.problem.id] = replace(group, rollouts=rollouts)
    return list(whole.values())


def derive_seed(*parts: object) -> int:
    """A seed below 2^63 that depends on every part; the same parts give the same seed.

    Each draw of a run has its own seed, named by what it is for. A resumed run needs no generator
    state of an engine: the names come again.
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _rollout(prompter: Prompter, sample: Sample) -> Rollout:
    return Rollout(
        tokens=sample.tokens,
        text=prompter.completion_text(sample),
        sampler_logprobs=sample.logprobs,
        stop_reason=sample.stop_reason,
    )
