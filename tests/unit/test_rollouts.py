"""From problems to groups, and the seed of every draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from srpo.config import PromptConfig
from srpo.embedded import MODEL_DIR
from srpo.engines.scripted import ScriptedEngine
from srpo.prompts import Prompter
from srpo.rollouts import derive_seed, sample_groups
from srpo.types import Sampling
from tests.factories import math_problem


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL_DIR)


def test_every_problem_gets_its_group_in_order(tokenizer: Any, tmp_path: Path) -> None:
    prompter = Prompter(tokenizer, PromptConfig())
    eos = tokenizer.eos_token_id
    answers = {text: (*tokenizer.encode(text, add_special_tokens=False), eos) for text in "48"}
    first, second = math_problem("2 + 2?", id="a"), math_problem("4 + 4?", "8", id="b")
    script = {
        prompter.prompt_of(first): [answers["4"]],
        prompter.prompt_of(second): [answers["8"]],
    }
    how = Sampling(max_tokens=9, stop_ids=(eos,), seed=1)
    groups = sample_groups(
        ScriptedEngine(script, tmp_path), prompter, [first, second], 3, how, policy_version=5
    )
    assert [group.problem for group in groups] == [first, second]
    assert [group.prompt for group in groups] == list(script)
    assert [[r.text for r in group.rollouts] for group in groups] == [["4"] * 3, ["8"] * 3]
    rollout = groups[0].rollouts[0]
    assert rollout.tokens == answers["4"]
    assert rollout.sampler_logprobs == pytest.approx((0.0,) * len(answers["4"]))  # always played
    assert (rollout.stop_reason, rollout.verdict, rollout.reward) == ("stop", None, None)
    assert {group.policy_version for group in groups} == {5}


def test_no_problems_are_no_groups(tokenizer: Any, tmp_path: Path) -> None:
    prompter = Prompter(tokenizer, PromptConfig())
    how = Sampling(max_tokens=9, stop_ids=(1,), seed=1)
    assert sample_groups(ScriptedEngine({}, tmp_path), prompter, [], 3, how, 0) == []


def test_a_seed_depends_on_all_of_its_name_and_on_nothing_else() -> None:
    # the first 8 bytes of SHA-256("1/step/12"), shifted right by one bit
    assert derive_seed(1, "step", 12) == 0x1F8B74B77C77EA58
    assert derive_seed(1, "step", 12) == derive_seed("1", "step", "12")
    seeds = {derive_seed(seed, "step", step) for seed in range(20) for step in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, "evaluation") != derive_seed(1, "step")
