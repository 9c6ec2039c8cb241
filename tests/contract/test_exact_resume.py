"""A run that is killed at any moment and resumed ends in the same bytes as one that never was."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import outcome
from srpo.config import Config
from srpo.run.interrupts import StoppedAtOnce
from srpo.rundir import RunDirectory
from srpo.rundir.attempts import attempts_of
from tests.interruptions import (
    Torn,
    Writes,
    begin,
    finish,
    go_on,
    killed_at,
    two_stages,
)

DISKS = pytest.mark.parametrize("disk", [Writes, Torn])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, object], int]:
    """A run that was never killed: its config, what it came to, and how many moments it had."""
    folder = tmp_path_factory.mktemp("whole")
    config = two_stages(folder, checkpoint={"every_steps": 2})
    moments: list[str] = []
    run = begin(config, folder / "r", Torn)(moments.append)
    assert run.finished
    named = {
        "selecting begins", "before sample", "grading begins", "before forward_backward",
        "before optim_step", "after optim_step", "before write step_000001.jsonl",
        "half of append metrics.jsonl", "before commit ledger.sqlite", "before save",
        "before write trainer.json", "after write report.txt",
    }  # fmt: skip
    assert named <= set(moments)
    return config, outcome(folder / "r"), len(moments)


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_bytes(
    tmp_path: Path, whole: tuple[Config, dict[str, object], int], part: int
) -> None:
    config, expected, count = whole
    for moment in range(1 + part, count + 1, PARTS):
        out = tmp_path / f"killed at {moment}"
        name = killed_at(moment, begin(config, out, Torn))
        assert name is not None
        assert finish(config, out).exit_code == 0
        assert outcome(out) == expected, f"killed at moment {moment}: {name}"
        shutil.rmtree(out)


@DISKS
def test_killed_again_and_again_it_ends_in_the_same_bytes(
    tmp_path: Path, whole: tuple[Config, dict[str, object], int], disk: type[Writes]
) -> None:
    config, expected, _ = whole
    out = tmp_path / "r"
    killed_at(9, begin(config, out, disk))
    names = []
    for moment in range(1, 200, 7):  # further each time, so that it gets on
        names.append(killed_at(moment, go_on(out, disk)))
        if names[-1] is None:
            break
    assert names[-1] is None and len(names) > 10
    assert outcome(out) == expected
    attempts = attempts_of(RunDirectory(out))
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))


VARIANTS: dict[str, dict[str, Any]] = {
    "drafts and prefixes": {"reuse": {"drafts": True, "prefixes": True}},
    "pilots and refills": {"selection": {"pilot": 2, "refills": 2}},
    "minibatches and passes": {"optimizer": {"minibatches": 2, "passes": 2}},
    "a reference": {"loss": {"kl_weight": 0.1}},
    "a subset": {"loss": {"subset": 2}},
    "a budget": {"budget": {"rollouts": 50}},
    **{rule: {"selection": {"rule": rule}} for rule in ("uniform", "spaced", "soft-drop")},
    **{rule: {"selection": {"rule": rule, "pilot": 2}} for rule in ("mopps", "dps")},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("how", ["killed", "told to stop"])
def test_whatever_a_run_does_it_is_resumed_exactly(tmp_path: Path, variant: str, how: str) -> None:
    sets = {"math": {"generate": "math", "count": 6, "holdout": 4, "validation": 4}}
    evaluation = {"samples": 1, "every_steps": 2}
    changes = {"sets": sets, "evaluation": evaluation, **VARIANTS[variant]}
    config = two_stages(tmp_path, checkpoint={"every_steps": 3}, **changes)
    moments: list[str] = []
    assert begin(config, tmp_path / "whole", Torn)(moments.append).finished
    out = tmp_path / "r"
    rng = random.Random(variant)
    stops = 0
    while True:  # every time further than before, on average
        moment = rng.randint(1, 60 + 10 * stops)
        work = go_on(out, Torn) if (out / "config.toml").exists() else begin(config, out, Torn)
        if how == "killed":
            if killed_at(moment, work) is None:
                break
        else:
            with suppress(StoppedAtOnce):  # before there was anything to save
                if work(At(moment, lambda: signal.raise_signal(signal.SIGTERM))).finished:
                    break
        stops += 1
    assert stops > 2
    assert outcome(out) == outcome(tmp_path / "whole")


class At:
    """Acts at a moment by its number, from 1."""

    def __init__(self, moment: int, act: Callable[[], None]) -> None:
        self._left, self._act = moment, act

    def __call__(self, _: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()


def test_what_was_done_twice_is_kept_under_the_name_of_the_attempt(tmp_path: Path) -> None:
    config = two_stages(tmp_path, checkpoint={"every_steps": 2})
    out = tmp_path / "r"
    names: list[str] = []
    begin(config, tmp_path / "whole", Writes)(names.append)
    third = names.index("after append metrics.jsonl", names.index("after write step_000003.jsonl"))
    assert killed_at(third + 1, begin(config, out, Writes)) == "after append metrics.jsonl"
    before = {
        name: (out / name).read_text().splitlines()[2] for name in ("metrics.jsonl", "times.jsonl")
    }
    rollouts = (out / "rollouts" / "epoch_002" / "step_000003.jsonl").read_bytes()
    finish(config, out)
    aside = out / "set_aside" / "attempt_001"
    for name, line in before.items():
        assert (aside / name).read_text().splitlines() == [line]
    assert (aside / "rollouts" / "epoch_002" / "step_000003.jsonl").read_bytes() == rollouts
    rows = [json.loads(line) for line in (aside / "ledger.jsonl").read_text().splitlines()]
    assert {(row["kind"], row["step"]) for row in rows} >= {("group", 3)}
    assert sum(row["kind"] == "group" for row in rows) == 3  # a step's three problems
    last = attempts_of(RunDirectory(out))[-1]
    assert (last.number, last.from_step) == (2, 2)
    assert last.set_aside == {"metrics": 1, "times": 1, "rollouts": 1, "ledger": len(rows)}
