"""The loop on the scripted engine: what it does when there is nothing to learn, and resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from srpo import train
from srpo.config import Config
from srpo.engines import OpenModel
from srpo.history import Ledger
from srpo.rundir import RunDirectory
from tests.short_runs import RIGHT, WRONG, Notes, config_of, opener


@pytest.mark.parametrize("answers", [[RIGHT], [WRONG]], ids=["always right", "always wrong"])
def test_a_run_without_any_signal_ends_with_a_sentence(tmp_path: Path, answers: list[str]) -> None:
    notes = Notes()
    run = train(config_of(tmp_path), tmp_path / "r", watcher=notes, open_model=opener(answers))
    assert run.exit_code == 0
    assert "nothing more can be learned" in run.ending
    assert run.ending.endswith("No weight was changed: no group of the whole run had a signal.")
    assert all(not figures.updated for figures in notes.steps)
    # 6 problems, 3 a step: 2 steps an epoch, and 3 idle epochs; an always-right engine drops all
    # but the floor of 3 after the first epoch, so that its later epochs are 1 step long
    assert len(notes.steps) == (4 if answers == [RIGHT] else 6)
    assert sum("no group had a signal" in note for note in notes.notes) == len(notes.steps)


def test_a_run_that_made_all_of_its_steps_is_complete_though_nothing_was_learned(
    tmp_path: Path,
) -> None:
    # of all-wrong answers 2 steps make an epoch, and after 3 idle ones the stage would be given up
    stage = {"epochs": None, "steps": 6}
    notes = Notes()
    run = train(config_of(tmp_path, stage=stage), watcher=notes, out=tmp_path / "r",
                open_model=opener([WRONG]))  # fmt: skip
    assert "stage 1 (only) ends: its 6 steps are done" in notes.notes
    assert run.ending.startswith("The run is complete: every stage reached its declared end.")


def test_what_is_to_be_said_of_a_model_is_said_once_as_the_run_begins(tmp_path: Path) -> None:
    def open_model(config: Config, folder: Path) -> OpenModel:
        return replace(opener([RIGHT])(config, folder), notes=("slower",))

    notes = Notes()
    run = train(config_of(tmp_path), tmp_path / "r", watcher=notes, open_model=open_model)
    assert notes.notes.count("slower") == 1
    with Ledger(RunDirectory(run.directory).ledger, read_only=True) as ledger:
        assert [text for _, kind, text in ledger.events() if kind == "model"] == ["slower"]


def test_dropped_problems_come_back_when_a_set_would_run_out(tmp_path: Path) -> None:
    notes = Notes()
    train(config_of(tmp_path), tmp_path / "r", watcher=notes, open_model=opener([RIGHT]))
    # epoch 1: 6 all correct, 3 needed: 3 stay dropped, 3 come back; epoch 2: these 3 are dropped
    # and the 3 that have been out longest come back
    assert [(f.kept, f.dropped, f.revived) for f in notes.steps[1:3]] == [(3, 3, 3), (3, 3, 3)]
    assert any("math: 3 dropped problems come back" in note for note in notes.notes)
    with Ledger(RunDirectory(tmp_path / "r").ledger, read_only=True) as ledger:
        assert [(e.epoch, e.groups, e.revived) for e in ledger.epochs()] == [
            (1, 6, 3),
            (2, 3, 3),
            (3, 3, 3),
        ]


def test_the_policy_learns_what_is_rewarded(tmp_path: Path) -> None:
    notes = Notes()
    stage = {"epochs": 12, "learning_rate": 0.4}
    config = config_of(tmp_path, stage=stage, selection={"rule": "uniform"})
    train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT, WRONG]))
    first, last = notes.steps[0].overall, notes.steps[-1].overall
    assert first.pass_rate is not None and first.pass_rate < 0.8
    assert last.pass_rate is not None and last.pass_rate > 0.9
    gaps = [f.logprob_gap for f in notes.steps if f.logprob_gap is not None]  # None: not trained
    assert notes.steps[0].logprob_gap is not None
    assert max(gaps) < 1e-9


def test_two_stages_run_in_order_and_the_first_ones_drops_stay_dropped(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    first = config.stage[0].model_copy(update={"name": "one", "epochs": 1})
    second = config.stage[0].model_copy(update={"name": "two", "epochs": 1})
    notes = Notes()
    two = config.model_copy(update={"stage": (first, second)})
    train(two, tmp_path / "r", watcher=notes, open_model=opener([RIGHT]))
    # stage 1: one epoch of 2 steps drops 6 and revives 3; stage 2 begins with these 3: 1 step
    assert [(f.stage, f.epoch, f.step) for f in notes.steps] == [(1, 1, 1), (1, 1, 2), (2, 2, 3)]
    assert sum("begins" in note for note in notes.notes) == 2
    with Ledger(RunDirectory(tmp_path / "r").ledger, read_only=True) as ledger:
        stages = [(step, text) for step, kind, text in ledger.events() if kind == "stage"]
    assert [(step, text.split(":")[0]) for step, text in stages] == [
        (0, "stage 1 (one) begins"),
        (2, "stage 1 (one) ends"),
        (2, "stage 2 (two) begins"),
        (3, "stage 2 (two) ends"),
    ]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    def metrics(out: str, seed: int) -> list[dict[str, Any]]:
        config = config_of(tmp_path, seed=seed, stage={"epochs": 2})
        train(config, tmp_path / out, open_model=opener([RIGHT, WRONG]))
        rows = RunDirectory(tmp_path / out).read_metrics()
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]

    assert metrics("a", 1) == metrics("b", 1)
    assert metrics("a2", 1) != metrics("c", 2)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": 1})
    train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "r").rglob("*.jsonl")}
    notes = Notes()
    again = train(resume=tmp_path / "r", watcher=notes, open_model=opener([RIGHT, WRONG]))
    assert again.finished and again.exit_code == 0
    assert any("this run is over" in note for note in notes.notes)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "r").rglob("*.jsonl")} == before
