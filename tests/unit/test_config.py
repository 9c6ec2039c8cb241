"""The config: what may be set, what contradicts itself, and the vanilla baseline of a run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

import srpo
from srpo.config import Config, StageConfig, with_mixed_stages
from srpo.config.base import Section
from srpo.config.files import resolve
from srpo.config.verifier import Strength
from srpo.errors import ConfigError
from srpo.sandbox.strengths import Wanted

SOURCES = Path(srpo.__file__).parent
MATH = {"generate": "math", "count": 8}


def config_with(stages: list[dict[str, Any]] | None = None, **more: Any) -> Config:
    """A config of one set and these stages (one of five steps if none are given)."""
    stages = [{"steps": 5}] if stages is None else stages
    named = [{"name": f"stage {i}", "sets": {"m": 1}, **stage} for i, stage in enumerate(stages)]
    return resolve({"sets": {"m": MATH}, "stage": named, **more}, "test.toml")


def sections(section: type[BaseModel] = Config) -> Iterator[type[BaseModel]]:
    """Config and every section inside it."""
    yield section
    for field in section.model_fields.values():
        for inner in _sections_in(field.annotation):
            yield from sections(inner)


def _sections_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)


def settings() -> list[tuple[str, str]]:
    """(section, name) of every setting that is not itself a section."""
    return [
        (section.__name__, name)
        for section in sections()
        for name, field in section.model_fields.items()
        if not list(_sections_in(field.annotation))
    ]


def test_every_setting_says_what_it_is() -> None:
    undescribed = [
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if not field.description and not list(_sections_in(field.annotation))
    ]
    assert undescribed == []


def called(node: ast.AST | None) -> str:
    """The last word of `name` or of `some.thing.name`, and "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def words_for_sections(tree: ast.Module) -> dict[str, set[str]]:
    """What each section is called in a module: `model`, and whatever else it is bound to there."""
    words = {"config": {"Config"}}
    for section in sections():
        for name, field in section.model_fields.items():
            for inner in _sections_in(field.annotation):
                words.setdefault(name, set()).add(inner.__name__)
    own = {section.__name__ for section in sections()}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and called(node.annotation) in own:
            word = node.arg if isinstance(node, ast.arg) else called(node.target)
            words.setdefault(word, set()).add(called(node.annotation))
    for node in ast.walk(tree):  # names for parts of the sections: how = config.evaluation
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for bound, given in zip(parts(target), parts(node.value), strict=False):
                    words.setdefault(called(bound), set()).update(words.get(called(given), ()))
    return words


def reads_in(source: str) -> set[tuple[str, str]]:
    """(section, name) of every setting that a module reads, by what stands before the dot."""
    tree = ast.parse(source)
    words = words_for_sections(tree)
    return {
        (section, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        for section in words.get(called(node.value), ())
    }


# `mix_stages` is done to the config itself, before anybody else sees it; a stage's sets are read as
# `drawn`, those that have a weight.
READ_IN_CONFIG = {("Config", "mix_stages"), ("StageConfig", "sets")}


def test_every_setting_is_read_somewhere() -> None:
    read = READ_IN_CONFIG.copy()
    for path in SOURCES.rglob("*.py"):
        if path.parent.name not in ("config", "programs"):
            read |= reads_in(path.read_text(encoding="utf-8"))
    assert [
        f"{section}.{name}" for section, name in settings() if (section, name) not in read
    ] == []


def test_a_setting_is_read_where_its_own_section_is_named() -> None:
    assert reads_in("config.stage[0].name; torch.device; run.model.device") == {
        ("ModelConfig", "device"), ("Config", "stage"),
    }  # fmt: skip
    assert reads_in("def f(how: EvaluationConfig): how.test") == {("EvaluationConfig", "test")}
    assert reads_in("how, now = s.evaluation, s.step; how.test") == {("EvaluationConfig", "test")}
    assert reads_in("def f(how: Sampling): how.temperature") == set()


def test_there_are_not_many_settings() -> None:
    assert len(set(settings())) <= 99


def test_the_config_cannot_be_changed() -> None:
    config = config_with()
    with pytest.raises(ValidationError):
        config.seed = 2  # type: ignore[misc]


def test_what_is_not_set_has_the_papers_value_or_ours() -> None:
    config = config_with()
    assert (config.algorithm, config.seed) == ("srpo", 1)
    assert (config.loss.clip_low, config.loss.clip_high) == (0.20, 0.28)
    assert (config.optimizer.beta1, config.optimizer.beta2) == (0.9, 0.95)
    reward = config.stage[0].reward
    assert (reward.accuracy, reward.format, reward.language_mixing) == (1.0, 0.1, -0.1)
    assert config.stage[0].learning_rate == 1e-6


def test_the_vanilla_baseline_is_the_last_stage_for_the_steps_of_all() -> None:
    stages = [
        {"steps": 25, "learning_rate": 1e-3},
        {"steps": 45, "learning_rate": 1e-4, "plateau_steps": 9},
    ]
    config = config_with(stages)
    vanilla = with_mixed_stages(config)
    (only,) = vanilla.stage
    assert (only.steps, only.epochs, only.plateau_steps) == (70, None, None)
    assert (only.learning_rate, only.name) == (1e-4, "mixed from the start")
    assert vanilla.mix_stages
    assert len(config.stage) == 2  # the config itself stays as it is


def test_the_vanilla_baseline_adds_up_epochs_too() -> None:
    assert with_mixed_stages(config_with([{"epochs": 2}, {"epochs": 3}])).stage[0].epochs == 5


def test_the_vanilla_baseline_of_a_vanilla_baseline_is_itself() -> None:
    vanilla = with_mixed_stages(config_with([{"steps": 25}, {"steps": 45}]))
    assert with_mixed_stages(vanilla) == vanilla


def test_the_vanilla_baseline_does_not_add_steps_to_epochs() -> None:
    with pytest.raises(ValueError, match="must count steps, or all epochs"):
        with_mixed_stages(config_with([{"steps": 25}, {"epochs": 3}]))


def test_the_strengths_are_those_of_the_sandbox() -> None:
    assert get_args(Strength) == get_args(Wanted)


def test_a_stage_draws_from_the_sets_that_it_gives_some_weight() -> None:
    stage = StageConfig(name="one", sets={"a": 2, "b": 0, "c": 0.5}, steps=1)
    assert stage.drawn == {"a": 2, "c": 0.5}


def test_a_stage_needs_no_name_it_does_not_use_but_needs_one() -> None:
    assert StageConfig.model_fields["name"].is_required()
    assert StageConfig.model_fields["sets"].is_required()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"overlong_weight": 0.5}, 'need overlong = "soft"'),
        ({"overlong_buffer_tokens": 5}, 'need overlong = "soft"'),
        ({"overlong": "soft", "overlong_weight": 0}, "does nothing"),
        ({"overlong": "soft", "overlong_weight": -1}, "must be at least 0"),
        ({"overlong": "hard"}, "'mask' or 'soft'"),
        ({"overlong": "soft", "overlong_buffer_tokens": 2000}, "more than max_completion_tokens"),
    ],
)
def test_what_is_said_of_overlong_answers_fits_together(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        config_with([{"steps": 5, "max_completion_tokens": 1024, "reward": changes}])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"reuse": {"drafts": True}}, "cannot verify drafts; set reuse.drafts = false"),
        ({"every_stage": {"top_p": 0.9}}, 'stage.1.top_p is 0.9, and model.sampler = "vllm"'),
    ],
)
def test_what_vllm_cannot_do_is_refused_before_the_run(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(part)):
        config_with([{"steps": 5}], model={"sampler": "vllm"}, **changes)


def test_importance_weights_are_never_cut_where_both_agree() -> None:
    assert config_with([{"steps": 5}], loss={"importance_cap": 1}).loss.importance_cap == 1.0
    with pytest.raises(ConfigError, match=r"importance_cap is 0\.5; it must be 0 or at least 1"):
        config_with([{"steps": 5}], loss={"importance_cap": 0.5})


def test_a_penalty_for_truncated_answers_that_get_no_advantage_is_refused() -> None:
    soft: dict[str, Any] = {"steps": 5, "reward": {"overlong": "soft"}}
    assert config_with([soft], loss={"mask_truncated": True})  # the penalty takes its place
    with pytest.raises(ConfigError, match=r"stage\.2\.reward.*loss\.count_truncated"):
        config_with([{"steps": 5}, soft], loss={"count_truncated": False})
    assert config_with(loss={"count_truncated": False})


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"code_program_timeout_s": 1.0}, "less than code_timeout_s"),
        ({"remote_url": "localhost:8080"}, "begin with http"),
        ({"remote_url": "http://x", "strength": "landlock"}, "its own way"),
        ({"remote_url": "http://x", "allow_unsafe": True}, "its own way"),
        ({"strength": "strong"}, "namespaces-per-program"),
        ({"fence": "firejail"}, "bubblewrap"),
        ({"second_opinion_share": 1.5}, "must be at most 1"),
    ],
)
def test_what_is_said_of_verifiers_fits_together(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        config_with(verifier=changes)
