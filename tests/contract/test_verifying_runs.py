"""How a run uses its verifiers: gold answers, isolation, soft penalty, and an exact resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from srpo import train
from srpo.config import Config, RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.errors import ConfigError, SandboxError
from srpo.rewards import Grader
from srpo.rewards.math.second_opinion import Opinion
from srpo.rundir import RunDirectory
from srpo.sandbox import CaseOutput
from srpo.sandbox.scripted import ScriptedSandbox
from srpo.types import FunctionCase, Group, Rollout, StdioCase, Verdict
from tests.factories import code_problem, math_problem, rollout
from tests.short_runs import RIGHT, WRONG, Notes, opener

SLOW_FIRST = "```python\nprint(int(input()) % 2)\n```"
ONES = "```python\nprint(1)\n```"


def config_of(folder: Path, rows: Sequence[Mapping[str, object]], **changes: Any) -> Config:
    """A stage of four epochs over these problems, two a step, with a checkpoint each step."""
    path = folder / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    stage = {
        "name": "only", "sets": {"own": 1}, "epochs": 4, "problems_per_step": 2, "group_size": 4,
        "max_completion_tokens": 24, "learning_rate": 0.1,
    }  # fmt: skip
    return Config.model_validate(
        {
            "sets": {"own": {"files": [str(path)], "bad_rows": "skip"}},
            "stage": [{**stage, **changes.pop("stage", {})}],
            "probe": {"problems": 0},
            "evaluation": {"samples": 0},
            "checkpoint": {"every_steps": 1, "keep_last": 99},
            "selection": {"rule": "uniform"},
            **changes,
        }
    )


def code_row(number: int) -> dict[str, object]:
    cases = [{"stdin": f"{n}\n", "stdout": f"{n % 2}\n"} for n in (number + 1, number, number + 3)]
    return {"domain": "code", "statement": f"Problem {number}", "tests": cases}


def math_row(number: int, answer: str = "7") -> dict[str, object]:
    return {"domain": "math", "statement": f"What is {number} + 0?", "answer": answer}


def test_a_resumed_run_tries_the_same_tests_first_and_asks_the_same_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "srpo.run.session.second_opinions",
        lambda _, rows: [
            Opinion(id, gold, "", ours, why, Verdict.CORRECT, "") for id, gold, _, ours, why in rows
        ],
    )
    # three tests each, of which printing 1 fails the first or the second, by the number's parity
    rows = [code_row(n) for n in range(2)] + [math_row(n) for n in range(2)]
    verifier = {"second_opinion_share": 0.5, "code_workers": 1}
    config = config_of(tmp_path, rows, verifier=verifier)
    answers = [SLOW_FIRST, ONES, RIGHT, WRONG]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        train(config, folder, open_model=opener(answers))
    for checkpoint in sorted((cut / "checkpoints").glob("step_*"))[3:]:
        (checkpoint / "trainer.json").unlink()
    assert train(resume=cut, open_model=opener(answers)).finished

    def left(folder: Path) -> tuple[Any, ...]:
        run = RunDirectory(folder)
        trainer = json.loads((max(run.checkpoints.glob("step_*")) / "trainer.json").read_text())
        files = sorted(run.rollouts.glob("*/*.jsonl"))
        report = json.loads(run.report_json.read_text())
        return (
            trainer["state"]["grader"], run.read_opinions(), [file.read_text() for file in files],
            report["disagreements"], report["run"]["second_opinions"],
        )  # fmt: skip

    assert left(cut) == left(whole)
    grader, opinions, _, disagreements, told = left(whole)
    assert len(grader["failures"]) == 2  # every code problem was failed by somebody
    found = [row for line in opinions for row in line["disagreements"]]
    assert disagreements == found and found
    assert told == {"asked": sum(line["asked"] for line in opinions), "disagreed": len(found)}
    assert {row["verdict"] for row in found} <= {"wrong", "no_answer"}


@pytest.mark.parametrize("agrees", [True, False])
def test_a_run_ends_with_one_line_on_what_the_other_grader_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agrees: bool
) -> None:
    monkeypatch.setattr(
        "srpo.run.session.second_opinions",
        lambda _, rows: [
            Opinion(id, gold, "", ours, why, ours if agrees else Verdict.NO_ANSWER, "")
            for id, gold, _, ours, why in rows
        ],
    )
    notes = Notes()
    config = config_of(
        tmp_path, [math_row(0), math_row(1)],
        stage={"epochs": 1}, verifier={"second_opinion_share": 1.0},
    )  # fmt: skip
    out = tmp_path / "r"
    train(config, out, watcher=notes, open_model=opener([RIGHT]))
    # two problems with four rollouts, every one of them asked about, once
    (said,) = [note for note in notes.notes if "second grader" in note]
    if agrees:
        assert said == "a second grader checked 8 math answers and disagreed on 0"
    else:
        assert said == (
            "a second grader checked 8 math answers and disagreed on 8; "
            f"both reasons are in {out / 'second_opinions.jsonl'}"
        )


def test_gold_answers_that_cannot_be_graded_are_named_once_at_the_start(tmp_path: Path) -> None:
    rows = [math_row(0), math_row(1, "@@"), *(math_row(n, "?!") for n in range(2, 5))]
    notes = Notes()
    train(
        config_of(tmp_path, rows, stage={"epochs": 1}), tmp_path / "r", watcher=notes,
        open_model=opener([RIGHT]),
    )  # fmt: skip
    (named,) = [note for note in notes.notes if "cannot be graded" in note]
    assert named.startswith("own: 4 of 5 answers cannot be graded and give no reward (problem ")
    assert named.endswith("; and 1 more)") and named.count("problem ") == 3


def test_without_isolation_no_run_directory_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srpo.sandbox.local.AUTOMATIC", ())
    with pytest.raises(SandboxError, match="cannot be isolated here"):
        train(config_of(tmp_path, [code_row(1)]), tmp_path / "r", open_model=opener([ONES]))
    assert not (tmp_path / "r").exists()


def test_a_remote_sandbox_runs_no_assert_tests(tmp_path: Path) -> None:
    row = {"domain": "code", "statement": "f", "tests": [{"program": "assert f()"}], "id": "p9"}
    config = config_of(tmp_path, [row], verifier={"remote_url": "http://127.0.0.1:9"})
    with pytest.raises(ConfigError, match=r"no assert tests, and set own has some \(problem p9\)"):
        train(config, tmp_path / "r", open_model=opener([ONES]))
    assert not (tmp_path / "r").exists()


def test_what_is_truncated_is_masked_unless_the_penalty_is_soft(tmp_path: Path) -> None:
    long = "<think>" + "x" * 40

    def advantages(name: str, **reward: object) -> list[float]:
        stage = {"epochs": 1, "reward": reward}
        config = config_of(tmp_path, [math_row(0), math_row(1)], stage=stage)
        train(config, tmp_path / name, open_model=opener([RIGHT, long]))
        (file,) = (tmp_path / name / "rollouts").glob("*/*.jsonl")
        found = [json.loads(line) for line in file.read_text().splitlines()]
        assert {row["verdict"] for row in found} >= {"truncated"}
        return [row["advantage"] for row in found if row["verdict"] == "truncated"]

    assert set(advantages("masked")) == {0.0}
    assert all(value < 0.0 for value in advantages("soft", overlong="soft"))


# -- the grader ----------------------------------------------------------------------------------


def grade(reward: RewardConfig, *rollouts: Rollout, max_tokens: int | None = 100) -> list[Rollout]:
    with Grader(VerifierConfig.model_validate({}), ScriptedSandbox()) as grader:
        (graded,) = grader.grade(
            [Group(math_problem(), (7,), rollouts, policy_version=0)],
            thinking_required=False, prefilled_thinking=False, reward=reward,
            max_tokens=max_tokens,
        )  # fmt: skip
    return list(graded.rollouts)


def test_the_soft_penalty_is_a_part_with_a_weight() -> None:
    soft = RewardConfig(overlong="soft", overlong_weight=0.5, overlong_buffer_tokens=50)
    right = rollout(text=r"\boxed{4}", tokens=range(75))
    cut = rollout(text=r"\boxed{4}", tokens=range(100), stop_reason="length")
    # 75 of 100 tokens are half way through the buffer of 50
    near, over = grade(soft, right, cut)
    assert near.parts["overlong"] == -0.5 and over.parts["overlong"] == -1.0
    assert near.reward_parts["overlong"] == -0.25
    assert near.reward == pytest.approx(1.0 + 0.1 - 0.25)
    assert (over.verdict, over.reward) == (Verdict.TRUNCATED, -0.5)


def test_without_the_soft_penalty_the_part_is_measured_and_gives_nothing() -> None:
    # the buffer is a fifth of 100 tokens, so that 90 are half way through it
    (near,) = grade(RewardConfig(), rollout(text=r"\boxed{4}", tokens=range(90)))
    assert near.parts["overlong"] == -0.5
    assert "overlong" not in near.reward_parts and near.reward == pytest.approx(1.1)
    (unknown,) = grade(RewardConfig(), rollout(text="4"), max_tokens=None)
    assert "overlong" not in unknown.parts
    with pytest.raises(ValueError, match="needs max_tokens"):
        grade(RewardConfig(overlong="soft"), rollout(text="4"), max_tokens=None)


def test_the_test_that_failed_most_is_run_first_once_it_was_observed() -> None:
    cases = (FunctionCase("f", (1,), 1), FunctionCase("f", (2,), 2))
    problem = code_problem(cases)
    outputs = (CaseOutput("ok", value=1), CaseOutput("ok", value=9))
    sandbox = ScriptedSandbox({"p\n": outputs})
    with Grader(VerifierConfig.model_validate({}), sandbox) as grader:

        def run() -> Group:
            group = Group(problem, (7,), (rollout(text="```\np\n```"),), policy_version=0)
            (graded,) = grader.grade(
                [group], thinking_required=False, prefilled_thinking=False, reward=RewardConfig()
            )
            return graded

        graded = run()
        assert graded.rollouts[0].failed_case == 1
        run()
        orders = [[item.args for item in job.inputs] for job in sandbox.seen]  # type: ignore[union-attr]
        assert orders == [[(1,), (2,)]] * 2  # grading alone changes nothing
        grader.observe([graded])
        run()
        assert [item.args for item in sandbox.seen[-1].inputs] == [(2,), (1,)]  # type: ignore[union-attr]
        state = json.loads(json.dumps(grader.state_dict()))
        assert state == {"failures": {"c1": {"1": 1}}}
    with Grader(VerifierConfig.model_validate({}), sandbox) as grader:
        grader.load_state_dict(state)
        assert grader.state_dict() == state
        with pytest.raises(ValueError, match="'failures' alone"):
            grader.load_state_dict({"failure": {}})


def test_run_all_is_handed_to_the_sandbox() -> None:
    sandbox = ScriptedSandbox()
    for run_all in (False, True):
        config = VerifierConfig.model_validate({"code_run_all": run_all})
        with Grader(config, sandbox) as grader:
            row = rollout(text="```\np\n```")
            problem = code_problem((StdioCase("1", "1"),))
            grader.grade(
                [Group(problem, (7,), (row,), policy_version=0)],
                thinking_required=False, prefilled_thinking=False, reward=RewardConfig(),
            )  # fmt: skip
    assert [job.keep_going is None for job in sandbox.seen] == [False, True]
