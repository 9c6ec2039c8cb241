"""Sets that share problems: what one holds out, no other trains on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from srpo.config import Config, PromptConfig, SetConfig
from srpo.embedded import MODEL_DIR
from srpo.errors import ConfigError
from srpo.planning.plan import count_problems
from srpo.prompts import Prompter
from srpo.run.problem_sets import ProblemSets, SplitSet, check_prompts, load_sets
from srpo.types import Problem
from tests.factories import math_problem
from tests.short_runs import config_of, problem_file


def two_sets(folder: Path, first: dict[str, int], second: dict[str, int]) -> Config:
    """Two sets of the same ten problems, with these holdouts."""
    file = {"files": [str(problem_file(folder, 10))]}
    sets = {"a": {**file, **first}, "b": {**file, **second}}
    return config_of(folder, count=10, sets=sets, stage={"sets": {"a": 1, "b": 1}})


def ids(problems: list[Problem]) -> set[str]:
    return {problem.id for problem in problems}


def apart(sets: ProblemSets) -> bool:
    trained = ids([p for problems in sets.train.values() for p in problems])
    test, watched = ids(sets.held_out("test")), ids(sets.held_out("validation"))
    return not (trained & test or trained & watched or test & watched)


def test_what_one_set_holds_out_no_other_trains_on(tmp_path: Path) -> None:
    sets = load_sets(two_sets(tmp_path, {"holdout": 2, "validation": 3}, {}))
    assert apart(sets)
    # of ten problems five are held out by the first set, so both train on the other five
    assert [len(sets.train[name]) for name in "ab"] == [5, 5]
    assert sum(note.startswith("5 problems held out") for note in sets.notes) == 1


def test_a_test_problem_of_one_set_validates_nothing(tmp_path: Path) -> None:
    sets = load_sets(two_sets(tmp_path, {"holdout": 4}, {"validation": 4}))
    assert apart(sets)
    assert len(sets.by_name["a"].test) == 4


def test_what_two_sets_hold_out_is_tested_and_validated_once(tmp_path: Path) -> None:
    # of one file both sets hold out the same 2 and 3 problems
    held = {"holdout": 2, "validation": 3}
    config = two_sets(tmp_path, held, held)
    sets = load_sets(config)
    assert ids(sets.by_name["a"].test) == ids(sets.by_name["b"].test)
    assert [len(sets.held_out("test")), len(sets.held_out("validation"))] == [2, 3]
    assert apart(sets)
    assert count_problems(config, {}).test == {"a": 2, "b": 0}


def test_sets_that_share_nothing_stay_whole_and_nothing_is_said(tmp_path: Path) -> None:
    sets = load_sets(config_of(tmp_path, count=10, sets={
        "math": {"files": [str(problem_file(tmp_path, 10))], "holdout": 2},
    }))  # fmt: skip
    assert (len(sets.train["math"]), len(sets.by_name["math"].test)) == (8, 2)
    assert not any("held out" in note for note in sets.notes)


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    config = two_sets(tmp_path, {"holdout": 4}, {})
    held = load_sets(config).by_name["a"].test[0]
    row = {"domain": "math", "statement": held.statement, "answer": held.answer}
    (tmp_path / "q.jsonl").write_text(json.dumps(row), encoding="utf-8")
    second = SetConfig(files=(str(tmp_path / "q.jsonl"),))
    with pytest.raises(ConfigError, match=r"sets\.b: no problems to train on"):
        load_sets(config.model_copy(update={"sets": {**config.sets, "b": second}}))


def test_the_digest_of_a_set_tells_what_its_problems_are_for(tmp_path: Path) -> None:
    plain = load_sets(two_sets(tmp_path, {}, {})).digests()
    assert plain["a"] == plain["b"]
    held = load_sets(two_sets(tmp_path, {"holdout": 1}, {"validation": 1})).digests()
    assert len({plain["a"], held["a"], held["b"]}) == 3
    assert load_sets(two_sets(tmp_path, {}, {})).digests() == plain


def test_the_prompts_of_a_set_with_weight_0_are_not_those_of_the_stage(tmp_path: Path) -> None:
    short, long = math_problem("7" * 10, id="m10"), math_problem("7" * 90, id="m90")
    first = {"name": "one", "sets": {"a": 1, "b": 0}, "steps": 1, "max_prompt_tokens": 50}
    second = {"name": "two", "sets": {"b": 1}, "steps": 1, "max_prompt_tokens": 100}
    config = config_of(tmp_path, sets={"a": {"files": ["a"]}, "b": {"files": ["b"]}},
                       stage={"sets": {"a": 1}})  # fmt: skip
    config = Config.model_validate({**config.model_dump(), "stage": [first, second]})
    prompter = Prompter(AutoTokenizer.from_pretrained(MODEL_DIR), PromptConfig(template="plain"))
    check_prompts(config, ProblemSets({"a": SplitSet([short]), "b": SplitSet([long])}), prompter)
    with pytest.raises(ConfigError, match=r"stage\.1\.max_prompt_tokens is 50"):
        check_prompts(config, ProblemSets({"a": SplitSet([long]), "b": SplitSet([])}), prompter)


def test_prompt_and_completion_must_fit_in_the_context_of_the_model(tmp_path: Path) -> None:
    stages = [
        {"name": "long", "sets": {"a": 1}, "steps": 1, "max_completion_tokens": 100},
        {"name": "last", "sets": {"a": 1}, "steps": 1, "max_completion_tokens": 50},
    ]
    config = config_of(tmp_path, sets={"a": {"files": ["a"]}}, stage={"sets": {"a": 1}})
    config = Config.model_validate(
        {**config.model_dump(), "stage": stages, "evaluation": {"samples": 1}}
    )
    prompter = Prompter(AutoTokenizer.from_pretrained(MODEL_DIR), PromptConfig(template="plain"))
    of_10, of_30, of_90 = (math_problem("7" * n, id=f"m{n}") for n in (10, 30, 90))
    assert [len(prompter.prompt_of(p)) for p in (of_10, of_30, of_90)] == [10, 30, 90]

    def check(train: Problem, test: Problem, context: int | None) -> None:
        # of b, which the first stage does not draw from, only the test problem is answered
        sets = ProblemSets({"a": SplitSet([train]), "b": SplitSet([], test=[test])})
        check_prompts(config, sets, prompter, context)

    check(of_10, of_30, 110)  # 10 + 100, 30 + 50
    check(of_10, of_90, 140)
    check(of_90, of_90, None)
    with pytest.raises(ConfigError) as caught:
        check(of_10, of_30, 109)
    assert str(caught.value) == (
        "the room that stage.1.max_completion_tokens (100) leaves for a prompt in the model's "
        "context of 109 tokens is 9, and 1 prompt is longer (problem m10: 10 tokens); lower "
        "max_completion_tokens, or take these problems out"
    )
    with pytest.raises(ConfigError, match=r"stage\.2\..*of 139 tokens is 89, .* m90: 90 tokens"):
        check(of_10, of_90, 139)
    with pytest.raises(ConfigError, match=r"stage\.1\.max_completion_tokens is 100, and the model"):
        check(of_10, of_30, 100)
