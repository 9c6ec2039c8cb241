"""Whole runs that draw with vLLM. Slow, and only where it is installed (docs/vllm.md)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.command_line import run, settings
from tests.e2e.test_runs import SHORT, rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WITH_VLLM = settings(
    *SHORT,
    "model.sampler=vllm",
    "model.sampler_cache_gib=0.5",
    "every_stage.problems_per_step=8",
    "stage.1.steps=2",
    "evaluation.samples=0",
)


def needs_vllm() -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed; see docs/vllm.md")


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_sampler_and_trainer_agree_after_every_step_and_a_resumed_run_is_the_same(
    tmp_path: Path,
) -> None:
    needs_vllm()
    whole = run("train", *WITH_VLLM, *settings("stage.2.steps=2"), "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    first = run("train", *WITH_VLLM, *settings("stage.2.steps=1"), "--out", "parts", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    more = settings("stage.2.steps=2")
    second = run("train", "--resume", "parts", *more, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    metrics = rows(tmp_path / "whole")
    # a stale sampler would be off by far more: a step changes logprobs by 1e-2
    assert [row["update/done"] for row in metrics] == [1] * 4
    assert all(row["update/logprob_gap"] < 5e-5 for row in metrics)
    assert rows(tmp_path / "parts") == metrics
    ends = [tmp_path / name / "checkpoints" / "step_000004" for name in ("whole", "parts")]
    assert weights(ends[0]) == weights(ends[1])


def test_the_gap_of_bfloat16_is_measured_corrected_and_shown(tmp_path: Path) -> None:
    needs_vllm()
    rounded = settings("stage.2.steps=1", "model.dtype=bfloat16", "loss.importance_cap=2")
    done = run("train", *WITH_VLLM, *rounded, "--out", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for row in rows(tmp_path / "r"):
        assert 1e-5 < row["update/mean_logprob_gap"] < 0.02  # rounding, to 8 bits
        assert row["update/importance_capped_frac"] < 0.05
    gap = json.loads((tmp_path / "r" / "report.json").read_text())["run"]["sampler_gap_nats"]
    assert gap["largest"] > gap["mean"] > 1e-5
    assert "sampler gap nats" in done.stdout
