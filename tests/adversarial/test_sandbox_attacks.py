"""Programs that try to fool or to hurt the grader, and plain ones that must not be refused.

The first line of each file in programs/ says what it does. None of the attacks may be judged
correct, each must end in its time, and a plain program must still pass after it.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from srpo.rewards.code import CodeFinding, check_programs
from srpo.sandbox import FunctionCall, Job, Limits, Stdin
from srpo.sandbox.forkserver import ForkServerSandbox
from srpo.types import CodeCase, FunctionCase, Problem, StdioCase, Verdict

LIMITS = Limits(timeout_s=1.5)
STDIO: tuple[CodeCase, ...] = (
    StdioCase("1 2\n", "3\n"),
    StdioCase("10 -4\n", "6\n"),
    StdioCase("123456789 987654321\n", "1111111110\n"),
)
CALLS: tuple[CodeCase, ...] = (
    FunctionCase("add", (1, 2), 3),
    FunctionCase("add", (10, -4), 6),
    FunctionCase("add", ("x", "y"), "xy"),
)
CANARY = "canary-5d1f0c"
PROGRAMS = Path(__file__).parents[2] / "src/srpo/rewards/exploits/programs"


@dataclass(frozen=True)
class Program:
    """One file of programs/."""

    name: str
    text: str
    about: dict[str, Any]

    @property
    def problem(self) -> Problem:
        tests = STDIO if self.about["mode"] == "stdio" else CALLS
        return Problem(id=self.about["mode"], domain="code", statement="add", tests=tests)


def load(prefix: str) -> list[Program]:
    programs = []
    for path in sorted(PROGRAMS.glob(f"{prefix}*.py")):
        text = path.read_text(encoding="utf-8")
        first = text.partition("\n")[0]
        programs.append(Program(path.stem, text, json.loads(first[first.index("{") :])))
    return programs


ATTACKS, BENIGN = load("[ab]"), load("g")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ForkServerSandbox]:
    sandbox = ForkServerSandbox(workers=1)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module", autouse=True)
def host() -> Iterator[Path]:
    """What some programs look for on the machine: a secret file, and a socket that listens."""
    folder = Path("/tmp/atk_host")  # the programs name it
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    (folder / "canary").write_text(CANARY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("\0atk_canary")
    listener.listen()
    listener.setblocking(False)
    yield folder
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()
    assert [path.name for path in folder.iterdir()] == ["canary"]
    (folder / "canary").unlink()
    folder.rmdir()


def judge(sandbox: ForkServerSandbox, program: Program) -> CodeFinding:
    (finding,) = check_programs([(program.problem, program.text)], sandbox, LIMITS)
    return finding


HARMFUL = {"escape", "dos", "persist", "leak"}


def skip_unless_isolated(sandbox: ForkServerSandbox) -> None:
    sentence = sandbox.describe()
    if "not fully isolated" in sentence:
        pytest.skip(f"2026-11-22, could hurt this machine: {sentence}")


def names(programs: list[Program]) -> list[str]:
    return [program.name for program in programs]


@pytest.mark.parametrize("program", ATTACKS, ids=names(ATTACKS))
def test_an_attack_gains_nothing(sandbox: ForkServerSandbox, program: Program) -> None:
    if program.about["cat"] in HARMFUL:
        skip_unless_isolated(sandbox)
    start_s = time.monotonic()
    findings = [judge(sandbox, program) for _ in range(program.about["must"].get("runs", 1))]
    assert time.monotonic() - start_s < program.about["must"]["max_wall"]
    for finding in findings:
        assert finding.verdict in (Verdict.WRONG, Verdict.TIMED_OUT), finding


@pytest.mark.parametrize("program", BENIGN, ids=names(BENIGN))
def test_a_plain_program_is_accepted(sandbox: ForkServerSandbox, program: Program) -> None:
    assert judge(sandbox, program) == CodeFinding(Verdict.CORRECT, passed_frac=1.0)


LEAKY = [program for program in ATTACKS if "no_out" in program.about["must"]]


@pytest.mark.parametrize(
    "program",
    [*LEAKY, *(p for p in ATTACKS if p.name == "b06_read_tests_fs")],
    ids=lambda p: p.name,
)
def test_nothing_secret_comes_out(sandbox: ForkServerSandbox, program: Program) -> None:
    skip_unless_isolated(sandbox)
    (result,) = sandbox.run([Job("1", program.text, (Stdin("1 2\n"),), LIMITS)])
    for secret in [*program.about["must"].get("no_out", []), CANARY]:
        assert secret not in result.outputs[0].stdout
        assert secret not in result.outputs[0].error


def test_no_attack_left_a_file(sandbox: ForkServerSandbox) -> None:
    places = ("/tmp", "/var/tmp", "/dev/shm", str(Path.home()), "/usr/lib")
    left = [path for place in places for path in Path(place).glob("*atk_*")]
    assert [path for path in left if path.name != "atk_host"] == []


def test_the_server_outlives_the_attacks(sandbox: ForkServerSandbox) -> None:
    skip_unless_isolated(sandbox)
    pid = sandbox._pool.first().pid
    for name in ("b27_kill_all", "b13_fork_bomb", "a14_fd_forge", "b26_daemon"):
        judge(sandbox, next(program for program in ATTACKS if program.name == name))
    assert sandbox._pool.first().pid == pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    assert children == ""


FORGERIES = [
    b"l\x00\x00\x00\x00" * 3,
    b"l\x00\x00\x00\x00" + b"v\x00\x00\x00\x013" * 9,
    b"v\xff\xff\xff\xff",
    b"v\x00\x00\x00\x05[[[[[",
    b"v\x00\x00\x00\x09" + b'{"i":"z"}',
    b"v\x00\x00\x00\x03nan",
    os.urandom(4096),
]


@pytest.mark.parametrize("forgery", FORGERIES, ids=range(len(FORGERIES)))
def test_forged_bytes_do_no_harm(sandbox: ForkServerSandbox, forgery: bytes) -> None:
    program = (
        "import os\n"
        "for fd in range(3, 64):\n"
        "    try:\n"
        f"        os.write(fd, {forgery!r})\n"
        "    except OSError:\n"
        "        pass\n"
        "def add(a, b): return None\n"
    )
    inputs = (FunctionCall("add", (1, 2)), FunctionCall("add", (10, -4)))
    pid = sandbox._pool.first().pid
    (result,) = sandbox.run([Job("1", program, inputs, LIMITS)])
    assert result.infra_error == "" and len(result.outputs) == 2
    assert sandbox._pool.first().pid == pid
