"""What `srpo plan` prints."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from srpo.config.files import load_config, parse_set, settings_of
from srpo.errors import ConfigError
from srpo.insight.plan_view import Question, print_plan


def test_every_setting_of_the_plan_is_whole_on_80_columns_however_long_its_value() -> None:
    text = "Think first. " * 20
    loaded = load_config(settings=[parse_set(f"prompt.math_instruction={text}")])
    stream = io.StringIO()
    print_plan(loaded, [], Console(file=stream, width=80, highlight=False))
    lines = stream.getvalue().splitlines()
    first_words = {line.split()[0] for line in lines if line.strip()}
    assert set(settings_of(loaded.config)) <= first_words
    assert max(map(len, lines[-len(settings_of(loaded.config)) :])) <= 80
    assert "".join(lines).count("Think") == 20  # the value is folded, not cut


def printed(*settings: str) -> str:
    stream = io.StringIO()
    loaded = load_config(settings=[parse_set(setting) for setting in settings])
    print_plan(loaded, [], Console(file=stream, width=200, highlight=False))
    return stream.getvalue()


def test_the_plan_names_refills_budget_and_reference_where_there_are_any() -> None:
    plain = printed()
    assert not any(word in plain for word in ("refills:", "budget:", "reference model"))
    dapo = printed("algorithm=dapo", "budget.rollouts=3000")
    assert "refills: up to 8 a step" in dapo
    assert "by which 3,000 rollouts are spent" in dapo
    # at most 2999 before the last step, and 9 rounds of 32 groups of 8 in it: 5303, of 96 tokens
    assert dapo.count("<= 5.3 k") == dapo.count("<= 509 k") == 2  # the one stage, and all
    both = printed("budget.rollouts=3000", "budget.tokens=1000")
    assert "by which 3,000 rollouts and 1,000 generated tokens are spent" in both
    assert "reference model" in printed("algorithm=r1-zero")


def test_a_stage_that_ends_within_its_first_epoch_is_one_that_its_rule_decides_nothing_in() -> None:
    # 128 math problems, 32 a step: 4 steps an epoch
    assert "first epoch" not in printed("stage.1.steps=4")
    said = "stage 1 ends within its first epoch of 4 steps: {} decides nothing in it"
    assert said.format("resampling") in printed("stage.1.steps=3")
    assert said.format("spaced") in printed("stage.1.steps=3", "selection.rule=spaced")
    for rule in ("uniform", "mopps"):  # which have nothing to decide then
        assert "first epoch" not in printed("stage.1.steps=3", f"selection.rule={rule}")


def test_a_plan_beyond_the_context_of_the_model_is_said_or_refused() -> None:
    # the bundled model is made for 512 tokens, and prompts may have 64
    assert "made for 512" not in printed("every_stage.max_completion_tokens=448")
    said = "stage 2 can have prompts of 62 tokens at most, not 64: the model is made for 512"
    assert said in printed("stage.2.max_completion_tokens=450")
    with pytest.raises(ConfigError, match=r"stage\.1\.max_completion_tokens is 512, and the model"):
        printed("stage.1.max_completion_tokens=512")
    # three quarters of an own answer of 291 tokens and its stop may come before one of 292
    assert "tokens at most" not in printed("every_stage.max_completion_tokens=292")
    assert "stage 1 can have prompts of 2 tokens at most, not 64" in printed(
        "every_stage.max_completion_tokens=292", "reuse.prefixes=true"
    )
    with pytest.raises(ConfigError, match=r"is 293 and reuse\.prefixes up to 219 before it, and"):
        printed("every_stage.max_completion_tokens=293", "reuse.prefixes=true")


def test_a_plan_that_changes_no_weight_is_refused() -> None:
    assert "stage" in printed("stage.1.learning_rate=0")
    with pytest.raises(ConfigError, match=r"learning_rate is 0 in every stage, .* set every_stage"):
        printed("every_stage.learning_rate=0")


def test_measured_rates_take_the_place_of_assumed_ones(tmp_path: Path) -> None:
    run = tmp_path / "r"
    run.mkdir()
    (run / "config.toml").write_text("")
    # a step of 8 rollouts: 800 tokens in 2 s, of which 400 trained in 4 s; 2 s of other things
    (run / "environment.json").write_text('{"weights": 689280, "device": "cpu"}')
    (run / "metrics.jsonl").write_text(
        '{"step": 1, "stage": 1, "epoch": 1, "all/groups": 1, "tokens/step": 800, '
        '"fate/gradient_tokens": 400, "verdict/correct_count": 8}\n'
    )
    (run / "times.jsonl").write_text('{"step": 1, "sampling": 2, "updating": 4, "grading": 2}\n')
    stream = io.StringIO()
    loaded = load_config(settings=[parse_set("stage.2.steps=15")])
    question = Question(rates=run)
    print_plan(loaded, [], Console(file=stream, width=200, highlight=False), question)
    # 30 steps of 256 rollouts of at most 96 tokens: 737,280 at 400 a second are 1843 s, at 100
    # a second 7373 s; 7680 rollouts of a quarter of a second are 1920 s
    assert (
        f"cost, at most: 3.1 hours of the machine of {run}, 3 hours (sampling 0.5, training 2.0, "
        "the rest 0.5). Rates measured there, on cpu, 1 step: 400 tokens a second sampled, 100 "
        "trained; completions had 100 tokens"
    ) in stream.getvalue()
    assert "GPU-hours" not in stream.getvalue()
