"""Whatever a user gets wrong ends in one clear line, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srpo.embedded import MODEL_DIR
from srpo.rundir import RunDirectory
from tests.command_line import Outcome, run_here

SMALL = """
[model]
name = "embedded"
[sets.math]
generate = "math"
count = 16
[every_stage]
problems_per_step = 4
group_size = 2
max_completion_tokens = 16
[[stage]]
name = "only"
sets = { math = 1 }
steps = 1
[evaluation]
samples = 0
"""


@pytest.fixture
def srpo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Outcome]]:
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        return run_here(monkeypatch, capsys, *arguments)

    yield run
    assert not (tmp_path / "runs").exists()


def small_config(tmp_path: Path, text: str = SMALL) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problem_file(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "problems.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def assert_one_line(outcome: Outcome, *parts: str) -> None:
    assert outcome.code == 2, outcome
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("srpo: ")
    for part in parts:
        assert part in lines[0]
    assert "Traceback" not in outcome.err + outcome.out


GOOD_MATH = {"domain": "math", "statement": "What is 1 + 1?", "answer": "2"}
GOOD_CODE = {
    "domain": "code",
    "statement": "Write add(a, b).",
    "tests": [{"function": "add", "args": [1, 2], "expected": 3}],
}


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([], ["problems.jsonl", "empty"]),
        (['{"domain": "math", "statement": '], ["problems.jsonl", "row 1"]),
        ([{"domain": "math", "statement": "1 + 1?"}], ["row 1", "'answer'"]),
        ([GOOD_MATH, {**GOOD_CODE, "tests": []}], ["row 2", "'tests'"]),
        ([{**GOOD_CODE, "tests": "[]"}], ["row 1", "'tests'"]),
        ([{**GOOD_MATH, "anwser": "3"}], ["row 1", "anwser", "answer"]),
    ],
    ids=["empty", "broken JSON", "no answer", "no tests", "tests that parse to nothing", "typo"],
)
def test_problem_files(
    srpo: Callable[..., Outcome], tmp_path: Path, rows: list[object], parts: list[str]
) -> None:
    file = problem_file(tmp_path, *rows)
    assert_one_line(srpo("train", "--problems", file), *parts)


def test_several_problem_files_may_follow_one_flag(
    srpo: Callable[..., Outcome], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        row = {**GOOD_MATH, "statement": f"What is 1 + 1, {name}?"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    outcome = srpo("plan", "--problems", "a.jsonl", "b.jsonl", small_config(tmp_path))
    assert outcome.code == 0, outcome.err
    assert "math 2" in outcome.out
    alone = srpo("train", "--problems")
    assert_one_line(alone, "--problems", "requires an argument", "see srpo train --help")


def test_no_such_files(srpo: Callable[..., Outcome]) -> None:
    assert_one_line(srpo("train", "--problems", "gone.jsonl"), "gone.jsonl")
    assert_one_line(srpo("train", "gone.toml"), "gone.toml", "no such config file")
    assert_one_line(srpo("plan", "gone.toml"), "gone.toml")
    Path("p.jsonl").write_text("{}\n")
    assert_one_line(srpo("train", "p.jsonl"), "p.jsonl: not valid TOML", "after --problems")
    assert_one_line(srpo("train", "--resume", "gone"), "gone", "no such run directory")
    assert_one_line(srpo("ledger", "gone"), "gone", "no such run directory")


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("every_stage.group_size=1", ["every_stage.group_size=1: ", "at least 2 (given: 1)"]),
        ("stage.1.sets={math=0}", ["stage.1", "sum to zero"]),
        ("stage.1.sets={}", ["stage.1", "without problems"]),
        ("stage.1.sets={physics=1}", ["physics", "math"]),
        ("stage.2.steps=3", ["stage.2.steps", "1 to 1"]),
        ("stage.1.step=3", ["stage.1.step", "did you mean steps?"]),
        ("sets.math.count=0", ["sets.math", "count"]),
        ("seed=-1", ["srpo: --set seed=-1: "]),
        ("verifier.strength=foo", ["srpo: --set verifier.strength=foo: ", "namespaces"]),
        ("every_stage.max_prompt_tokens=3", ["max_prompt_tokens", "longer"]),
        ("every_stage.max_completion_tokens=512", ["made for 512 tokens", "lower it"]),
        ("every_stage.learning_rate=0", ["nothing can be learned"]),
        ("prompt.template=chatty", ["prompt.template", "chat"]),
        ("model.name=./nowhere", ["./nowhere", "no such folder"]),
        ("model.sampler=vllm", ["vllm", "not installed", "docs/vllm.md"]),
        ("nonsense", ["nonsense", "NAME=VALUE"]),
    ],
)
def test_settings(
    srpo: Callable[..., Outcome], tmp_path: Path, setting: str, parts: list[str]
) -> None:
    outcome = srpo("train", small_config(tmp_path), "--out", "r", "--set", setting)
    assert_one_line(outcome, *parts)
    assert not (tmp_path / "r").exists()


def test_a_model_without_weights(srpo: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "hollow"
    shutil.copytree(MODEL_DIR, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    outcome = srpo("train", small_config(tmp_path), "--model", folder)
    assert_one_line(outcome, "hollow", "no weights", "model.safetensors")


def test_weights_that_are_no_weights(srpo: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(MODEL_DIR, folder)
    (folder / "model.safetensors").write_bytes(b"not a safetensors file")
    outcome = srpo("train", small_config(tmp_path), "--model", folder)
    assert_one_line(outcome, "broken", "cannot be loaded")


def test_a_tokenizer_without_an_end_token(srpo: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "endless"
    shutil.copytree(MODEL_DIR, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    outcome = srpo("train", small_config(tmp_path), "--model", folder)
    assert_one_line(outcome, "endless", "no EOS token")


def test_a_run_directory_that_exists_is_left_as_it_is(
    srpo: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("keep")
    outcome = srpo("train", small_config(tmp_path), "--out", "r")
    assert_one_line(outcome, "r: already exists", "--resume")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["mine.txt"]


def test_a_disk_without_space(srpo: Callable[..., Outcome], tmp_path: Path) -> None:
    # 0.7 M weights x 12 bytes x 3 checkpoints = 24 MiB do not fit on a disk of 4 MiB
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk (2026-11-22)")
    try:
        outcome = srpo("train", small_config(tmp_path), "--out", disk / "r")
        assert_one_line(outcome, "no disk space", "MiB")
        assert not (disk / "r").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_during_the_run(
    srpo: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # /dev/full takes no byte: the first line of metrics cannot be written
    def fill(run: RunDirectory, *_: object) -> None:
        run.metrics.symlink_to("/dev/full")

    monkeypatch.setattr(RunDirectory, "write_rollouts", fill)
    outcome = srpo("train", small_config(tmp_path), "--out", "r")
    assert outcome.code == 1
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("srpo: ")]
    assert line.startswith("srpo: r/metrics.jsonl: cannot be written: No space left on device; ")
    assert line.endswith("mend that, then go on with srpo train --resume r")
    assert "Traceback" not in outcome.err


def test_resume_takes_settings_and_no_other_option(srpo: Callable[..., Outcome]) -> None:
    outcome = srpo("train", "x.toml", "--resume", "r", "--set", "seed=3", "--seed", "0")
    assert_one_line(outcome, "--resume takes only --set beside it (given: --seed, CONFIG)")
    assert_one_line(srpo("train", "--resume", "r", "--out", "s"), "(given: --out)")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ledger"], "Missing argument 'RUN'; see srpo ledger --help"),
        (["ledger", "r", "--never", "--preview"], "one view at a time (given: --never, --preview)"),
        (["ledger", "r", "--epoch", "2"], "--epoch goes with --decisions; see srpo ledger --help"),
        (["ledger", "r", "--format", "trl"], "--format goes with --export; see srpo ledger --help"),
        (["plan", "--seed", "x"], "'--seed': 'x' is not a valid integer"),
        (["plan", "--assume", "math"], "--assume math: write it as SET=COUNT"),
        (["plan", "--assume", "art=5"], "no stage uses a set of that name (known: math, code)"),
        (["plan", "--peak-tflops", "-3"], "--peak-tflops -3: give a number from 0.0001 to"),
        (["plan", "--sampling-share", "2"], "give a share from 0.0001 to 1"),
        (["plan", "--memory", "nan"], "--memory nan: give a number from 0.0001 to 1,000,000"),
        (["plan", "--memory", "1e308"], "--memory 1e+308: give a number from 0.0001 to 1,000,000"),
        (["plan", "--rates", "."], ".: not a run directory (config.toml is missing)"),
        (["train", "--algorithm", "ppo"], "see srpo train --help"),
        (["train", "--sed", "3"], "No such option"),
        (["judge"], "give FILE (- for standard input), or --selftest without a FILE; see"),
        (["jugde"], "see srpo --help"),
    ],
)
def test_words_that_the_command_line_does_not_know_are_one_line(
    srpo: Callable[..., Outcome], words: list[str], line: str
) -> None:
    assert_one_line(srpo(*words), line)


def test_a_plan_does_without_the_problem_files_that_training_needs(
    srpo: Callable[..., Outcome], tmp_path: Path
) -> None:
    text = SMALL.replace('generate = "math"\ncount = 16', 'files = ["gone.jsonl"]')
    config = small_config(tmp_path, text)
    planned = srpo("plan", config)
    assert planned.code == 0
    assert "* math: 10,000 problems assumed, since gone.jsonl is not here" in planned.out
    assert_one_line(srpo("train", config), "gone.jsonl: there is no such problem file")


def test_srpo_alone_shows_the_help(srpo: Callable[..., Outcome]) -> None:
    outcome = srpo()
    assert "Usage: srpo [OPTIONS] COMMAND" in outcome.out + outcome.err


def test_a_problem_that_the_ledger_does_not_know(
    srpo: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert srpo("train", small_config(tmp_path), "--out", "r").code == 0
    assert_one_line(srpo("ledger", "r", "--problem", "zzz"), "no problem", "'zzz'")
