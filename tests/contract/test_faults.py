"""What a run does when the machine fails it: one clear line, nothing lost, and it can go on."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.kills import outcome
from srpo.config import Config
from srpo.engines import ModelOpener, OpenModel
from srpo.errors import FaultError, RunDirectoryError
from srpo.run.interrupts import StoppedAtOnce
from srpo.rundir import RunDirectory
from srpo.rundir.lock import held
from srpo.trainer import Machine, train
from srpo.types import Clip, Datum
from tests.interruptions import (
    Calls,
    Once,
    Phases,
    Torn,
    begin,
    finish,
    opener,
    two_stages,
)
from tests.short_runs import RIGHT, WRONG, Notes, config_of

EVERY_TWO = {"every_steps": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, object], list[str]]:
    """A run that nothing happened to: its config, what it came to, and its moments by name."""
    folder = tmp_path_factory.mktemp("whole")
    config = two_stages(folder, checkpoint=EVERY_TWO)
    moments: list[str] = []
    assert begin(config, folder / "r", Torn)(moments.append).finished
    return config, outcome(folder / "r"), list(dict.fromkeys(moments))


def test_a_disk_that_fails_at_any_write_loses_nothing(
    tmp_path: Path, whole: tuple[Config, dict[str, object], list[str]]
) -> None:
    config, expected, moments = whole
    reasons = [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT]
    words = ("append", "write", "fill", "commit", "sync", "rename", "remove", "save")
    writes = [name for name in moments if set(name.split()) & set(words)]
    assert len(writes) >= 40
    for number, name in enumerate(writes):
        reason = reasons[number % len(reasons)]

        def fail(code: int = reason) -> None:
            raise OSError(code, os.strerror(code))

        out = tmp_path / str(number)
        meet = Once(name, fail)
        with pytest.raises(FaultError) as caught:
            begin(config, out, Torn)(meet)
        said = str(caught.value)
        assert os.strerror(reason) in said and str(out) in said and "\n" not in said
        if "metrics" in name:
            assert said.endswith(f"mend that, then go on with srpo train --resume {out}")
        assert caught.value.exit_code == 1
        assert finish(config, out).finished
        assert outcome(out) == expected, f"{os.strerror(reason)} at: {name}"
        shutil.rmtree(out)


@pytest.mark.parametrize(
    "moment", ["before write step_000003.jsonl", "before append metrics.jsonl"]
)
def test_a_directory_that_is_removed_ends_the_run(tmp_path: Path, moment: str) -> None:
    out = tmp_path / "r"
    meet = Once(moment, lambda: shutil.rmtree(out))
    with pytest.raises(FaultError, match="cannot be written: No such file or directory"):
        begin(two_stages(tmp_path, checkpoint=EVERY_TWO), out, Torn)(meet)
    assert meet.came and not out.exists()  # nothing made it anew


def test_a_ledger_that_is_removed_ends_the_run(tmp_path: Path) -> None:
    out = tmp_path / "r"
    meet = Once("before write step_000003.jsonl", (out / "ledger.sqlite").unlink)
    with pytest.raises(FaultError, match=r"ledger\.sqlite: cannot be written: No such file"):
        begin(two_stages(tmp_path, checkpoint=EVERY_TWO), out, Torn)(meet)


BEFORE_THE_RUN = ("reading problems begins", "loading the model begins")


# --- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_ends_the_run_and_the_resumed_one_is_the_same(
    tmp_path: Path, whole: tuple[Config, dict[str, object], list[str]], number: signal.Signals
) -> None:
    config, expected, moments = whole
    later = [name for name in moments if "step_000003" in name or "step" not in name]
    assert len(later) >= 30
    for name in later[number % 2 :: 2]:  # half of them for either signal
        out = tmp_path / name
        meet = Once(name, lambda: signal.raise_signal(number))
        if name in BEFORE_THE_RUN:
            with pytest.raises(StoppedAtOnce, match="nothing of it was written") as stopped:
                begin(config, out, Torn)(meet)
            assert stopped.value.exit_code == 128 + number and not out.exists()
            continue
        run = begin(config, out, Torn)(meet)
        assert meet.came
        if not run.finished:  # one that comes after the last step changes nothing
            assert run.exit_code == 128 + number
            assert run.checkpoint == max((out / "checkpoints").iterdir())
            assert finish(config, out).finished
        assert outcome(out) == expected, name


def test_a_signal_while_rollouts_are_drawn_gives_them_up_at_once(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    notes, drawn = Notes(), 0

    def meet(moment: str) -> None:
        nonlocal drawn
        drawn += moment == "before sample"
        if drawn == 3 and moment == "before sample":
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("went on to draw")

    run = train(config, tmp_path / "r", watcher=notes, open_model=opener([RIGHT, WRONG], meet))
    assert (run.exit_code, run.checkpoint.name) == (143, "step_000002")
    assert any("SIGTERM: giving up the rollouts in hand" in note for note in notes.notes)
    assert len(RunDirectory(run.directory).read_metrics()) == 2


def test_a_second_signal_stops_at_once_and_loses_nothing(
    tmp_path: Path, whole: tuple[Config, dict[str, object], list[str]]
) -> None:
    config, expected, moments = whole
    met = [name for name in moments if "step_000003" in name or "append" in name]
    assert len(met) >= 8
    for name in met:
        out = tmp_path / name

        def twice() -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

        goes_on = f"go on with srpo train --resume {out}$"
        with pytest.raises(StoppedAtOnce, match=goes_on) as caught:
            begin(config, out, Torn)(Once(name, twice))
        assert caught.value.exit_code == 143
        assert finish(config, out).finished
        assert outcome(out) == expected, name


def test_a_second_process_is_told_who_trains(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    out = tmp_path / "r"
    who = f"another process is training it \\(process {os.getpid()} on "
    with held(out):
        with pytest.raises(RunDirectoryError, match=who) as caught:
            train(config, out, open_model=opener([RIGHT]))
        assert "\n" not in str(caught.value)
    assert train(config, out, open_model=opener([RIGHT])).finished
    with held(out), pytest.raises(RunDirectoryError, match=who):
        train(resume=out, open_model=opener([RIGHT]))


# --- numbers ------------------------------------------------------------------------------------


class Wrong(Calls):
    """An engine whose trainer says what `wrong` makes of its logprobs."""

    def __init__(self, plain: Calls, wrong: Callable[[float, int], float]) -> None:
        self.__dict__ = plain.__dict__
        self._wrong, self.asked = wrong, 0

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        self.asked += 1
        rows = super().forward_backward(data, clip)
        made = [
            [self._wrong(x, self.asked) if mask else x for x, mask in zip(row, d.mask, strict=True)]
            for row, d in zip(rows, data, strict=True)
        ]
        self._finite &= all(math.isfinite(x) for row in made for x in row)
        return made


def wrong_opener(wrong: Callable[[float, int], float]) -> ModelOpener:
    plain = opener([RIGHT, WRONG])

    def open_model(config: Config, folder: Path) -> OpenModel:
        model = plain(config, folder)
        assert isinstance(model.engine, Calls)
        return replace(model, engine=Wrong(model.engine, wrong))

    return open_model


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_skipped_and_the_run_goes_on(
    tmp_path: Path, bad: float
) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 4})
    notes = Notes()
    opened = wrong_opener(lambda x, asked: bad if asked == 2 else x)
    run = train(config, tmp_path / "r", watcher=notes, open_model=opened)
    assert run.finished
    rows = RunDirectory(run.directory).read_metrics()
    assert [row["update/skipped_count"] for row in rows] == [0, 1, 0, 0]
    assert [row["update/done"] for row in rows] == [1, 0, 1, 1]
    assert [row["update/grad_norm"] is None for row in rows] == [False, True, False, False]
    told = [note for note in notes.notes if "not finite" in note]
    assert told == [
        "step 2: 1 of 1 updates skipped: a loss, gradient or logprob was not finite; the rollouts "
        "are in faults/step_000002.jsonl"
    ]
    kept = (run.directory / "faults" / "step_000002.jsonl").read_text().splitlines()
    drawn = (run.directory / "rollouts" / "epoch_001" / "step_000002.jsonl").read_text()
    assert kept and set(kept) <= set(drawn.splitlines())


def test_a_skipped_update_changes_no_weight(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 1})
    runs = [
        train(config, tmp_path / name, open_model=opened)
        for name, opened in (
            ("skipped", wrong_opener(lambda x, _: math.nan)),
            ("no signal", opener([RIGHT])),
        )
    ]
    state = [(run.checkpoint / "policy.json").read_text() for run in runs]
    assert state[0] == state[1] == '{"trained": [], "num_steps": 0}'


def test_too_many_skipped_in_a_row_stop_the_run_which_can_go_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 9}, checkpoint={"every_steps": 0})
    notes = Notes()
    opened = wrong_opener(lambda x, asked: math.nan if asked in {1, 3, 4, 5} else x)
    with pytest.raises(FaultError, match="the numbers of 3 steps in a row were not finite") as why:
        train(config, tmp_path / "r", watcher=notes, open_model=opened)
    assert "\n" not in str(why.value) and "srpo train --resume" in str(why.value)
    run = RunDirectory(tmp_path / "r")
    assert [row["update/skipped_count"] for row in run.read_metrics()] == [1, 0, 1, 1, 1]
    assert len(list(run.faults.iterdir())) == 4
    done = train(resume=run.root, open_model=opener([RIGHT, WRONG]))
    assert done.finished
    assert [row["step"] for row in run.read_metrics()] == list(range(1, 10))


def test_a_sampler_that_drifts_apart_stops_the_run_before_the_update(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 4})
    opened = wrong_opener(lambda x, asked: x - 0.25 if asked == 3 else x - 0.05)
    with pytest.raises(FaultError) as caught:
        train(config, tmp_path / "r", open_model=opened)
    said = str(caught.value)
    assert said.startswith("step 3: sampler and trainer disagree by 0.25 nats a token on average")
    assert "\n" not in said and "health.max_logprob_gap = 0.1" in said
    run = RunDirectory(tmp_path / "r")
    gaps = [row["update/mean_logprob_gap"] for row in run.read_metrics()]
    assert gaps == pytest.approx([0.05, 0.05])
    assert len((run.faults / "step_000003.jsonl").read_text().splitlines()) == 3 * 4
    # the weights of before that step are saved: the run ends as if it had not been there
    assert train(resume=run.root, open_model=opener([RIGHT, WRONG])).finished
    whole = train(config, tmp_path / "whole", open_model=opener([RIGHT, WRONG]))
    policies = [
        (r / "checkpoints/step_000004/policy.json").read_text() for r in (run.root, whole.directory)
    ]
    assert policies[0] == policies[1]


def test_the_gap_is_only_gauged_if_the_limit_is_zero(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 2}, health={"max_logprob_gap": 0})
    run = train(config, tmp_path / "r", open_model=wrong_opener(lambda x, _: x - 3.0))
    rows = RunDirectory(run.directory).read_metrics()
    assert [row["update/mean_logprob_gap"] for row in rows] == pytest.approx([3.0, 3.0])


def test_a_clock_that_jumps_changes_nothing_but_the_times(
    tmp_path: Path, whole: tuple[Config, dict[str, object], list[str]]
) -> None:
    config, expected, _ = whole
    jumps = iter([0.0, 1e9, -1e9, 5.0, math.pi] * 1000)
    machine = Machine(clock=lambda: next(jumps))
    run = train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]), machine=machine)
    assert outcome(run.directory) == expected
    times = RunDirectory(run.directory).read_times()
    assert all(value >= 0.0 for row in times for value in row.values())
    assert max(value for row in times for value in row.values()) > 1e8


def test_the_exit_code_is_zero_only_at_the_declared_end(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 2})
    run = train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG]))
    before = outcome(run.directory)
    notes = Notes()
    again = train(resume=run.directory, watcher=notes, open_model=opener([RIGHT, WRONG]))
    assert (again.exit_code, again.finished) == (0, True)
    assert notes.notes == [f"{run.directory}: this run is over. {run.ending}"]
    assert outcome(run.directory) == before


def test_the_exit_code_of_a_run_that_a_signal_ended_is_the_signals(tmp_path: Path) -> None:
    config = config_of(tmp_path, stage={"epochs": None, "steps": 2})
    meet = Once("before optim_step", lambda: signal.raise_signal(signal.SIGTERM))
    run = train(config, tmp_path / "r", open_model=opener([RIGHT, WRONG], meet))
    assert meet.came
    assert (run.exit_code, run.finished) == (128 + signal.SIGTERM, False)
    again = train(resume=run.directory, open_model=opener([RIGHT, WRONG]))
    assert (again.exit_code, again.finished) == (0, True)


# --- processes ----------------------------------------------------------------------------------


def children() -> list[int]:
    """The processes that this one has started, and that have not ended."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(word) for path in found for word in path.read_text().split()]


@pytest.mark.parametrize("delay_s", [0.0, 0.02])
def test_a_sandbox_that_dies_again_and_again_makes_no_answer_wrong(
    tmp_path: Path, delay_s: float
) -> None:
    rows = [
        {"domain": "code", "statement": f"Add {n} to x.", "tests": [
            {"function": "f", "args": [1], "expected": 2}
        ]}
        for n in range(4)
    ]  # fmt: skip
    path = tmp_path / "code.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    config = config_of(
        tmp_path,
        sets={"code": {"files": [str(path)], "domain": "code"}},
        stage={"sets": {"code": 1}, "epochs": None, "steps": 4},
        verifier={"second_opinion_share": 0.0, "code_workers": 1},
    )
    before = children()
    killed: list[int] = []

    def kill_servers() -> None:
        for child in set(children()) - set(before):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
                killed.append(child)

    def meet(moment: str) -> None:
        if moment == "grading begins":
            threading.Timer(delay_s, kill_servers).start() if delay_s else kill_servers()

    program = "<think>x</think>```python\ndef f(x):\n    return x + 1\n```"
    run = train(config, tmp_path / "r", watcher=Phases(meet), open_model=opener([program]))
    assert run.finished
    verdicts = {
        name: sum(
            row[f"verdict/{name}_count"] or 0 for row in RunDirectory(run.directory).read_metrics()
        )
        for name in ("correct", "infra_error")
    }
    assert sum(verdicts.values()) == 4 * 3 * 4  # steps, problems, rollouts: none was called wrong
    assert verdicts["correct"] > 0 and killed
