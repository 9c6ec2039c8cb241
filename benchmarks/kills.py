"""A soak: runs that are killed at random moments, and must end in the bytes of one that was not.

python -m benchmarks.kills               200 kills; some 20 minutes
python -m benchmarks.kills 20            fewer; --seed 2: other moments

Every attempt is `srpo train` in a process group of its own, which SIGKILL ends from outside some
random seconds after it was begun. The run has two stages of the bundled model, math and code. When
it comes to its end before there were kills enough, another one is begun, with another seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import machine
from srpo.history.schema import open_file
from srpo.rundir import RunDirectory

CONFIG = """
algorithm = "srpo"
[prompt]
thinking = "required"
[sets.math]
generate = "math"
count = 24
holdout = 8
[sets.code]
generate = "code"
count = 24
holdout = 8
[every_stage]
problems_per_step = 6
group_size = 4
max_prompt_tokens = 64
max_completion_tokens = 64
learning_rate = 4e-4
[[stage]]
name = "math first"
sets = { math = 1 }
steps = 60
[[stage]]
name = "math and code"
sets = { math = 1, code = 1 }
steps = 90
[evaluation]
samples = 1
every_steps = 25
[checkpoint]
every_steps = 4
"""
# what tells of the clock, the process or the attempts, and so is not the same in two runs
OWN = {"environment.json", "attempts.jsonl", "lock", "times.jsonl"}
COMMAND = (sys.executable, "-m", "srpo", "train")


@dataclass(frozen=True, slots=True)
class Kill:
    """One attempt that was killed."""

    after_s: float  # since it was begun
    steps: int  # recorded then
    saved: int  # the newest checkpoint's step
    left: str  # what was half done, as far as the files tell


def end_of(arguments: Sequence[str], after_s: float | None) -> int | None:
    """Run a command to its end, or kill its process group before. Its exit code; None: killed."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, said = process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None
        if process.returncode:
            sys.exit(f"it failed: {said.decode()}")
        return process.returncode


def kill_until_done(
    config: Path, out: Path, rng: random.Random, longest_s: float
) -> Iterator[Kill]:
    """Begin a run and go on with it, killed each time, until it comes to its end."""
    while True:
        begun = (out / "config.toml").exists()
        arguments = ["--resume", str(out)] if begun else [str(config), "--out", str(out)]
        after_s = rng.uniform(0.5, longest_s)
        if end_of(arguments, after_s) is not None:
            return
        yield Kill(after_s, *state_of(out))


def state_of(out: Path) -> tuple[int, int, str]:
    """Steps recorded, the newest checkpoint's step, and what is half done."""
    lines = (
        (out / "metrics.jsonl").read_bytes().count(b"\n") if (out / "metrics.jsonl").exists() else 0
    )
    saved = [int(p.name[5:]) for p in (out / "checkpoints").glob("step_*")] or [0]
    left = [p.name for p in out.rglob(".*") if p.name.startswith(".step")]
    left += [p.name for p in out.rglob("*.partial") if not p.name.startswith(".step")]
    rollouts = len(list((out / "rollouts").rglob("step_*.jsonl")))
    if rollouts > lines:
        left.append("a step's rollouts without its metrics")
    return lines, max(saved), ", ".join(sorted(left))


def outcome(out: Path) -> dict[str, object]:
    """Everything that a run has come to: the bytes of its files, and the ledger's rows.

    Of checkpoints the newest: one killed while it removed an older one may have both.
    """
    newest = max(path.name for path in (out / "checkpoints").iterdir())
    found: dict[str, object] = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in OWN and not path.name.startswith("ledger")
        and not {"set_aside", "faults"} & set(path.parts)
        and ("checkpoints" not in path.parts or newest in path.parts)
    }  # fmt: skip
    with closing(open_file(RunDirectory(out).ledger, read_only=True)) as db:
        for table in ("group_rows", "decision_rows", "events"):
            found[table] = sorted(map(repr, db.execute(f"SELECT * FROM {table}")))
    return found


def soak(wanted: int, seed: int, longest_s: float) -> int:
    """Kill so often; returns the exit code: 1 if any run ended in other bytes."""
    rng = random.Random(seed)
    kills = runs = 0
    print(
        f"{machine()}\n{wanted} kills, each {0.5} to {longest_s:g} s after the start, seed {seed}"
    )
    while kills < wanted:
        runs += 1
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "c.toml").write_text(f"seed = {runs}\n{CONFIG}", encoding="utf-8")
            end_of([str(folder / "c.toml"), "--out", str(folder / "whole")], None)
            for kill in kill_until_done(folder / "c.toml", folder / "killed", rng, longest_s):
                kills += 1
                left = f"; left: {kill.left}" if kill.left else ""
                where = f"{kill.steps} steps recorded, {kill.saved} saved"
                print(f"{kills:4} after {kill.after_s:5.2f} s: {where}{left}", flush=True)
            whole, killed = (outcome(folder / n) for n in ("whole", "killed"))
            differing = [n for n in {**whole, **killed} if whole.get(n) != killed.get(n)]
            lines = (folder / "killed" / "attempts.jsonl").read_text().splitlines()
            again = sum(json.loads(line)["set_aside"].get("metrics", 0) for line in lines)
            print(
                f"run {runs}: {len(lines)} attempts, {again} steps made twice; "
                + (f"OTHER: {', '.join(differing)}" if differing else f"{len(whole)} files and "
                   "tables equal, byte by byte")
            )  # fmt: skip
            if differing:
                return 1
    print(f"{kills} kills in {runs} runs: every run ended in the bytes of one never killed")
    return 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-s", type=float, default=12.0)
    given = parser.parse_args()
    started = time.monotonic()
    code = soak(given.kills, given.seed, given.longest_s)
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(code)


if __name__ == "__main__":
    main()
