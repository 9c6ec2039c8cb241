"""A comparison's runs as processes: retried, resumed, stopped. A script stands for training."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from srpo.comparison.comparing import compare
from srpo.comparison.jobs import State, rate_jobs, result_jobs, share_done, state_of
from srpo.comparison.plan import Comparison
from srpo.comparison.running import Outcome, Standing, run_comparison
from srpo.errors import RunDirectoryError
from srpo.rundir import RunDirectory
from srpo.rundir.lock import held
from tests.comparisons import PLAN, RATES, comparison, finish, metrics_row, write_run

# What `srpo train` does, as far as a comparison sees it: a validation and a checkpoint a step.
# Files named `fail` and `slow` beside it tell it to fail (once for each line), or to wait.
TRAIN = """
import json, os, signal, sys, time
from pathlib import Path
from srpo.resuming.checkpoints import state_text
from srpo.run.state import RunState
here = Path(__file__).parent
resumed = sys.argv[1] == "--resume"
run = Path(sys.argv[2] if resumed else sys.argv[3])
with (here / "calls").open("a") as calls:
    print("resume" if resumed else "new", run.parent.name, run.name, file=calls)
fail = here / "fail"
if fail.exists() and fail.read_text():
    fail.write_text(fail.read_text()[1:])
    sys.exit("srpo: out of luck")
run.mkdir(parents=True, exist_ok=True)
if not resumed:
    (run / "config.toml").write_text(Path(sys.argv[1]).read_text())
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))

def save(step, ending):
    folder = run / "checkpoints" / f"step_{step:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    state = RunState(step=step, ending=ending)
    (folder / "trainer.json").write_text(state_text(state, {}))

score = {"overall": {"problems": 10, "samples": 10, "correct": 5}, "levels": {}}
score |= {"thinking_frac": 0.0, "length_tokens": 0.0, "ungraded": 0}
row = {"step": 0, "domains": {"math": score}, "tokens": 0, "split": "validation"}
row |= {"rollouts_spent": 0, "tokens_spent": 0}
with (run / "evaluations.jsonl").open("w") as file:
    print(json.dumps(row), file=file)
    print(json.dumps(row | {"step": 1, "tokens_spent": 1000, "rollouts_spent": 100}), file=file)
with (run / "metrics.jsonl").open("w") as metrics, (run / "times.jsonl").open("w") as times:
    for step in (1, 2):
        total = {"rollouts/total": 50 * step, "tokens/total": 500 * step}
        groups = {"tokens/step": 500, "all/groups": 2, "all/signal_frac": 0.5}
        print(json.dumps({"step": step, "stage": 1, "epoch": 1, **total, **groups}), file=metrics)
        print(json.dumps({"step": step, "sampling": 0.1}), file=times)
save(1, "")
while (here / "slow").exists() and not stopped:
    time.sleep(0.02)
if stopped:
    sys.exit(143)
save(2, "over")
"""


@dataclass
class Heard:
    """An onlooker that keeps what it was told."""

    said: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        self.said.append(text)

    def show(self, standing: Standing) -> None:
        self.standing = standing


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """The script that stands for training."""
    path = tmp_path / "train.py"
    path.write_text(TRAIN, encoding="utf-8")
    return path


def go(found: Comparison, train: Path, cores: int = 2) -> tuple[Outcome, list[str]]:
    heard = Heard()
    outcome = run_comparison(found, cores, heard, lambda: None, (sys.executable, str(train)))
    return outcome, heard.said


def calls(train: Path) -> list[str]:
    path = train.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_run_is_made_once_and_told(tmp_path: Path, train: Path) -> None:
    found = comparison(tmp_path)
    outcome, said = go(found, train)
    assert (outcome.failed, outcome.exit_code) == ([], 0)
    # seed by seed, so that pairs are whole early
    assert {line.split()[2] for line in calls(train)[:2]} == {"seed-11"}
    assert sorted(calls(train)) == sorted(
        f"new {arm} {seed}" for arm in ("plain", "ours") for seed in ("seed-11", "seed-12")
    )
    assert sum("finished" in line for line in said) == 4
    assert any(line.startswith("ours, seed 12: finished (") for line in said)
    go(found, train)
    assert len(calls(train)) == 4  # nothing is left to do


def test_rates_are_chosen_before_results_are_made(tmp_path: Path, train: Path) -> None:
    found = comparison(tmp_path, PLAN.replace("[budget]", RATES + "[budget]"))
    outcome, said = go(found, train)
    # all courses are alike: the smaller rate
    assert {name: choice.chosen for name, choice in outcome.rates.items()} == {
        "plain": 1e-4,
        "ours": 1e-4,
    }
    assert "plain: learning rate 0.0001; at the edge of what was tried" in said
    assert {line.split()[2][:5] for line in calls(train)[:4]} == {"rate-"}
    assert len(calls(train)) == 8
    written = (found.out / "configs" / "runs_ours_seed-11.toml").read_text()
    assert written.count("learning_rate = 0.0001") == 2


def test_a_change_of_srpo_stops_the_comparison_before_the_next_run(
    tmp_path: Path, train: Path
) -> None:
    found = comparison(tmp_path)
    found.out.mkdir()
    (found.out / "source.txt").write_text("another\n")
    with pytest.raises(RunDirectoryError, match="srpo itself has changed"):
        go(found, train)
    assert calls(train) == []


def test_a_run_that_fails_once_is_tried_again(tmp_path: Path, train: Path) -> None:
    (tmp_path / "fail").write_text("x")
    outcome, said = go(comparison(tmp_path), train, cores=1)
    assert outcome.failed == []
    assert "plain, seed 11: failed (exit code 1: srpo: out of luck); trying again" in said
    assert calls(train).count("new plain seed-11") == 2


def test_a_run_that_fails_twice_is_named_and_the_others_go_on(tmp_path: Path, train: Path) -> None:
    (tmp_path / "fail").write_text("xx")
    found = comparison(tmp_path)
    outcome, said = go(found, train, cores=1)
    assert outcome.failed == ["plain, seed 11"]
    assert "plain, seed 11: failed (exit code 1: srpo: out of luck); giving up" in said
    states = [state_of(job) for arm in found.arms for job in result_jobs(found, arm, None)]
    assert states == [State.ABSENT, State.FINISHED, State.FINISHED, State.FINISHED]


def test_an_arm_whose_rates_all_failed_is_left_out(tmp_path: Path, train: Path) -> None:
    (tmp_path / "fail").write_text("x" * 4)  # both rates of the first arm, twice each
    found = comparison(tmp_path, PLAN.replace("[budget]", RATES + "[budget]"))
    outcome, said = go(found, train, cores=1)
    assert "plain: every learning rate had a failed run; left out" in said
    assert outcome.failed[-1] == "plain, all seeds (no learning rate)"
    assert "ours" in outcome.rates and "plain" not in outcome.rates


def test_half_runs_are_resumed_and_beginnings_without_a_checkpoint_are_made_anew(
    tmp_path: Path, train: Path
) -> None:
    found = comparison(tmp_path)
    first, second = result_jobs(found, found.arms[0], None)
    half = RunDirectory.create(first.folder, "", {})
    half.append_metrics(metrics_row(3, 400))
    finish(half, 3, ending="")
    (second.folder / "checkpoints").mkdir(parents=True)
    (second.folder / "stray").touch()
    # 30 of 100 rollouts and 400 of 1000 tokens: both have to be spent
    assert share_done(first) == pytest.approx(0.3)
    go(found, train)
    assert "resume plain seed-11" in calls(train) and "new plain seed-12" in calls(train)
    assert not (second.folder / "stray").exists()


def test_a_finished_run_is_known_by_its_checkpoint(tmp_path: Path) -> None:
    found = comparison(tmp_path, PLAN.replace("[budget]", RATES + "[budget]"))
    job = rate_jobs(found, found.arms[0])[0]
    assert state_of(job) is State.ABSENT
    write_run(job, [0, 10], {"math": [0.0, 0.5]})
    assert state_of(job) is State.FINISHED


def test_a_comparison_is_run_by_one_process_at_a_time(tmp_path: Path, train: Path) -> None:
    found = comparison(tmp_path)

    def meanwhile() -> None:
        with pytest.raises(RunDirectoryError, match="is being run by another process"):
            go(found, train)

    heard = Heard()
    run_comparison(found, 1, heard, meanwhile, (sys.executable, str(train)))
    assert len(calls(train)) == 4


@contextmanager
def at_work(found: Comparison, name: str) -> Iterator[None]:
    """As if a process were at work on a run."""
    (found.out / "locks").mkdir(parents=True, exist_ok=True)
    lock = os.open(found.out / "locks" / name, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_comparison_that_does_not_begin_leaves_the_terminal_its_cursor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    hide, show = "\x1b[?25l", "\x1b[?25h"
    found = comparison(tmp_path)
    busy, changed = Terminal(), Terminal()
    with (
        at_work(found, "comparison"),
        pytest.raises(RunDirectoryError, match="is being run by another process"),
    ):
        compare(found.path, found.out, 1, busy)
    assert busy.getvalue().rfind(show) > busy.getvalue().rfind(hide) > -1
    (found.out / "source.txt").write_text("another\n")
    shutil.copy(found.path, found.out / "plan.toml")
    with pytest.raises(RunDirectoryError, match="srpo itself has changed"):
        compare(found.path, found.out, 1, changed)
    assert changed.getvalue().rfind(show) > changed.getvalue().rfind(hide) > -1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])  # NFS, Lustre without flock
def test_a_file_system_without_locks_is_one_clear_line(
    tmp_path: Path, train: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    said = f"cannot be locked: {os.strerror(number)}; choose a folder on a file system that has"
    with pytest.raises(RunDirectoryError, match=said) as caught:
        go(comparison(tmp_path), train)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunDirectoryError, match=said), held(tmp_path / "run"):
        pass


def is_free(found: Comparison, name: str) -> bool:
    with suppress(BlockingIOError), at_work(found, name):
        return True
    return False


def test_a_run_that_another_process_is_at_work_on_is_waited_for(
    tmp_path: Path, train: Path
) -> None:
    found = comparison(tmp_path)
    thread = threading.Thread(target=go, args=(found, train), daemon=True)
    with at_work(found, "runs_plain_seed-11"):
        thread.start()
        wait_for(lambda: len(calls(train)) == 3)
        time.sleep(0.5)  # two looks at what waits
        assert "new plain seed-11" not in calls(train)
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert calls(train)[3:] == ["new plain seed-11"]


COMPARE = """
import sys
from pathlib import Path
from tests.comparisons import comparison
from tests.contract.test_comparison_running import go
here = Path(sys.argv[1])
outcome, said = go(comparison(here), here / "train.py")
print(*said, sep="\\n")
sys.exit(outcome.exit_code)
"""


def start_comparing(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMPARE, str(folder)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def checkpointed(folder: Path) -> int:
    return len(list((folder / "out" / "runs").glob("*/*/checkpoints/*/trainer.json")))


def test_ctrl_c_lets_the_runs_save_and_ends_them(tmp_path: Path, train: Path) -> None:
    (tmp_path / "slow").touch()
    process = start_comparing(tmp_path)
    wait_for(lambda: checkpointed(tmp_path) == 2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopping 2 runs; each saves after its step" in out
    assert checkpointed(tmp_path) == 2  # no other was begun
    (tmp_path / "slow").unlink()
    go(comparison(tmp_path), train)
    assert sorted(calls(train)[2:4]) == ["resume ours seed-11", "resume plain seed-11"]


@pytest.mark.skipif(sys.platform != "linux", reason="2026-11: runs outlive the parent elsewhere")
def test_after_a_kill_the_same_command_goes_on(tmp_path: Path, train: Path) -> None:
    (tmp_path / "slow").touch()
    process = start_comparing(tmp_path)
    wait_for(lambda: checkpointed(tmp_path) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    found = comparison(tmp_path)
    names = ("runs_plain_seed-11", "runs_ours_seed-11")
    wait_for(lambda: all(is_free(found, name) for name in names))
    assert (tmp_path / "slow").exists()  # so they were told to end, and did not run to their end
    (tmp_path / "slow").unlink()
    outcome, _ = go(comparison(tmp_path), train)
    assert outcome.failed == []
    jobs = [job for arm in found.arms for job in result_jobs(found, arm, None)]
    assert [state_of(job) for job in jobs] == [State.FINISHED] * 4
    # two begun and killed, the same two gone on with, two others
    assert [line.split()[0] for line in calls(train)].count("new") == 4
