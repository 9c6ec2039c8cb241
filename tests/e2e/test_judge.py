"""`srpo judge` as a person or a pipe uses it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import command, run_here

MATH: dict[str, Any] = {"id": "m", "domain": "math", "completion": "4", "answer": "4"}
CODE: dict[str, Any] = {
    "id": "c", "domain": "code", "completion": "print(int(input()) + 1)",
    "tests": {"kind": "stdio", "cases": [{"input": "1", "output": "2"}]},
}  # fmt: skip
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def srpo(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Run `srpo judge` in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        done = run_here(monkeypatch, capfd, "judge", *arguments)
        return done.code, done.out, done.err

    return run


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_a_file_of_rows_becomes_a_file_of_verdicts(srpo: Command, tmp_path: Path) -> None:
    bad = [MATH | {"completion": "5"}, "{", MATH | {"answer": None}, "", CODE | {"domain": "x"}]
    (tmp_path / "rows.jsonl").write_text(lines(MATH, CODE, *bad))
    code, out, err = srpo("rows.jsonl", "--out", "verdicts.jsonl", "--workers", "1")
    assert (code, out) == (0, ""), err
    found = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert sorted((str(row["id"]), row["verdict"]) for row in found) == [
        ("4", "ungradable"), ("c", "correct"), ("c", "ungradable"), ("m", "correct"),
        ("m", "ungradable"), ("m", "wrong"),
    ]  # fmt: skip
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("srpo: judged 6 rows in ")
    assert last.endswith(": 2 correct, 1 wrong, 3 ungradable")


def test_standard_input_and_output(
    srpo: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = subprocess.run(
        command("judge", "-"),
        input=lines(MATH, MATH | {"id": 2}), capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(str(row["id"]) for row in rows) == ["2", "m"]
    assert done.stderr.splitlines()[-1].endswith(": 2 correct")


def test_no_rows_are_no_error(srpo: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("\n\n")
    code, out, err = srpo("rows.jsonl")
    assert (code, out) == (0, "")
    assert err.startswith("srpo: judged 0 rows in ")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["gone.jsonl"], ["gone.jsonl", "cannot be read", "No such file"]),
        (["."], ["cannot be read", "directory"]),
        (["rows.jsonl", "--out", "no/folder"], ["no/folder", "cannot be written"]),
        (["rows.jsonl", "--out", "."], ["cannot be written"]),
        (["rows.jsonl", "--out", "rows.jsonl"], ["rows.jsonl", "the same file"]),
        (["rows.jsonl", "--timeout", "0"], ["--timeout", "more than 0"]),
        (["rows.jsonl", "--timeout", "nan"], ["--timeout", "more than 0"]),
        (["rows.jsonl", "--timeout", "3e6"], ["--timeout", "at most 86,400"]),
        (["rows.jsonl", "--strength", "landlok"], ["landlok", "did you mean landlock?"]),
        (["rows.jsonl", "--strength", "zzz"], ["zzz", "namespaces-per-program"]),
    ],
)
def test_what_cannot_be_used_ends_in_one_line(
    srpo: Command, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(MATH))
    (tmp_path / "full.jsonl").write_text("mine\n")
    code, out, err = srpo(*arguments)
    assert (code, out) == (2, ""), err
    assert len(err.strip().splitlines()) == 1 and err.startswith("srpo: ")
    assert all(part in err for part in parts), err
    assert (tmp_path / "full.jsonl").read_text() == "mine\n"
    assert (tmp_path / "rows.jsonl").read_text() == lines(MATH)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "give FILE"),
        (["rows.jsonl", "--selftest"], "give FILE"),
        (["rows.jsonl", "--workers", "-1"], "--workers"),
        (["rows.jsonl", "--worker", "1"], "--workers"),
        (["rows.jsonl", "--timeout", "soon"], "--timeout"),
    ],
)
def test_wrong_options_are_named(
    srpo: Command, tmp_path: Path, arguments: list[str], part: str
) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(MATH))
    code, out, err = srpo(*arguments)
    assert (code, out) == (2, "") and part in err and "Traceback" not in err


def test_verdicts_of_an_earlier_time_are_replaced(srpo: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(MATH))
    (tmp_path / "out.jsonl").write_text("old\n" * 9)
    assert srpo("rows.jsonl", "--out", "out.jsonl")[0] == 0
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["verdict"] == "correct"


def test_a_verdict_comes_before_the_next_row_is_written(tmp_path: Path) -> None:
    words = command("judge", "-", "--out", "-", "--workers", "1")
    rows = (MATH, CODE, {**MATH, "id": "third"})
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as judge:
        assert judge.stdin is not None and judge.stdout is not None
        for row in rows:
            judge.stdin.write(lines(row).encode())
            judge.stdin.flush()
            assert json.loads(judge.stdout.readline())["id"] == row["id"]
        judge.stdin.close()
        assert judge.wait(20) == 0


def test_a_disk_that_is_full_is_named(srpo: Command, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(MATH))
    code, _, err = srpo("rows.jsonl", "--out", "/dev/full")
    assert code == 2 and "No space left" in err.splitlines()[-1] and "Traceback" not in err


def test_ctrl_c_leaves_whole_lines_and_says_how_many(tmp_path: Path) -> None:
    child = subprocess.Popen(
        command("judge", "-", "--out", "out.jsonl"),
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell job ignores it
    )  # fmt: skip
    assert child.stdin is not None and child.stderr is not None
    child.stdin.write(lines(*[MATH | {"id": number} for number in range(50)]))
    child.stdin.flush()  # and it stays open, as that of a long job does
    deadline_s = time.monotonic() + 30
    out = tmp_path / "out.jsonl"
    while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline_s:
        child.stdin.write(lines(MATH))
        child.stdin.flush()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    told = child.stderr.read()
    child.stdin.close()
    child.stderr.close()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert out.read_text().endswith("\n") and len(rows) >= 50
    assert f"interrupted: judged {len(rows)} rows" in told and "Traceback" not in told


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            command("judge", "-"), input=lines(MATH).encode(),
            stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1 and done.stderr == b""


def test_the_judge_loads_no_torch() -> None:
    code = (
        "import sys, json\n"
        "from srpo.rewards import Judge, judge_rows\n"
        f"assert list(judge_rows([json.loads({json.dumps(json.dumps(MATH))})]))\n"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'torch', 'transformers', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_progress_is_for_terminals(srpo: Command, tmp_path: Path) -> None:
    from rich.console import Console

    from srpo.insight.judge_view import Progress
    from srpo.rewards.judge.files import RowFile

    (tmp_path / "rows.jsonl").write_text(lines(*[MATH] * 10))
    with RowFile(tmp_path / "rows.jsonl") as source:
        progress = Progress(source, io.StringIO())
        progress.show(3)
        assert progress._live is None
        assert len(list(first(source.rows(), 5))) == 5
        console = Console(width=100)
        with console.capture() as capture:
            console.print(progress._line(5, 2.0))
    # half of the bytes took 2 s, so that 2 s are left
    assert "50 %" in capture.get() and "5 rows" in capture.get()
    assert "0:02 left" in capture.get()


def first(rows: Any, count: int) -> list[Any]:
    return [row for _, row in zip(range(count), rows, strict=False)]
