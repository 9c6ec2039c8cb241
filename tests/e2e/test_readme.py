"""Every command of the README runs, and its tree is the tree on disk."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from srpo.config.files import load_config
from srpo.embedded import MODEL_DIR
from srpo.embedded.world import generate
from srpo.problems import write_problems
from srpo.run.problem_sets import load_sets
from tests.command_line import command, settings

ROOT = Path(__file__).parents[2]
ROOMS_WITH_FILES = ("config", "engines", "rewards", "run", "resuming", "sandbox")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# what a command of the README is given here beside its own words, so that it takes seconds
SHORTER = (
    "sets.math.count=32",
    "sets.code.count=32",
    "stage.1.steps=1",
    "stage.2.steps=1",
    "evaluation.samples=0",
)
OWN_SHORTER = (
    "every_stage.steps=1",
    "every_stage.problems_per_step=4",
    "every_stage.group_size=2",
    "every_stage.max_completion_tokens=32",
    "evaluation.samples=0",
)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    found = [line for line in lines if line]
    assert len(found) >= 20, "the README's blocks of commands are no longer found"
    return found


def run(command: list[str], cwd: Path) -> str:
    """The command's output; the test fails if its exit code is not 0."""
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands expect to find in it."""
    folder = tmp_path_factory.mktemp("readme")
    write_problems(folder / "math.jsonl", generate("math", "train", 16, 7))
    write_problems(folder / "code.parquet", generate("code", "train", 16, 7))
    shutil.copytree(MODEL_DIR, folder / "MODEL")
    shutil.copytree(ROOT / "src" / "srpo" / "configs", folder / "configs")
    shutil.copytree(ROOT / "benchmarks" / "plans", folder / "benchmarks" / "plans")
    rows = next(b for b in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if '"id"' in b)
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    run(command("train", "--out", "runs/demo-001", *settings(*SHORTER)), folder)
    own = ["--problems", "math.jsonl", "--model", "MODEL", *settings(*OWN_SHORTER)]
    run(command("train", "--out", "runs/own-001", *own), folder)
    return folder


def words_of(command: str, workplace: Path) -> list[str]:
    words = [sys.executable, "-m", *shlex.split(command)]
    if "--algorithm" in words or "--ledger" in words:
        return words + settings(*SHORTER)
    if "--problems" in words:
        return words + settings(*OWN_SHORTER)
    if "--problem" in words:  # the README's may not be in the shorter run; take one that is
        rollouts = next((workplace / "runs" / "demo-001").glob("rollouts/*/*.jsonl"))
        first = json.loads(rollouts.read_text().splitlines()[0])["problem"]
        return [*words[:-1], str(first)]
    return words


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("srpo ")])
@pytest.mark.timeout(600)  # the self-test tries more than two hundred programs
def test_srpo_commands_run(command: str, workplace: Path) -> None:
    said = run(words_of(command, workplace), workplace)
    if "--out verdicts.jsonl" in command:
        said = (workplace / "verdicts.jsonl").read_text()
        assert [json.loads(line)["verdict"] for line in said.splitlines()] == ["correct"] * 3
    assert said


def test_the_problem_that_the_readme_asks_for_is_one_of_the_demos() -> None:
    (start,) = re.findall(r"^srpo ledger \S+ --problem (\w+)$", README, re.MULTILINE)
    trained = load_sets(load_config().config).train.values()
    ids = [problem.id for problems in trained for problem in problems]
    assert len([found for found in ids if found.startswith(start)]) == 1


def test_the_python_of_the_readme_runs(workplace: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    config = workplace / "configs" / "demo.toml"
    text = re.sub(r"^steps = \d+$", "steps = 1", config.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^(count|holdout) = \d+$", r"\1 = 16", text, flags=re.MULTILINE)
    config.write_text(text, encoding="utf-8")
    assert "The run is complete" in run([sys.executable, "-c", block], workplace)


def test_every_other_command_is_a_make_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands():
        if line.startswith("make "):
            assert line.split()[1] in targets
        else:
            assert line.startswith("srpo "), line


def test_what_the_commands_write_into_a_checkout_is_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    folders = set(re.findall(r"(?<![\w/])(data|runs)/", " ".join([*commands(), makefile])))
    assert folders == {"data", "runs"}
    assert folders <= {line.strip("/") for line in ignored}


def test_the_tree_of_the_readme_is_the_tree_on_disk() -> None:
    (tree,) = re.findall(r"```\n(Makefile .*?)```", README, re.DOTALL)
    named = set(re.findall(r"[\w/-]+\.(?:py|toml|md)|^ *[\w/]+/", tree, re.MULTILINE))
    names = {name.strip().rstrip("/") for name in named}
    package = ROOT / "src" / "srpo"
    for name in names:
        inside = (package / room / name for room in ("", *ROOMS_WITH_FILES))
        places = (*inside, ROOT / name, ROOT / "docs" / name, ROOT / "configs" / name)
        assert any(place.exists() for place in places), name
    rooms = {path.name for path in package.iterdir() if not path.name.startswith("_")}
    assert rooms - {"py.typed", "configs"} <= names


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.enable_socket
def test_the_real_model_is_trained_by_make_real(tmp_path: Path) -> None:
    # packages are installed by `make slow`; here everything after them, and fewer steps
    for name in ("examples", "configs", "src", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed").touch()
    shorter = (
        "stage.1.steps=2", "stage.2.steps=2", "every_stage.problems_per_step=4",
        "every_stage.group_size=4", "sets.math.holdout=4", "sets.code.holdout=4",
        "probe.problems=0",
    )  # fmt: skip
    given = {
        "PIP": "true",
        "BIN": str(Path(sys.executable).parent),
        "REAL_MODEL": str(tmp_path / "model"),
        "REAL_TRAIN": " ".join(["--out", "runs/real", *settings(*shorter)]),
    }
    said = run(
        ["make", "-f", str(ROOT / "Makefile"), "real", *(f"{k}={v}" for k, v in given.items())],
        tmp_path,
    )
    assert "paired over 4 problems" in said
    rows = (tmp_path / "runs" / "real" / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(row) for row in rows]
    assert [row["stage"] for row in metrics] == [1, 1, 2, 2]
    assert metrics[-1]["code/groups"] > 0 and metrics[-1]["math/groups"] > 0
    verdicts = [
        sum(row[f"verdict/{v}_count"] for row in metrics) for v in ("ungradable", "infra_error")
    ]
    assert verdicts == [0, 0]
