"""The work that is timed: embedded math problems, one trivial reward, a GRPO step of srpo."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import cpu_seconds
from srpo.batching import training_data, with_advantages
from srpo.config import PromptConfig
from srpo.embedded.world import generate
from srpo.engines.local.engine import LocalEngine
from srpo.engines.local.loading import load_model, load_tokenizer
from srpo.prompts import Prompter
from srpo.rollouts import derive_seed, sample_groups
from srpo.types import Adam, Clip, Datum, Group, Problem, Sampling

PROBLEMS_PER_STEP = 32
GROUP_SIZE = 8
MAX_TOKENS = 96
TINY = 1e-9  # an advantage that moves nothing
LEARNING_RATE = 1e-6  # small, so that both trainers keep sampling from nearly the same policy
CLIP = Clip(low=0.20, high=0.28)
NO_FOLDER = Path("unused")  # the engine saves nothing here


@dataclass(frozen=True, slots=True)
class StepSize:
    """How much a step draws and trains on, and in which precision it computes."""

    problems: int = PROBLEMS_PER_STEP
    group_size: int = GROUP_SIZE
    max_tokens: int = MAX_TOKENS
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, slots=True)
class Work:
    """A model with its tokenizer, and the problems of each step."""

    loaded: Any  # the model as it was read, once for all sides; left as it is
    tokenizer: Any
    prompter: Prompter
    steps: tuple[tuple[Problem, ...], ...]
    size: StepSize = field(default_factory=StepSize)

    def model(self) -> Any:
        """A fresh copy of the model, float32, on the CPU."""
        return deepcopy(self.loaded)

    def prompts(self, step: int) -> list[tuple[int, ...]]:
        """The prompts of one step, as token ids."""
        return [self.prompter.prompt_of(problem) for problem in self.steps[step]]


def open_work(model_name: str, num_steps: int, size: StepSize | None = None) -> Work:
    """The embedded math problems of all levels, cut into steps, under the chat template."""
    size = size or StepSize()
    model, tokenizer = load_model(model_name, torch.device("cpu")).model, load_tokenizer(model_name)
    problems = generate("math", "train", size.problems * num_steps, seed=0)
    cut = range(0, len(problems), size.problems)
    steps = tuple(tuple(problems[i : i + size.problems]) for i in cut)
    return Work(model, tokenizer, Prompter(tokenizer, PromptConfig(template="chat")), steps, size)


def exact_match(text: str, answer: str) -> float:
    """The reward of both trainers: 1 if the text ends with the boxed answer, else 0."""
    return float(text.rstrip().endswith("\\boxed{" + answer + "}"))


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one step took, and what it worked on."""

    sampling: float  # CPU-seconds from problems to completions as text
    rest: float  # CPU-seconds of reward, advantages, gradient and optimizer
    mean_length: float  # tokens of a completion
    num_trained: int  # completions that went into the gradient

    @property
    def total(self) -> float:
        """CPU-seconds of the whole step."""
        return self.sampling + self.rest


class OurTrainer:
    """GRPO steps through the local engine, as the trainer takes them, without files."""

    def __init__(self, work: Work, *, every_group: bool) -> None:
        """`every_group`: send groups without a signal through the model too."""
        self._work = work
        self._every_group = every_group
        self.engine = LocalEngine(work.model(), NO_FOLDER, dtype=work.size.dtype)

    def step(self, number: int) -> StepCost:
        """One whole step on the problems of that number."""
        started = cpu_seconds()
        size = self._work.size
        how = Sampling(
            size.max_tokens, self._work.prompter.stop_ids, seed=derive_seed("bench", number)
        )
        groups = sample_groups(
            self.engine, self._work.prompter, self._work.steps[number], size.group_size, how, number
        )
        sampled = cpu_seconds()
        groups = graded(groups)
        data = every_datum(groups) if self._every_group else training_data(groups, 1.0)
        self.engine.forward_backward(data, CLIP)
        self.engine.optim_step(Adam(lr=LEARNING_RATE))
        done = cpu_seconds()
        return StepCost(sampled - started, done - sampled, mean_length(groups), len(data))


def graded(groups: Sequence[Group]) -> list[Group]:
    """The groups with the trivial reward and its advantages."""
    rewarded = [
        replace(
            group,
            rollouts=tuple(
                replace(rollout, reward=exact_match(rollout.text, group.problem.answer or ""))
                for rollout in group.rollouts
            ),
        )
        for group in groups
    ]
    return [with_advantages(g, mask_truncated=False, count_truncated=True) for g in rewarded]


def every_datum(groups: Sequence[Group]) -> list[Datum]:
    """As `training_data`, with the rollouts whose advantage is zero.

    They get a tiny one in its place: for zeros alone the engine would leave the backward pass out,
    which the other side does not.
    """
    num_tokens = sum(group.num_tokens for group in groups)
    return [
        Datum(
            tokens=(*group.prompt, *rollout.tokens),
            mask=(0.0,) * len(group.prompt) + (1.0,) * len(rollout.tokens),
            sampler_logprobs=(0.0,) * len(group.prompt) + rollout.sampler_logprobs,
            advantages=(0.0,) * len(group.prompt)
            + ((rollout.advantage or TINY) / num_tokens,) * len(rollout.tokens),
        )
        for group in groups
        for rollout in group.rollouts
    ]


def mean_length(groups: Sequence[Group]) -> float:
    """Mean tokens of a completion, the stop token included."""
    return statistics.fmean(len(r.tokens) for group in groups for r in group.rollouts)
