"""Which held-out problems a run reads, and when; what a budget ends; what several updates do."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from srpo.engines import Drafts
from srpo.engines.scripted import ScriptedEngine
from srpo.history import Ledger
from srpo.rundir import RunDirectory
from srpo.trainer import Run, train
from srpo.types import Sample, Sampling
from tests.short_runs import RIGHT, WRONG, config_of, opener

SETS: dict[str, Any] = {
    "math": {"generate": "math", "count": 8, "holdout": 8, "validation": 8},
}


def trained(folder: Path, **changes: Any) -> Run:
    stage = {"epochs": None, "steps": 4, **changes.pop("stage", {})}
    config = config_of(folder, count=8, stage=stage, **changes)
    return train(config, folder / "run", open_model=opener([RIGHT, WRONG]))


def evaluations(run: Run) -> list[tuple[str, int]]:
    """(split, step) of every evaluation, in order."""

    return [(row["split"], row["step"]) for row in RunDirectory(run.directory).read_evaluations()]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (
            "first-and-last",
            ["test 0", "validation 0", "validation 2", "validation 4", "test 4"],
        ),
        ("last", ["validation 0", "validation 2", "validation 4", "test 4"]),
        ("never", ["validation 0", "validation 2", "validation 4"]),
    ],
)
def test_the_test_problems_are_read_when_the_config_says(
    tmp_path: Path, test: str, expected: list[str]
) -> None:
    how = {"samples": 1, "every_steps": 2, "test": test}
    run = trained(tmp_path, sets=SETS, evaluation=how)
    assert [f"{split} {step}" for split, step in evaluations(run)] == expected


def test_without_validation_problems_the_test_problems_serve_along_the_way(tmp_path: Path) -> None:
    sets = {"math": {**SETS["math"], "validation": 0}}
    run = trained(tmp_path, sets=sets, evaluation={"samples": 1, "every_steps": 2})
    assert evaluations(run) == [("test", 0), ("test", 2), ("test", 4)]


def tokens_by_step(run: Run) -> dict[int, int]:
    """Tokens generated in training up to the end of each step."""
    rows = RunDirectory(run.directory).read_metrics()
    return {int(row["step"] or 0): int(row["tokens/total"] or 0) for row in rows}


def test_evaluation_by_tokens_comes_after_each_step_that_crosses_a_multiple(
    tmp_path: Path,
) -> None:
    how = {"samples": 1, "every_tokens": 130, "test": "never"}
    run = trained(tmp_path, sets=SETS, evaluation=how)
    spent = tokens_by_step(run)
    crossing = [n for n in spent if spent[n] // 130 > spent.get(n - 1, 0) // 130]
    assert 0 < len(crossing) < 4  # some steps cross a multiple, and some do not
    # beside those: before training and at the end, once
    assert evaluations(run) == [("validation", n) for n in sorted({0, *crossing, 4})]


def test_validation_is_also_made_at_the_end_and_not_twice(tmp_path: Path) -> None:
    how = {"samples": 1, "every_steps": 3, "test": "never"}
    run = trained(tmp_path, sets=SETS, evaluation=how)
    assert evaluations(run) == [("validation", 0), ("validation", 3), ("validation", 4)]


def test_no_validation_at_the_end_of_a_run_that_does_not_watch(tmp_path: Path) -> None:
    run = trained(tmp_path, sets=SETS, evaluation={"samples": 1, "test": "last"})
    assert evaluations(run) == [("test", 4)]


def test_the_test_is_read_where_the_token_budget_is_spent(tmp_path: Path) -> None:
    # the tokens are spent in the first step; the rollouts, 12 a step, in the third
    how = {"samples": 1, "test": "at-token-budget"}
    run = trained(tmp_path, sets=SETS, evaluation=how, budget={"rollouts": 30, "tokens": 1})
    assert list(tokens_by_step(run)) == [1, 2, 3]
    assert evaluations(run) == [("test", 1)]
    assert run.after is not None and run.after.step == 1
    assert run.before is None
    report = json.loads((run.directory / "report.json").read_text())
    assert report["after"]["step"] == 1


def test_a_run_that_ends_before_its_token_budget_reads_the_test_at_its_end(tmp_path: Path) -> None:
    how = {"samples": 1, "test": "at-token-budget"}
    run = trained(tmp_path, sets=SETS, evaluation=how, budget={"tokens": 10**9})
    assert evaluations(run) == [("test", 4)]


def test_reading_the_test_at_a_token_budget_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"needs budget\.tokens"):
        config_of(tmp_path, evaluation={"test": "at-token-budget"}, budget={"rollouts": 5})


def test_an_evaluation_says_what_training_had_spent(tmp_path: Path) -> None:
    run = trained(tmp_path, sets=SETS, evaluation={"samples": 1, "every_steps": 2})
    directory = RunDirectory(run.directory)
    spent = {row["step"]: row["tokens/total"] for row in directory.read_metrics()}
    rows = directory.read_evaluations()
    assert [row["step"] for row in rows] == [0, 0, 2, 4, 4]  # the test split first and last
    for row in rows:
        assert row["tokens_spent"] == spent.get(row["step"], 0)
        assert row["rollouts_spent"] == row["step"] * 3 * 4  # three groups of four a step


class Recording(ScriptedEngine):
    """Keeps what it is asked to draw, by the number of completions of a prompt."""

    asked: dict[int, list[tuple[Sequence[Sequence[int]], Sampling]]]

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        self.asked.setdefault(n, []).append((prompts, how))
        return super().sample(prompts, n, how, drafts)


def test_held_out_accuracy_is_read_with_the_same_draws_every_time(tmp_path: Path) -> None:
    engines: list[Recording] = []

    def made(*given: Any) -> Recording:
        engines.append(Recording(*given))
        engines[-1].asked = {}
        return engines[-1]

    how = {"samples": 3, "temperature": 0.3, "test": "first-and-last"}
    stage = {"epochs": None, "steps": 2, "learning_rate": 0.4, "temperature": 1.0}
    config = config_of(tmp_path, count=8, sets=SETS, stage=stage, evaluation=how)
    train(config, tmp_path / "run", open_model=opener([RIGHT, WRONG], made))
    (engine,) = engines
    first, last = engine.asked[3]  # training draws groups of four
    assert first == last
    assert first[1].temperature == 0.3
    drawn = engine.asked[4]
    assert {given.temperature for _, given in drawn} == {1.0}
    assert len({given.seed for _, given in drawn} | {first[1].seed}) == 3  # two steps, and this


def test_the_seconds_of_a_step_include_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Ledger.record_step

    def slowly(self: Ledger, *args: Any, **named: Any) -> None:
        time.sleep(0.05)
        record(self, *args, **named)

    monkeypatch.setattr(Ledger, "record_step", slowly)
    run = trained(tmp_path)
    rows = RunDirectory(run.directory).read_times()
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(row["recording"] >= 0.05 for row in rows)
    lines = RunDirectory(run.directory).read_metrics()
    assert not [name for row in lines for name in row if name.startswith("seconds")]


def test_a_run_ends_when_all_of_its_budget_is_spent(tmp_path: Path) -> None:
    # 12 rollouts a step: 30 are spent in the third step; the tokens, one, long before
    run = trained(tmp_path, budget={"rollouts": 30, "tokens": 1}, stage={"steps": 99})
    assert run.finished
    assert run.ending == (
        "The run is complete: its budget of 30 rollouts and 1 generated tokens is spent."
    )

    assert [row["rollouts/total"] for row in RunDirectory(run.directory).read_metrics()] == [
        12,
        24,
        36,
    ]


def test_minibatches_and_passes_multiply_the_updates(tmp_path: Path) -> None:

    optimizer = {"minibatches": 3, "passes": 2}
    run = trained(tmp_path, optimizer=optimizer, stage={"steps": 1, "group_size": 16})
    (row,) = RunDirectory(run.directory).read_metrics()
    # 16 answers, right or wrong with equal chance: every one of the three groups has a signal
    assert row["all/signal_frac"] == 1.0
    state = (run.checkpoint / "trainer.json").read_text()
    assert '"policy_version": 6' in state


def test_a_heavy_kl_term_holds_the_policy_where_it_began(tmp_path: Path) -> None:
    # half of the answers are right at first; left alone the policy learns to be right always
    last = {}
    for weight in (0.0, 4.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        changes = {"loss": {"kl_weight": weight}, "selection": {"rule": "uniform"}}
        run = trained(folder, stage={"steps": 40, "learning_rate": 0.2}, **changes)
        rows = RunDirectory(run.directory).read_metrics()[-10:]
        last[weight] = sum(float(row["all/pass_rate"] or 0.0) for row in rows) / len(rows)
    assert last[0.0] > 0.9
    assert last[4.0] < 0.8
