"""The bundled model, trained by the command line, killed from outside and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.kills import outcome
from srpo.embedded import MODEL_DIR
from tests.command_line import command, run

CONFIG = """
[model]
name = "MODEL"
[sets.math]
generate = "math"
count = 12
holdout = 4
[sets.code]
generate = "code"
count = 12
holdout = 4
[every_stage]
problems_per_step = 4
group_size = 4
max_prompt_tokens = 64
max_completion_tokens = 64
learning_rate = 4e-4
[[stage]]
name = "math first"
sets = { math = 1 }
steps = 5
[[stage]]
name = "both"
sets = { math = 1, code = 1 }
steps = 7
[evaluation]
samples = 1
every_steps = 4
[checkpoint]
every_steps = 3
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a config, and a run of it that nobody killed."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(MODEL_DIR, folder / "MODEL")
    (folder / "c.toml").write_text(CONFIG)
    done = run("train", "c.toml", "--out", "whole", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def killed_when(there: Path, *words: str, cwd: Path) -> None:
    """Start training, and SIGKILL its whole process group as soon as a path is there."""
    process = subprocess.Popen(
        command(*words), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while not there.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode()


@pytest.mark.timeout(300)
def test_a_model_that_is_killed_three_times_ends_in_the_same_bytes(workplace: Path) -> None:
    out = workplace / "r"
    rollouts = out / "rollouts"
    first = rollouts / "epoch_001" / "step_000002.jsonl"
    killed_when(first, "train", "c.toml", "--out", "r", cwd=workplace)
    killed_when(out / "checkpoints" / "step_000006", "train", "--resume", "r", cwd=workplace)
    killed_when(out / "checkpoints" / "step_000009", "train", "--resume", "r", cwd=workplace)
    done = run("train", "--resume", "r", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert outcome(out) == outcome(workplace / "whole")
    looked = run("doctor", "r", cwd=workplace)
    assert looked.returncode == 0 and "complete and consistent" in looked.stdout


def test_another_model_under_the_same_name_is_refused(workplace: Path) -> None:
    shutil.copytree(workplace / "whole", workplace / "other")
    path = workplace / "MODEL" / "model.safetensors"
    data = path.read_bytes()
    try:
        path.write_bytes(data[:-4] + b"\x00\x00\x80\x3f")
        done = run("train", "--resume", "other", "--set", "stage.2.steps=9", cwd=workplace)
    finally:
        path.write_bytes(data)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("srpo: other: the model is not the one that the run began with (model.s")


def test_a_second_process_is_told_who_trains(workplace: Path) -> None:
    process = subprocess.Popen(
        command("train", "c.toml", "--out", "held"), cwd=workplace, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 100
        while not (workplace / "held" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        done = run("train", "--resume", "held", cwd=workplace)
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 2
    assert f"another process is training it (process {process.pid} on " in done.stderr


def test_a_damaged_run_is_found_out(workplace: Path) -> None:
    shutil.copytree(workplace / "whole", workplace / "damaged")
    path = workplace / "damaged" / "checkpoints" / "step_000012" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    looked = run("doctor", "damaged", cwd=workplace)
    assert looked.returncode == 1
    assert "damaged, its checksum is another" in " ".join(looked.stdout.split())
    done = run("train", "--resume", "damaged", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors: damaged" in done.stdout and "resumed after step 9" in done.stdout
    assert outcome(workplace / "damaged") == outcome(workplace / "whole")
