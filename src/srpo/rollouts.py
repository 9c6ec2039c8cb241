"""Problems to groups: prompts through an engine, completions back as text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from srpo.config import StageConfig
from srpo.engines import Engine
from srpo.prompts import Prompter
from srpo.types import Draft, Group, Problem, Request, Rollout, Sample, Sampling


def sample_groups(
    engine: Engine,
    prompter: Prompter,
    problems: Sequence[Problem],
    group_size: int,
    how: Sampling,
    policy_version: int,
) -> list[Group]:
    """`group_size` fresh rollouts of each problem, ungraded, in order. No problems, no groups."""
    requests = [Request(problem, group_size, "") for problem in problems]
    return draw_requests(engine, prompter, requests, how, policy_version)


def draw_requests(
    engine: Engine,
    prompter: Prompter,
    requests: Sequence[Request],
    how: Sampling,
    policy_version: int,
    drafts: Callable[[Group, int], Sequence[Draft | None]] | None = None,
) -> list[Group]:
    """Fresh rollouts for every request, ungraded, in order: one call of the engine for each count.

    `drafts` gives at most so many drafts for an empty group. No two requests may be for the same
    problem.
    """
    groups: dict[str, Group] = {}
    for count in dict.fromkeys(request.count for request in requests):
        empty = [
            _empty(prompter, request, policy_version)
            for request in requests
            if request.count == count
        ]
        prompts = [group.prompt for group in empty]
        begun = [drafts(group, count) for group in empty] if drafts else None
        drawn = engine.sample(prompts, count, how, begun)
        for group, samples in zip(empty, drawn, strict=True):
            rollouts = tuple(_rollout(prompter, sample, group.prefix) for sample in samples)
            groups[group.problem.id] = replace(group, rollouts=rollouts)
    return [groups[request.problem.id] for request in requests]


def stage_sampling(stage: StageConfig, stop_ids: tuple[int, ...], seed: int) -> Sampling:
    """How a stage draws, without drafts."""
    return Sampling(
        max_tokens=stage.max_completion_tokens,
        stop_ids=stop_ids,
        seed=seed,
        temperature=stage.temperature,
        top_p=stage.top_p,
    )


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


def _empty(prompter: Prompter, request: Request, policy_version: int) -> Group:
    prompt = (*prompter.prompt_of(request.problem), *request.prefix)
    return Group(request.problem, prompt, (), policy_version, request.why, request.prefix)


def _rollout(prompter: Prompter, sample: Sample, prefix: Sequence[int]) -> Rollout:
    whole = replace(sample, tokens=(*prefix, *sample.tokens)) if prefix else sample
    return Rollout(
        tokens=sample.tokens,
        text=prompter.completion_text(whole),
        sampler_logprobs=sample.logprobs,
        stop_reason=sample.stop_reason,
        num_reused=sample.num_reused,
        draft=sample.draft,
    )
