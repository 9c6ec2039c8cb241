"""`srpo doctor` names every kind of damage, and calls nothing damage that a kill leaves behind."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.kills import outcome
from srpo.errors import RunDirectoryError
from srpo.insight.doctor_view import print_findings
from srpo.resuming.doctor import Finding, Grade, examine, exit_code
from srpo.rundir import RunDirectory
from tests.interruptions import Torn, begin, finish, killed_at, two_stages


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps that is over."""
    folder = tmp_path_factory.mktemp("sound")
    assert finish(two_stages(folder, checkpoint={"every_steps": 2}), folder / "r").finished
    return folder / "r"


def of_grade(findings: list[Finding], grade: Grade) -> list[tuple[str, str]]:
    return [(found.what, found.said) for found in findings if found.grade is grade]


def test_a_run_that_is_over_is_fine_and_untouched(sound: Path) -> None:
    before = outcome(sound)
    files = sorted(sound.rglob("*"))
    findings = examine(sound)
    assert sorted(sound.rglob("*")) == files
    assert {found.grade for found in findings} == {Grade.FINE}
    whats = [found.what for found in findings]
    assert whats.count("checkpoints/step_000005") == 1
    assert ("metrics.jsonl", "steps 1 to 5") in of_grade(findings, Grade.FINE)
    assert outcome(sound) == before


def edit(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        lines = (root / name).read_text().splitlines(keepends=True)
        (root / name).write_text("".join(change(lines)))

    return act


def in_ledger(sql: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        with closing(sqlite3.connect(root / "ledger.sqlite")) as db:
            db.execute(sql)
            db.commit()

    return act


def cut_ledger(root: Path) -> None:
    with closing(sqlite3.connect(root / "ledger.sqlite")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = (root / "ledger.sqlite").read_bytes()
    (root / "ledger.sqlite").write_bytes(data[: len(data) // 2])


def flip(name: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        data = bytearray((root / name).read_bytes())
        data[len(data) // 2] ^= 1
        (root / name).write_bytes(data)

    return act


ROLLOUTS = "rollouts/epoch_001/step_000002.jsonl"
DAMAGE: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "config": (edit("config.toml", lambda x: ["seed = \n"]), "config.toml", "not valid TOML"),
    "environment": (
        edit("environment.json", lambda x: x[:1]), "environment.json", "cannot be read",
    ),
    "a line is missing": (
        edit("metrics.jsonl", lambda x: x[:2] + x[3:]), "metrics.jsonl", "steps are missing: 3",
    ),
    "the last lines are missing": (
        edit("metrics.jsonl", lambda x: x[:3]), "metrics.jsonl", "steps are missing: 4, 5",
    ),
    "a line twice": (
        edit("metrics.jsonl", lambda x: [*x[:2], *x[1:]]), "metrics.jsonl",
        "steps appear more than once: 2",
    ),
    "no JSON": (
        edit("metrics.jsonl", lambda x: [*x[:2], "{\n", *x[3:]]), "metrics.jsonl",
        "line 3 is damaged",
    ),
    "times": (edit("times.jsonl", lambda x: x[1:]), "times.jsonl", "steps are missing: 1"),
    "tokens": (
        edit("metrics.jsonl", lambda x: [y.replace("s/step\":", "s/step\":9") for y in x]),
        "tokens", "tokens by the metrics",
    ),
    "a rollout is missing": (
        edit(ROLLOUTS, lambda x: x[1:]),
        "rollouts",
        "step 2: its verdicts differ from those in the metrics",
    ),
    "a verdict is another": (
        edit(ROLLOUTS, lambda x: [y.replace('"wrong"', '"correct"') for y in x]), "rollouts",
        "step 2: its verdicts differ",
    ),
    "rollouts cut": (
        edit(ROLLOUTS, lambda x: [*x[:-1], x[-1][:20]]), "rollouts", "step 2: its verdicts differ",
    ),
    "no rollouts": (
        lambda root: (root / ROLLOUTS).unlink(), "rollouts", "step 2: in the metrics, but without",
    ),
    "a group is missing": (
        in_ledger("DELETE FROM groups WHERE step = 2"), "ledger.sqlite",
        "step 2: 0 groups of epoch 1; metrics: 3 of 1",
    ),
    "a count is another": (
        in_ledger("UPDATE groups SET correct = correct + 1 WHERE step = 4"), "ledger.sqlite",
        "step 4: its verdicts differ",
    ),
    "a ledger cut": (cut_ledger, "ledger.sqlite", ""),
    "no ledger": (
        lambda root: (root / "ledger.sqlite").unlink(), "ledger.sqlite", "no ledger there",
    ),
    "weights": (
        flip("checkpoints/step_000005/policy.json"), "checkpoints/step_000005", "damaged",
    ),
    "state": (flip("checkpoints/step_000005/trainer.json"), "checkpoints/step_000005", ""),
    "no report": (lambda root: (root / "report.txt").unlink(), "report.txt", "missing, though"),
    "attempts": (edit("attempts.jsonl", lambda x: x * 2), "attempts.jsonl", "[1, 1] are not"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_named_with_what_can_be_done(sound: Path, tmp_path: Path, how: str) -> None:
    act, what, said = DAMAGE[how]
    root = tmp_path / "r"
    shutil.copytree(sound, root)
    act(root)
    findings = examine(root)
    wrong = of_grade(findings, Grade.WRONG)
    assert any(w == what and said in s for w, s in wrong), wrong
    assert all(found.advice for found in findings if found.grade is Grade.WRONG)
    stream = io.StringIO()
    print_findings(root, findings, Console(file=stream, width=200))
    assert exit_code(findings) == 1
    assert "wrong" in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_what_a_kill_leaves_behind_is_not_wrong(tmp_path: Path) -> None:
    config = two_stages(tmp_path, checkpoint={"every_steps": 2})
    moments: list[str] = []
    begin(config, tmp_path / "whole", Torn)(moments.append)
    first = moments.index("before append times.jsonl")
    for moment in range(first, len(moments) - 1, 9):
        out = tmp_path / str(moment)
        name = killed_at(moment, begin(config, out, Torn))
        findings = examine(out)
        assert of_grade(findings, Grade.WRONG) == [], name
        assert of_grade(findings, Grade.NOTE), name
        stream = io.StringIO()
        print_findings(out, findings, Console(file=stream, width=200))
        assert exit_code(findings) == 0
        shutil.rmtree(out)


def test_what_is_no_run_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        examine(tmp_path)
    assert RunDirectory(tmp_path).root == tmp_path
