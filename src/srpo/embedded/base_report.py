"""What a base model can do: pass rates by level, left free, made to think, made to answer at once.

Measured on validation problems with the run's own engine, prompts and verifiers.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srpo.config import PromptConfig, RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.embedded.tokenizer import DOMAINS
from srpo.embedded.world import LEVELS, Task, draw_tasks, problem_of
from srpo.engines.local.engine import LocalEngine
from srpo.prompts import Prompter
from srpo.rewards import Grader
from srpo.types import Group, Problem, Rollout, Sampling

PROBLEMS_A_LEVEL = 16
SAMPLES = 4
MAX_TOKENS = 96
MODES = ("free", "thinking", "direct")


def measure(model: Any, tokenizer: Any, seed: int) -> dict[str, Any]:
    """Pass rate by domain, mode and level, and the share of free answers that think.

    Made to think: the completion is begun with `<think>` and the first digit that the thinking
    needs. Made to answer at once: it is begun with `<think></think>`.
    """
    rng = random.Random(f"base report/{seed}")
    found: dict[str, Any] = {}
    prompter = Prompter(tokenizer, PromptConfig(template="chat", thinking="required"))
    with tempfile.TemporaryDirectory() as folder, Grader(VerifierConfig()) as grader:
        engine = LocalEngine(model, Path(folder))
        for domain in DOMAINS:
            tasks = {
                level: draw_tasks(rng, domain, level, "validation", PROBLEMS_A_LEVEL)
                for level in LEVELS
            }
            found[domain] = {
                mode: {
                    str(level): _pass_rate(engine, prompter, grader, tasks[level], rng, mode)
                    for level in LEVELS
                }
                for mode in MODES
            }
    return found


def summary(report: Mapping[str, Any]) -> str:
    """The pass rates as plain lines: domain, mode, one number a level."""
    lines = ["level            " + "".join(f"{level:6}" for level in LEVELS) + "   mean"]
    for domain, modes in report.items():
        for mode, levels in modes.items():
            rates = [levels[str(level)]["pass_rate"] for level in LEVELS]
            mean = sum(rates) / len(rates)
            shown = "".join(f"{rate:6.2f}" for rate in rates)
            lines.append(f"{domain:6} {mode:9} {shown} {mean:6.2f}")
        share = [modes["free"][str(level)]["thinking_frac"] for level in LEVELS]
        lines.append(f"{domain:6} thinks    " + "".join(f"{value:6.2f}" for value in share))
    return "\n".join(lines)


def _pass_rate(
    engine: LocalEngine,
    prompter: Prompter,
    grader: Grader,
    tasks: Sequence[Task],
    rng: random.Random,
    mode: str,
) -> dict[str, float]:
    problems = [problem_of(task, rng) for task in tasks]
    begun = [_beginning(task, mode) for task in tasks]
    groups = _sample(engine, prompter, problems, begun)
    graded = grader.grade(
        groups, thinking_required=True, prefilled_thinking=False, reward=RewardConfig()
    )
    rollouts = [rollout for group in graded for rollout in group.rollouts]
    return {
        "pass_rate": sum(group.num_correct for group in graded) / len(rollouts),
        "thinking_frac": sum(rollout.thinks for rollout in rollouts) / len(rollouts),
    }


def _beginning(task: Task, mode: str) -> str:
    if mode == "free":
        return ""
    return "<think></think>" if mode == "direct" else f"<think>{task.chains[0].start}"


def _sample(
    engine: LocalEngine, prompter: Prompter, problems: Sequence[Problem], begun: Sequence[str]
) -> list[Group]:
    how = Sampling(max_tokens=MAX_TOKENS, stop_ids=prompter.stop_ids, seed=0)
    prompts = [
        prompter.prompt_of(problem) + prompter.tokens_of(text)
        for problem, text in zip(problems, begun, strict=True)
    ]
    drawn = engine.sample(prompts, SAMPLES, how)
    return [
        Group(
            problem,
            prompt,
            tuple(
                Rollout(s.tokens, text + prompter.completion_text(s), s.logprobs, s.stop_reason)
                for s in samples
            ),
            policy_version=0,
        )
        for problem, prompt, text, samples in zip(problems, prompts, begun, drawn, strict=True)
    ]
