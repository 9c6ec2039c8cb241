"""The probe before a run: what it says of graded groups, and when it refuses to begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from srpo.config import Config
from srpo.errors import ConfigError
from srpo.run.probing import Part, Probed, facts_of_probe, findings, parts_of, probe
from srpo.run.problem_sets import ProblemSets, SplitSet, load_sets
from srpo.types import Group, Verdict
from tests.factories import code_problem, group, math_problem, rollout
from tests.short_runs import config_of

RIGHT, WRONG = Verdict.CORRECT, Verdict.WRONG
CUT, FORM, NONE = Verdict.TRUNCATED, Verdict.BAD_FORMAT, Verdict.NO_ANSWER
STOPS = "<|im_end|>"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_of(tmp_path, probe={"problems": 4})


def graded(verdicts: Sequence[Verdict]) -> Group:
    rollouts = tuple(rollout(v, reward=float(v is RIGHT) if v.gradable else None) for v in verdicts)
    return replace(group([]), rollouts=rollouts)


def probed(config: Config, groups: Sequence[Sequence[Verdict]]) -> list[Probed]:
    sets = load_sets(config)
    return probe(config, sets, lambda part, seed: [graded(verdicts) for verdicts in groups])


def said(config: Config, groups: Sequence[Sequence[Verdict]]) -> list[str]:
    return list(findings(probed(config, groups), STOPS))


def test_a_good_start_is_one_line(config: Config) -> None:
    assert said(config, [[RIGHT, WRONG], [RIGHT, RIGHT], [WRONG, WRONG], [RIGHT, WRONG]]) == [
        "probe of math: solved 0.50; of 4 problems, 1 solved by every rollout, 2 by some, 1 by "
        "none; cut off 0%, 2 tokens on average"
    ]


def test_the_first_line_says_what_it_counts_where_no_group_is_all_correct(config: Config) -> None:
    (line, *_) = said(config, [[RIGHT, WRONG], [WRONG, WRONG], [RIGHT, WRONG]])
    assert "of 3 problems, 0 solved by every rollout, 2 by some, 1 by none" in line


@pytest.mark.parametrize(
    ("groups", "warning"),
    [
        (
            [[RIGHT, CUT], [WRONG, WRONG]],
            "math: 25% of the completions were cut off: raise stage.1.max_completion_tokens (24).",
        ),
        (
            [[RIGHT, CUT], [CUT, CUT]],
            "math: 75% of the completions were cut off: raise stage.1.max_completion_tokens (24), "
            "or see whether the model can end at all: <|im_end|> end an answer.",
        ),
        (
            [[RIGHT, FORM], [FORM, FORM]],
            "math: 75% of the completions are badly formed: the model does not know the format; "
            'set prompt.template to "r1-zero" or prompt.thinking to "optional".',
        ),
        (
            [[RIGHT, NONE], [NONE, NONE]],
            "math: 75% of the completions have no answer in \\boxed{}: ask for it in "
            "prompt.math_instruction, or take a model that does as it is asked.",
        ),
        (
            [[RIGHT, WRONG], [Verdict.INFRA_ERROR, WRONG]],
            "math: 25% of the completions could not be graded: see srpo judge --selftest, and the "
            "problems' answers and tests.",
        ),
    ],
)
def test_a_trap_is_named_with_its_share_and_what_to_change(
    config: Config, groups: list[list[Verdict]], warning: str
) -> None:
    assert said(config, groups)[1:] == [warning]


def test_prompts_that_open_the_thinking_are_named_where_the_form_is_bad(config: Config) -> None:
    bad = probed(config, [[RIGHT, FORM], [FORM, FORM]])
    *_, warning = findings(bad, STOPS, opens_thinking=True)
    assert warning.startswith(
        "math: 75% of the completions are badly formed: prompts end with <think>, and completions "
        "do not close it once; "
    )


@pytest.mark.parametrize(
    ("verdicts", "because"),
    [
        ([RIGHT, RIGHT], "4 correct); math: every problem is solved already: take harder ones."),
        (
            [WRONG, WRONG],
            "4 wrong); math: no problem was solved once in 4 rollouts: take easier ones, or a "
            "larger group_size.",
        ),
        ([CUT, CUT], "4 truncated); math: 100% of the completions were cut off: raise stage.1."),
        ([Verdict.UNGRADABLE] * 2, "4 ungradable); math: 100% of the completions could not be"),
    ],
)
def test_a_run_in_which_nothing_can_be_learned_does_not_begin(
    config: Config, verdicts: list[Verdict], because: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        said(config, [verdicts, verdicts])
    text = str(caught.value)
    assert text.startswith(
        "probe: nothing can be learned here: rewards differ in none of 2 groups (4 rollouts: "
    )
    assert because in text and text.endswith("To train anyway: --set probe.problems=0")
    assert "\n" not in text


def test_one_set_with_a_signal_is_enough_to_begin(config: Config) -> None:
    part = Part("code", 1, config.stage[0], (code_problem(),))
    easy = Probed(part, (replace(graded([RIGHT, RIGHT]), problem=code_problem()),))
    texts = list(findings([*probed(config, [[RIGHT, WRONG]]), easy], STOPS))
    assert texts[-1] == "code: every problem is solved already: take harder ones."
    assert len(texts) == 3


def test_a_set_is_probed_as_the_first_stage_that_trains_on_it(tmp_path: Path) -> None:
    two = [
        {"name": "a", "sets": {"math": 1}, "steps": 1, "max_completion_tokens": 10},
        {"name": "b", "sets": {"math": 1, "code": 1}, "steps": 1, "max_completion_tokens": 20},
    ]
    shared: dict[str, Any] = {
        "problems_per_step": 2, "group_size": 2, "max_prompt_tokens": 64, "learning_rate": 0.1,
    }  # fmt: skip
    config = config_of(tmp_path).model_copy(
        update={"stage": tuple(type(config_of(tmp_path).stage[0])(**shared | s) for s in two)}
    )
    config = config.model_copy(update={"probe": config.probe.model_copy(update={"problems": 3})})
    math = [math_problem(id=f"m{n}") for n in range(9)]
    code = [code_problem(id=f"c{n}") for n in range(2)]
    sets = ProblemSets({"math": SplitSet(math), "code": SplitSet(code)})
    parts = parts_of(config, sets)
    assert [(p.set_name, p.number, p.stage.max_completion_tokens) for p in parts] == [
        ("math", 1, 10),
        ("code", 2, 20),
    ]
    assert [len(set(p.problems)) for p in parts] == [3, 2]
    assert parts == parts_of(config, sets)  # the same of the same seed
    other = parts_of(config.model_copy(update={"seed": config.seed + 1}), sets)
    assert {p.id for p in other[0].problems} != {p.id for p in parts[0].problems}


def test_what_is_kept_of_it_are_its_tokens_and_its_words(config: Config) -> None:
    found = probed(config, [[RIGHT, WRONG], [WRONG, WRONG]])
    facts = facts_of_probe(found, STOPS)
    assert facts == {"tokens": {"math": 8}, "said": list(findings(found, STOPS))}


def test_no_probe_is_an_empty_one(tmp_path: Path) -> None:
    assert probed(config_of(tmp_path), [[RIGHT, RIGHT]]) == []
    assert facts_of_probe([], STOPS) == {"tokens": {}, "said": []}
