"""Whole runs, as a user starts them, on the embedded model and cut short."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import srpo
from srpo.embedded import MODEL_DIR
from srpo.embedded.world import generate
from srpo.problems import write_problems
from srpo.rundir import RunDirectory
from tests.command_line import ENVIRONMENT, command, run, settings

SHORT = ("sets.math.count=96", "sets.code.count=96", "sets.math.holdout=16", "sets.code.holdout=16")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [dict(row) for row in RunDirectory(folder).read_metrics()]


def test_the_demo_cut_short_draws_out_thinking_and_leaves_everything_behind(tmp_path: Path) -> None:
    short = settings(*SHORT, "stage.1.steps=14", "stage.2.steps=2")
    done = run("train", *short, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    folder = tmp_path / "runs" / "demo-001"
    metrics = rows(folder)
    assert [row["stage"] for row in metrics] == [1] * 14 + [2] * 2
    # math thinking is rare at the start and has at least doubled by the end of stage 1
    first = sum(row["math/thinking_frac"] for row in metrics[:3]) / 3
    last = sum(row["math/thinking_frac"] for row in metrics[11:14]) / 3
    assert first < 0.2 and last > 2 * first
    assert "code/reward" not in metrics[0] and metrics[15]["code/groups"] > 0
    for name in (
        "config.toml",
        "environment.json",
        "ledger.sqlite",
        "report.json",
        "report.txt",
        "curve.png",
        "rollouts/epoch_001/step_000001.jsonl",
        "checkpoints/step_000016/model.safetensors",
        "checkpoints/step_000016/tokenizer.json",
    ):
        assert (folder / name).stat().st_size > 0, name
    report = json.loads((folder / "report.json").read_text())
    assert set(report["before"]["domains"]) == set(report["after"]["domains"]) == {"math", "code"}
    assert report["after"]["domains"]["math"]["samples"] == 32
    assert "built into the bundled model on purpose" in " ".join(done.stdout.split())
    lines = re.findall(r"^ {4}(from .*|model = .*|tokenizer = .*)$", done.stdout, re.MULTILINE)
    script = "\n".join([*lines, "print(model.num_parameters(), len(tokenizer))"])
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    made = json.loads((MODEL_DIR / "report.json").read_text())
    sizes = [str(made["weights"]), str(made["vocabulary"])]
    assert loaded.stdout.split() == sizes, loaded.stderr


def test_rollouts_and_ledger_and_metrics_agree(tmp_path: Path) -> None:
    short = settings(*SHORT, "stage.1.steps=2", "stage.2.steps=2", "evaluation.samples=0")
    assert run("train", "--out", "r", *short, cwd=tmp_path).returncode == 0
    metrics = rows(tmp_path / "r")
    for row in metrics:
        epoch, step = row["epoch"], row["step"]
        path = tmp_path / "r" / "rollouts" / f"epoch_{epoch:03d}" / f"step_{step:06d}.jsonl"
        rollouts = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rollouts) == 32 * 8
        assert sum(len(r["tokens"]) for r in rollouts) == row["tokens/step"]
        correct = sum(r["verdict"] == "correct" for r in rollouts)
        assert correct == row["verdict/correct_count"]
        mean = sum(r["reward"] for r in rollouts) / len(rollouts)
        assert mean == pytest.approx(row["all/reward"])
        for r in rollouts:
            assert r["reward"] == pytest.approx(sum(r["reward_parts"].values()))
    shown = run("ledger", "r", cwd=tmp_path)
    assert shown.returncode == 0
    assert "problems drawn" in shown.stdout


def test_problems_of_ones_own_as_jsonl_and_parquet(tmp_path: Path) -> None:
    write_problems(tmp_path / "sums.jsonl", generate("math", "train", 32, 5))
    write_problems(tmp_path / "programs.parquet", generate("code", "train", 32, 5))
    small = settings(
        "every_stage.problems_per_step=8",
        "every_stage.group_size=4",
        "stage.1.epochs=1",
        "stage.2.epochs=1",
    )
    files = ("--problems", "sums.jsonl", "--problems", "programs.parquet")
    done = run("train", "--model", MODEL_DIR, *files, *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = rows(tmp_path / "runs" / "own-001")
    # 29 math problems (3 held out): 4 steps of 8; then as many of each domain in steps of 4 + 4
    assert [row["stage"] for row in metrics] == [1] * 4 + [2] * 8
    assert metrics[-1]["code/groups"] == 4
    report = json.loads((tmp_path / "runs" / "own-001" / "report.json").read_text())
    assert report["before"]["domains"]["code"]["problems"] == 3


def test_vanilla_grpo_is_one_mixed_stage_without_drops(tmp_path: Path) -> None:
    mix = "stage.2.sets={math=1,code=3}"
    short = settings(*SHORT, mix, "stage.1.steps=2", "stage.2.steps=3", "evaluation.samples=0")
    done = run("train", "--algorithm", "grpo", "--out", "r", *short, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = rows(tmp_path / "r")
    assert len(metrics) == 5
    # shares 1:3 of 32 places
    assert all((r["math/groups"], r["code/groups"]) == (8, 24) for r in metrics)
    assert all(row["history/dropped_problems"] == 0 for row in metrics)


def test_ctrl_c_saves_and_says_how_to_go_on_and_resume_finishes(tmp_path: Path) -> None:
    short = settings(*SHORT, "stage.1.steps=5", "stage.2.steps=3", "evaluation.samples=0")
    process = subprocess.Popen(
        command("train", "--out", "r", *short),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "r" / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "srpo train --resume r" in out
    assert "Traceback" not in out + err
    done = len(rows(tmp_path / "r"))
    assert 1 <= done < 8
    resumed = run("train", "--resume", "r", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert [row["step"] for row in rows(tmp_path / "r")] == list(range(1, 9))
    again = run("train", "--resume", "r", cwd=tmp_path)
    assert again.returncode == 0
    assert "this run is over" in again.stdout


def test_the_python_api_returns_the_run(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        """
        [sets.math]
        generate = "math"
        count = 16
        holdout = 8
        [[stage]]
        name = "only"
        sets = { math = 1 }
        steps = 1
        problems_per_step = 4
        group_size = 2
        max_completion_tokens = 16
        """
    )
    found = srpo.train(config, tmp_path / "r")
    assert found.finished and found.exit_code == 0
    assert found.directory == tmp_path / "r"
    assert found.checkpoint.name == "step_000001"
    assert found.before is not None and found.after is not None
    assert found.after.domains["math"].overall.problems == 8


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_demo_reaches_what_the_readme_says(tmp_path: Path) -> None:
    done = subprocess.run(
        command("train"), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "runs" / "demo-001" / "report.json").read_text())
    for domain in ("math", "code"):
        assert report["before"]["domains"][domain]["accuracy"] <= 0.5
        assert report["after"]["domains"][domain]["accuracy"] >= 0.9
