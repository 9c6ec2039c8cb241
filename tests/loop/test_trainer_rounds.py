"""Whole runs on the scripted engine: every rule, pilots, refills and budgets, and resuming them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from srpo import train
from srpo.history import Ledger
from srpo.rundir import RunDirectory
from srpo.selection import RULES
from tests.short_runs import RIGHT, WRONG, Notes, config_of, opener

EVERY_STEP = {"every_steps": 1, "keep_last": 99}


def in_steps(number: int, **changes: Any) -> dict[str, Any]:
    """A stage of so many steps of three problems with four rollouts each."""
    return {"epochs": None, "steps": number, **changes}


def rows(folder: Path) -> list[dict[str, Any]]:
    found = RunDirectory(folder).read_metrics()
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in found]


def groups_of(folder: Path) -> list[dict[str, int]]:
    """Of each step, the problems that came, and how many rollouts each has."""
    found = []
    for path in sorted((folder / "rollouts").rglob("step_*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found.append(dict(Counter(json.loads(line)["problem"] for line in lines)))
    return found


def test_refills_fill_the_step_with_mixed_groups(tmp_path: Path) -> None:
    notes = Notes()
    config = config_of(
        tmp_path,
        count=60,
        stage=in_steps(8, learning_rate=1e-6, group_size=2),
        selection={"rule": "uniform", "refills": 20},
    )
    train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT, WRONG]))
    # a group of two is mixed half of the time: three places need six groups on average, and
    # twenty refills fail to bring three with a probability of less than 1e-4
    assert [figures.outcomes["mixed"] for figures in notes.steps] == [3] * 8
    assert notes.steps[-1].total_rollouts > 8 * 3 * 2
    assert not any("refills ran out" in note for note in notes.notes)


def test_when_refills_run_out_the_run_goes_on_and_says_so(tmp_path: Path) -> None:
    notes = Notes()
    config = config_of(
        tmp_path,
        count=30,
        stage=in_steps(4),
        selection={"rule": "uniform", "refills": 2, "idle_epochs": 99},
    )
    run = train(config, tmp_path / "r", watcher=notes, open_model=opener([WRONG]))
    assert run.finished
    # three places, and each of two refills draws three others: nine groups of four
    assert [figures.outcomes["all_wrong"] for figures in notes.steps] == [9] * 4
    assert notes.steps[-1].total_rollouts == 4 * 9 * 4
    assert sum("refills ran out" in note and "said once" in note for note in notes.notes) == 1
    assert any("12 places in all had no mixed group" in note for note in notes.notes)


@pytest.mark.parametrize(("chance", "rollouts"), [(0.5, 2), (0.0, 4)])
def test_a_pilot_that_is_all_correct_costs_the_pilot_only(
    tmp_path: Path, chance: float, rollouts: int
) -> None:
    # two of two right, of four: mixed with the chance 1 - 3/4 * 4/5 = .4 at first, then with less
    notes = Notes()
    config = config_of(
        tmp_path,
        count=12,
        stage=in_steps(4),
        selection={"rule": "uniform", "pilot": 2, "pilot_chance": chance, "idle_epochs": 99},
    )
    train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT]))
    assert [figures.outcomes["all_correct"] for figures in notes.steps] == [3] * 4
    assert notes.steps[-1].total_rollouts == 4 * 3 * rollouts


def test_a_pilot_that_is_mixed_gets_its_whole_group(tmp_path: Path) -> None:
    notes = Notes()
    config = config_of(
        tmp_path,
        count=12,
        stage=in_steps(6, learning_rate=1e-6),
        selection={"rule": "uniform", "pilot": 2, "pilot_chance": 1.0},
    )
    train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT, WRONG]))
    mixed = sum(figures.outcomes["mixed"] for figures in notes.steps)
    # 18 groups; a mixed one has four rollouts, any other two
    assert 0 < mixed < 18
    assert notes.steps[-1].total_rollouts == 18 * 2 + mixed * 2


@pytest.mark.parametrize(("rollouts", "steps"), [(25, 3), (24, 2), (1, 1)])
def test_the_run_ends_when_its_budget_is_spent(tmp_path: Path, rollouts: int, steps: int) -> None:
    # 12 rollouts a step
    config = config_of(tmp_path, budget={"rollouts": rollouts})
    run = train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    assert run.finished
    assert run.ending == f"The run is complete: its budget of {rollouts} rollouts is spent."
    assert len(rows(tmp_path / "r")) == steps


def test_of_two_budgets_both_must_be_spent(tmp_path: Path) -> None:
    config = config_of(tmp_path, budget={"rollouts": 12, "tokens": 400})
    run = train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    last = rows(tmp_path / "r")[-1]
    assert last["tokens/total"] >= 400
    assert rows(tmp_path / "r")[-2]["tokens/total"] < 400
    assert "12 rollouts and 400 generated tokens" in run.ending


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_to_the_end_and_a_resumed_run_is_the_same(
    tmp_path: Path, rule: str
) -> None:
    # resumed from the checkpoint after step 4, in the middle of an epoch
    config = config_of(
        tmp_path,
        count=8,
        stage=in_steps(8),
        selection={"rule": rule, "refills": 2, "pilot": 2, "pilot_chance": 0.45},
        checkpoint=EVERY_STEP,
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        train(config, folder, open_model=opener([RIGHT, WRONG]))
    for checkpoint in sorted((cut / "checkpoints").glob("step_*"))[4:]:
        (checkpoint / "trainer.json").unlink()
    run = train(resume=cut, open_model=opener([RIGHT, WRONG]))
    assert run.finished
    assert "every stage reached its declared end" in run.ending
    assert len(groups_of(whole)) == len(rows(whole)) == 8
    assert rows(cut) == rows(whole)
    assert groups_of(cut) == groups_of(whole)
    final = max((whole / "checkpoints").glob("step_*")).name
    policies = [(f / "checkpoints" / final / "policy.json").read_text() for f in (cut, whole)]
    assert policies[0] == policies[1]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_ends_a_stage_that_counts_epochs_and_hands_on_what_it_knows(
    tmp_path: Path, rule: str
) -> None:
    config = config_of(tmp_path, selection={"rule": rule, "idle_epochs": 99})
    first = config.stage[0].model_copy(update={"name": "one", "epochs": 3})
    second = config.stage[0].model_copy(update={"name": "two", "epochs": 2})
    two = config.model_copy(update={"stage": (first, second)})
    run = train(two, tmp_path / "r", open_model=opener([RIGHT]))
    assert run.finished
    found = rows(tmp_path / "r")
    assert [found[0]["epoch"], found[-1]["epoch"], found[-1]["stage"]] == [1, 5, 2]
    # six problems at three a step are two steps an epoch; rules that skip or drop have fewer
    assert 5 <= len(found) <= 10
    if rule in ("uniform", "mopps", "dps"):
        assert len(found) == 10


@pytest.mark.parametrize("rule", ["uniform", "soft-drop"])
def test_a_run_in_which_all_is_solved_ends_after_whole_epochs_and_says_what_they_are(
    tmp_path: Path, rule: str
) -> None:
    # 12 problems, 3 a step: two idle epochs are 8 steps, though soft-drop soon has no pass left
    notes = Notes()
    config = config_of(
        tmp_path, count=12, stage=in_steps(99), selection={"rule": rule, "idle_epochs": 2}
    )
    run = train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT]))
    assert len(notes.steps) == 8
    assert ("nothing more can be learned" in run.ending) == (rule == "uniform")
    assert ("soft-drop may have left some out" in run.ending) == (rule == "soft-drop")


def test_the_ledger_says_why_a_group_stayed_small(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        count=3,
        stage=in_steps(1),
        selection={"rule": "uniform", "pilot": 2, "pilot_chance": 0.5},
    )
    run = train(config, tmp_path / "r", open_model=opener([RIGHT]))
    with Ledger(RunDirectory(run.directory).ledger, read_only=True) as ledger:
        found = [ledger.life_of(row.id)[0][0].why for row in ledger.find_problems("")]
    # two of two right, of four: 1 - 3/4 * 4/5
    assert found == ["its turn; no rest, chance 0.40"] * 3


@pytest.mark.parametrize(("refills", "count", "groups"), [(0, 30, 3), (2, 30, 9), (2, 7, 7)])
def test_a_run_in_which_nothing_is_mixed_takes_every_refill_there_is(
    tmp_path: Path, refills: int, count: int, groups: int
) -> None:
    # three groups of four a step, and two rounds of three others; no problem twice in a step
    rule = {"rule": "uniform", "refills": refills, "idle_epochs": 99}
    config = config_of(tmp_path, count=count, stage=in_steps(2), selection=rule)
    train(config, tmp_path / "r", open_model=opener([WRONG]))
    total = RunDirectory(tmp_path / "r").read_metrics()[-1]["rollouts/total"]
    assert total == 2 * groups * 4


def test_a_run_over_mixed_groups_records_what_it_trained_on(tmp_path: Path) -> None:
    # all answers are wrong, and the longer ones are punished for their length: nothing to train on
    config = config_of(
        tmp_path,
        loss={"average_over": "mixed"},
        selection={"rule": "uniform"},
        stage={
            "epochs": None,
            "steps": 2,
            "reward": {"overlong": "soft", "overlong_buffer_tokens": 24},
        },
    )
    train(config, tmp_path / "r", open_model=opener([WRONG, WRONG + " 7 7"]))
    run = RunDirectory(tmp_path / "r")
    lines = [
        json.loads(line)
        for path in (tmp_path / "r" / "rollouts").rglob("step_*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len({row["reward"] for row in lines}) > 1
    assert {row["advantage"] for row in lines} == {0.0}
    for row in run.read_metrics():
        assert row["fate/gradient_tokens"] == 0
        assert row["fate/all_wrong_tokens"]
