"""Plans: what is refused, in one line, and what each arm comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from srpo.comparison.jobs import rate_jobs, result_jobs
from srpo.comparison.plan import NO_END, differing, folder_name, load_comparison
from srpo.config.files import dump, flat, load_config
from srpo.errors import ConfigError
from tests.comparisons import BASE, PLAN, RATES, comparison, write_plan


def refused(folder: Path, text: str, base: str = BASE) -> str:
    """The one line that a plan is refused with."""
    with pytest.raises(ConfigError) as caught:
        load_comparison(write_plan(folder, text, base), folder / "out")
    assert not (folder / "out").exists()
    line = str(caught.value)
    assert line.startswith(f"{folder / 'plan.toml'}: ") and "\n" not in line
    return line


def with_ours(line: str) -> str:
    """The plan with a line more in the arm named ours."""
    return f"{PLAN}{line}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            'settings = { "every_stage.sets" = { math = 1 } }',
            "arm 'ours' never trains on the set code, and arm 'plain' does",
        ),
        (
            'settings = { "selection.history" = "no/run" }',
            "arm 'ours': selection.history: no/run is not a run directory",
        ),
        ('settings = { "loss..subset" = 7 }', "arm 'ours': settings loss..subset"),
        ('settings = { "" = 7 }', "arm 'ours'"),
        ('settings = { "budget.tokens" = 7 }', "arm 'ours' differs in budget: it sets budget.tok"),
        ("settings.budget.rollouts = 7", "arm 'ours' differs in budget: it sets budget.rollouts"),
        ("settings.seed = 7", "arm 'ours' sets seed, which must be equal"),
        ('settings = { "evaluation.samples" = 7 }', "sets evaluation.samples, which must be equal"),
        ('settings = { "prompt.thinking" = "required" }', "sets prompt.thinking, which must be eq"),
        (
            'settings = { "verifier.code_timeout_s" = 1 }',
            "sets verifier.code_timeout_s, which must",
        ),
        ('settings = { "sets.math.count" = 7 }', "sets sets.math.count, which must be equal"),
        (
            'settings = { "stage.2.max_completion_tokens" = 64 }',
            "arm 'ours' differs in budget: max_completion_tokens is 64, and 32 in arm 'plain'",
        ),
        (
            'settings = { "stage.1.max_completion_tokens" = 64 }',  # an earlier stage, longer
            "arm 'ours' differs in budget: max_completion_tokens is 64, and 32 in arm 'plain'",
        ),
        ('algorithm = "sprpo"', "arm 'ours': algorithm sprpo: must be 'srpo', "),
        (
            'settings = { "selection.rul" = "dps" }',
            "arm 'ours': settings selection.rul = dps: unknown setting selection.rul; did you mean "
            "rule?",
        ),
        ('settings = { "stage.3.steps" = 1 }', "arm 'ours': settings stage.3.steps = 1: 3 is not"),
        ("setings = {}", "unknown setting arm.2.setings; did you mean settings?"),
    ],
)
def test_an_arm_that_is_wrong_is_named(tmp_path: Path, line: str, said: str) -> None:
    assert said in refused(tmp_path, with_ours(line))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = [11, 12]", "seeds = [11, 12, 11]", "seeds: 11 is listed twice"),
        ("seeds = [11, 12]", "seeds = [true, 12]", "seeds.1: must be a whole number (given: true)"),
        ("seeds = [11, 12]", 'seeds = ["11", 12]', "seeds.1: must be a whole number (given: '11')"),
        ("seeds = [11, 12]", "seeds = []", "seeds: must have 1 or more entries (given: [])"),
        ('name = "ours"', 'name = "plain"', "arm: plain is listed twice"),
        ('name = "ours"', 'name = "PLAIN!"', "arm: plain would be the folder of two arms"),
        ("base.toml", "bose.toml", "bose.toml: no such config file"),
        ("rollouts = 100\ntokens = 1000", "", "budget: give rollouts, tokens or both"),
        ("seeds = ", "sead = 1\nseeds = ", "unknown setting sead; did you mean seeds?"),
        (
            "[evaluation]",
            "[evaluation]\nevery_token = 9",
            "setting evaluation.every_token; did you mean every_tokens?",
        ),
        ("every_steps = 1", "", "evaluation: give either every_tokens or every_steps"),
        ("every_steps = 1", "every_steps = 1\nevery_tokens = 9", "give either every_tokens or ev"),
        (
            "[evaluation]",
            "[evaluation]\nbudgets_tokens = [500, 1001]",
            "evaluation.budgets_tokens: 1001 is more than budget.tokens, 1000",
        ),
        (
            "[evaluation]",
            "[evaluation]\nbudgets_tokens = [500, 500]",
            "evaluation: budgets_tokens: 500 is listed twice",
        ),
        ("targets = [0.7]", "targets = [8]", "evaluation.targets.1: must be at most 1"),
        ("targets = [0.7]", "targets = [true]", "evaluation.targets.1: must be a number"),
        ("targets = [0.7]", "targets = [0.7, 0.7]", "evaluation: targets: 0.7 is listed twice"),
        ('name = "ours"', f'name = "{"o" * 101}"', "arm.2.name: must have 100 characters at most"),
        ('name = "ours"', 'name = "o\\nurs"', "must be a single line of printable characters"),
        (
            "seeds = ",
            'settings = { "evaluation.samples" = 0 }\nseeds = ',
            "arm 'plain': evaluation.samples is 0: nothing would be measured",
        ),
        (
            "[budget]",
            RATES.replace("2e-4", "100.0") + "[budget]",
            "learning_rate.values.2: must be at most 10",
        ),
        (
            "[budget]",
            RATES.replace("2e-4", "1.0000001e-4") + "[budget]",  # one folder for both
            "learning_rate.values: 0.0001 is listed twice",
        ),
        (
            "seeds = ",
            'baseline = "them"\nseeds = ',
            "baseline 'them' is not an arm (arms: plain, ours",
        ),
        ("seeds = ", "settings.seed = 4\nseeds = ", "settings seed: write it in seeds"),
        ('[[arm]]\nname = "ours"', "", "a comparison needs at least two [[arm]]"),
        (
            "[budget]",
            RATES.replace("[1]", "[1, 11]") + "[budget]",
            "seed 11 is in learning_rate.se",
        ),
        (
            "[budget]",
            RATES.replace("[1]", "[1, 1]") + "[budget]",
            "learning_rate.seeds: 1 is listed",
        ),
        (
            "[budget]",
            RATES.replace("2e", "1e") + "[budget]",
            "learning_rate.values: 0.0001 is listed",
        ),
        ("name = ", "name = = ", "not valid TOML"),
    ],
)
def test_a_plan_that_is_wrong_says_where(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert PLAN.count(old) >= 1
    assert said in refused(tmp_path, PLAN.replace(old, new, 1))


def test_a_rate_of_ones_own_is_refused_where_the_plan_chooses_it(tmp_path: Path) -> None:
    own = with_ours('settings = { "every_stage.learning_rate" = 1e-5 }')
    assert load_comparison(write_plan(tmp_path, own)).arms[1].name == "ours"
    line = refused(tmp_path, own.replace("[budget]", RATES + "[budget]"))
    assert "sets every_stage.learning_rate, which [learning_rate] chooses" in line


@pytest.mark.parametrize("split", ["holdout", "validation"])
def test_problems_to_choose_by_and_to_test_with_are_both_needed(tmp_path: Path, split: str) -> None:
    line = refused(tmp_path, PLAN, BASE.replace(f"{split} = 8", f"{split} = 0", 1))
    assert f"sets.math.{split} is 0" in line


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such plan"):
        load_comparison(tmp_path / "plan.toml")


def test_every_run_ends_with_its_budget_and_with_nothing_else(tmp_path: Path) -> None:
    for arm in comparison(tmp_path).arms:
        last = arm.config.stage[-1]
        assert (last.steps, last.epochs, last.plateau_steps) == (None, NO_END, None)
        assert (arm.config.budget.rollouts, arm.config.budget.tokens) == (100, 1000)
        assert arm.config.selection.idle_epochs == NO_END
        assert arm.config.evaluation.test == "at-token-budget"
        assert (arm.config.model.threads, arm.config.verifier.code_workers) == (1, 1)


def test_without_a_budget_of_tokens_the_test_is_read_at_the_end(tmp_path: Path) -> None:
    found = comparison(tmp_path, PLAN.replace("tokens = 1000\n", ""))
    assert {arm.config.evaluation.test for arm in found.arms} == {"last"}


def test_validation_comes_after_equal_tokens_for_all_arms(tmp_path: Path) -> None:
    found = comparison(tmp_path, PLAN.replace("every_steps = 1", "every_tokens = 50"))
    for arm in found.arms:
        evaluation = arm.config.evaluation
        assert (evaluation.every_tokens, evaluation.every_steps) == (50, 0)


def test_arms_differ_in_what_they_were_told(tmp_path: Path) -> None:
    told = 'algorithm = "grpo"\nsettings = { "selection.rule" = "dps" }'
    plain, ours = comparison(tmp_path, with_ours(told)).arms
    assert differing(plain.config, ours.config) == {"selection.rule": ("uniform", "dps")}


def test_what_is_written_for_a_run_is_read_back_as_the_same_config(tmp_path: Path) -> None:
    found = comparison(tmp_path, PLAN.replace("[budget]", RATES + "[budget]"))
    for arm in found.arms:
        for job in (*rate_jobs(found, arm), *result_jobs(found, arm, 2e-4)):
            path = tmp_path / "job.toml"
            path.write_text(dump(job.config), encoding="utf-8")
            assert load_config(path).config == job.config


def test_rate_runs_have_seeds_of_their_own_and_no_test_problems(tmp_path: Path) -> None:
    share = RATES + "budget_share = 0.25\n"
    found = comparison(tmp_path, PLAN.replace("[budget]", share + "[budget]"))
    jobs = rate_jobs(found, found.arms[1])
    assert [(job.seed, job.rate) for job in jobs] == [(1, 1e-4), (1, 2e-4)]
    for job in jobs:
        assert job.config.evaluation.test == "never"
        assert {one.validation for one in job.config.sets.values()} == {8}
        assert {stage.learning_rate for stage in job.config.stage} == {job.rate}
        # a quarter of 100 and of 1000
        assert (job.config.budget.rollouts, job.config.budget.tokens) == (25, 250)


def test_result_runs_have_each_seed_and_the_chosen_rate(tmp_path: Path) -> None:
    found = comparison(tmp_path)
    jobs = result_jobs(found, found.arms[1], 2e-4)
    assert [job.config.seed for job in jobs] == [11, 12]
    assert {job.config.stage[0].learning_rate for job in jobs} == {2e-4}
    assert {job.config.evaluation.test for job in jobs} == {"at-token-budget"}
    own = result_jobs(found, found.arms[1], None)
    assert {job.config.stage[0].learning_rate for job in own} == {1e-3}


def test_settings_may_be_nested_and_a_mix_stays_whole() -> None:
    nested = {"stage": {"2": {"sets": {"math": 1}}}, "loss": {"subset": 4}, "selection.rule": "dps"}
    assert dict(flat(nested)) == {
        "stage.2.sets": {"math": 1},
        "loss.subset": 4,
        "selection.rule": "dps",
    }


def test_a_table_with_nothing_in_it_leaves_the_base_as_it_is(tmp_path: Path) -> None:
    plain = comparison(tmp_path).arms[1].config
    empty = with_ours("settings = { every_stage = {}, loss = {}, selection = {} }")
    assert load_comparison(write_plan(tmp_path, empty)).arms[1].config == plain


def test_a_folder_is_named_without_surprises() -> None:
    assert folder_name("../SRPO: all of it") == "srpo-all-of-it"
    assert folder_name("!!!") == "arm"


PLANS = sorted((Path(__file__).parents[2] / "benchmarks" / "plans").rglob("*.toml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_plans_of_the_repository_can_be_run(path: Path, tmp_path: Path) -> None:
    found = load_comparison(path, tmp_path / "out")
    budget = found.plan.budget
    assert (budget.rollouts, budget.tokens) == (10240, 280000)  # one budget in all of them
    assert found.plan.evaluation.budgets_tokens == (70000, 140000, 280000)
    for arm in found.arms:
        stages = arm.config.stage
        rollouts = 64 if "small steps" in arm.name else 256
        assert {one.problems_per_step * one.group_size for one in stages} == {rollouts}
        assert arm.config.model.name == found.arms[0].config.model.name


def test_a_regime_is_what_its_name_says() -> None:
    regimes = {path.stem: load_comparison(path).arms[0].config for path in PLANS}
    weights = regimes["easy-heavy"].sets["math"].level_weights
    assert sum(weights[:2]) / sum(weights) == 0.75
    weights = regimes["hard-heavy"].sets["code"].level_weights
    assert sum(weights[4:]) / sum(weights) == 0.75
    problems = {
        name: sum(one.count for one in config.sets.values()) for name, config in regimes.items()
    }
    assert problems["headline-1to2"] == 768
    assert (problems["few-epochs"], problems["many-epochs"]) == (1536, 192)
    assert regimes["small-groups"].stage[-1].group_size == 4
    assert regimes["large-groups"].stage[-1].group_size == 32
