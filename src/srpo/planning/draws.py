"""What is asked of the sampler at once: by a step, by the probe, and by an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from srpo.config import Config
from srpo.evaluation import PROBLEMS_AT_ONCE
from srpo.prefixes import longest_prompt
from srpo.run.problem_sets import used_sets


@dataclass(frozen=True, slots=True)
class Draw:
    """One call of the sampler, at most: so many problems, each as long as it may be.

    >>> Draw(problems=3, rows=12, prompt=512, completion=24).nucleus
    False
    """

    problems: int
    rows: int  # completions of all of them
    prompt: int  # tokens
    completion: int  # tokens
    nucleus: bool = False  # drawn from a part of the distribution (top_p)


def draws(config: Config) -> Iterator[Draw]:
    """The largest draw of each kind: of every stage's steps, of the probe, and of an evaluation."""
    probed: set[str] = set()
    for number, stage in enumerate(config.stage, start=1):
        completion, nucleus = stage.max_completion_tokens, stage.top_p < 1
        prompt, count = longest_prompt(config, number), stage.problems_per_step
        yield Draw(count, count * stage.group_size, prompt, completion, nucleus)
        new = stage.drawn.keys() - probed
        if config.probe.problems and new:  # one set after the other, as its first stage has it
            count, prompt = config.probe.problems, stage.max_prompt_tokens
            yield Draw(count, count * stage.group_size, prompt, completion, nucleus)
            probed |= new
    sets = [config.sets[name] for name in used_sets(config)]
    held_out = max(sum(of.holdout for of in sets), sum(of.validation for of in sets))
    count = min(held_out, PROBLEMS_AT_ONCE)
    if count and config.evaluation.samples:
        prompt = max(stage.max_prompt_tokens for stage in config.stage)
        completion = config.stage[-1].max_completion_tokens
        yield Draw(count, count * config.evaluation.samples, prompt, completion)
