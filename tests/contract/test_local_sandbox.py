"""What the local sandbox promises beyond the seam: strengths, one's own death, no stall."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srpo.errors import SandboxError
from srpo.sandbox import Asserts, CaseOutput, FunctionCall, Job, Limits, Stdin
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.local.bubblewrap import find_bwrap
from srpo.sandbox.local.client import ServerClient, rehearse
from srpo.sandbox.server.folders import empty_folder, holds_more
from srpo.sandbox.strengths import Strength, Wanted
from tests.sandboxes import FENCED, have

ADD = "def add(a, b):\n    return a + b\n"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(2)
    yield sandbox
    sandbox.close()


def run(sandbox: LocalSandbox, program: str, *inputs: object, **limits: float) -> list[CaseOutput]:
    job = Job("1", program, inputs, Limits(**limits))  # type: ignore[arg-type]  # test's shorthand
    (result,) = sandbox.run([job])
    assert result.infra_error == ""
    return list(result.outputs)


@pytest.mark.parametrize("strength", FENCED)
def test_a_rehearsal_finds_no_hole(strength: Any) -> None:
    have(strength).close()
    client = ServerClient(strength)
    try:
        assert rehearse(client) == ""
    finally:
        client.close()


def test_a_rehearsal_finds_all_holes_of_no_fence() -> None:
    client = ServerClient("none")
    try:
        holes = rehearse(client)
    finally:
        client.close()
    assert holes == (
        "open a socket, read a file of yours, signal another process, start a process, "
        "write beside it"
    )


@pytest.mark.parametrize("strength", FENCED)
def test_scripts_functions_and_asserts_run_in_every_strength(strength: Wanted) -> None:
    sandbox = have(strength)
    try:
        assert run(sandbox, "print(int(input()) + 1)", Stdin("41\n"))[0].stdout == "42\n"
        assert run(sandbox, ADD, FunctionCall("add", (1, 2)))[0].value == 3
        assert run(sandbox, ADD, Asserts("assert add(1, 2) == 3"))[0].status == "ok"
        assert run(sandbox, ADD, Asserts("assert add(1, 2) == 4"))[0].status == "failed"
    finally:
        sandbox.close()


def test_only_programs_of_the_strength_for_it_start_processes() -> None:
    program = "import os\npid = os.fork()\nif pid:\n    os.wait()\n    print('parent')\n"
    for strength, status in (("namespaces", "crashed"), ("namespaces-per-program", "ok")):
        sandbox = have(strength)  # type: ignore[arg-type]  # literals
        assert run(sandbox, program, Stdin(""))[0].status == status
        sandbox.close()


def test_a_weaker_strength_is_taken_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "srpo.sandbox.local.ServerClient", lambda strength, fence: refuse_namespaces(strength)
    )
    sandbox = LocalSandbox(1)
    assert sandbox.strength == "landlock"
    assert sandbox.describe().startswith("Sandbox landlock: ")
    assert "Not available here: namespaces (unshare: no)" in sandbox.describe()
    sandbox.close()


def refuse_namespaces(strength: Strength) -> ServerClient:
    if strength.startswith("namespaces"):
        raise SandboxError("unshare: no")
    return ServerClient(strength)


def test_a_strength_asked_for_by_name_is_never_weakened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "srpo.sandbox.local.ServerClient", lambda strength, fence: refuse_namespaces(strength)
    )
    with pytest.raises(SandboxError, match=r"namespaces: unshare: no.*allow_unsafe = true"):
        LocalSandbox(1, "namespaces").describe()


def test_no_fence_has_to_be_allowed_and_is_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srpo.sandbox.local.rehearse", lambda client: "everything")
    with pytest.raises(SandboxError, match="seccomp: a rehearsal found holes: everything"):
        LocalSandbox(1).describe()
    sandbox = LocalSandbox(1, allow_unsafe=True)
    assert "NOT SAFE" in sandbox.describe() and sandbox.strength == "none"
    sandbox.close()


def test_inside_bubblewrap() -> None:
    if find_bwrap() is None:
        with pytest.raises(SandboxError, match="install bubblewrap"):
            LocalSandbox(1, fence="bubblewrap").describe()
        return
    sandbox = LocalSandbox(1, fence="bubblewrap")
    assert sandbox.describe().startswith("Sandbox landlock inside bubblewrap: ")
    assert run(sandbox, "print(input())", Stdin("x"))[0].stdout == "x\n"
    sandbox.close()


def test_an_unknown_fence_is_named() -> None:
    with pytest.raises(SandboxError, match="no fence 'firejail'; known: bubblewrap"):
        LocalSandbox(1, fence="firejail").describe()


def test_jobs_are_taken_as_servers_get_free(local: LocalSandbox) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Job]:
        for number in taken:
            yield Job(str(number), "print(1)", (Stdin(""),))

    results = local.run(endless())
    for _ in range(5):
        assert next(results).outputs[0].stdout == "1\n"
    results.close()  # type: ignore[attr-defined]  # a generator
    # Two servers, a queue of four results, one taken by each, and what the loop above read.
    assert next(taken) <= 5 + 4 + 2 * local.workers + 2


def test_what_a_job_list_raises_is_raised_to_its_reader(local: LocalSandbox) -> None:
    def broken() -> Iterator[Job]:
        yield Job("1", "print(1)", (Stdin(""),))
        raise RuntimeError("the file ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        list(local.run(broken()))


def test_an_early_end_leaves_the_rest_unrun(local: LocalSandbox) -> None:
    seen = []

    def keep_going(place: int, output: CaseOutput) -> bool:
        seen.append((place, output.value))
        return place < 1

    inputs = tuple(FunctionCall("add", (i, 1)) for i in range(4))
    (result,) = local.run([Job("1", ADD, inputs, keep_going=keep_going)])
    assert seen == [(0, 1), (1, 2)]
    assert [output.status for output in result.outputs] == ["ok", "ok", "not_run", "not_run"]


def test_a_program_has_one_time_for_all_its_inputs(local: LocalSandbox) -> None:
    program = "import time\ntime.sleep(0.2)\n"
    outputs = run(local, program, *[Stdin("")] * 20, timeout_s=1.0, program_timeout_s=0.7)
    statuses = [output.status for output in outputs]
    ended = statuses.index("timed_out")
    assert ended <= 3  # in 0.7 s: three of 0.2 s, fewer or none where the machine is busy
    assert statuses == ["ok"] * ended + ["timed_out"] + ["not_run"] * (19 - ended)


def test_a_prelude_comes_before_the_program_and_may_be_partly_wrong(local: LocalSandbox) -> None:
    job = Job("1", "print(floor(1.5))", (Stdin(""),), prelude="from math import *\nimport nothing")
    (result,) = local.run([job])
    assert result.outputs[0].stdout == "1\n"


@pytest.mark.parametrize(
    "end",
    ["os._exit(70)", "os._exit(71)", "os._exit(125)", "os.kill(os.getpid(), 9)", "os.abort()",
     "os.close(1); os.close(2)", "os.closerange(0, 64); os._exit(1)",
     "sys.stderr.write('OSError: a program could not be confined'); os._exit(70)"],
)  # fmt: skip
@pytest.mark.parametrize("strength", ["namespaces", "landlock"])
def test_no_way_to_end_looks_like_a_fault_of_the_sandbox(strength: Wanted, end: str) -> None:
    sandbox = have(strength)
    program = f"import os, sys\n{end}\n"
    assert run(sandbox, program, Stdin(""))[0].status in ("crashed", "ok")
    assert run(sandbox, program, FunctionCall("f", ()))[0].status == "crashed"
    sandbox.close()


def test_the_input_is_sealed(local: LocalSandbox) -> None:
    program = (
        "import os\ntry:\n    os.ftruncate(0, 0)\nexcept OSError as error:\n    print(error)\n"
    )
    (output,) = run(local, program, Stdin("x"))
    assert output.stdout == "[Errno 1] Operation not permitted\n"


def test_output_beyond_the_cap_is_named_and_costs_no_more(local: LocalSandbox) -> None:
    inputs = (Stdin(""),)
    flood = Job("1", "print('x' * (1 << 24))", inputs, Limits(output_kib=1))
    (result,) = local.run([flood])
    assert result.outputs[0].status == "too_much_output"
    fitting = Job("1", "print('x' * 1023)", inputs, Limits(output_kib=1))
    (result,) = local.run([fitting])
    assert result.outputs[0].stdout == "x" * 1023 + "\n"


TAKEN_NAMES = """
import os
places = []
for i in range(20):
    os.makedirs(f"d{i}/q")
    places.append(os.stat(f"d{i}").st_ino)
for place in places:
    for i in range(1, 40):
        open(f".left-{i}-{place}", "w").close()
"""


@pytest.mark.parametrize("strength", ["namespaces", "landlock"])
def test_what_is_left_behind_never_takes_a_verdict_back(strength: Wanted) -> None:
    sandbox = have(strength)
    before = run(sandbox, "print(1)", Stdin(""))
    (server,) = sandbox.pids()
    assert run(sandbox, TAKEN_NAMES, Stdin(""))[0] == CaseOutput("ok")
    assert run(sandbox, "import os; print(os.listdir())", Stdin(""))[0].stdout == "[]\n"
    assert before[0].stdout == "1\n" and sandbox.pids() == [server]
    sandbox.close()


BUFFERS = {
    "another stream in its place": (
        "import io, sys\nsys.stdout = io.StringIO()\nprint('hey')\n"
        "sys.__stdout__.write(sys.stdout.getvalue())"
    ),
    "written at exit": (
        "import atexit, io, sys\nsys.stdout = io.StringIO()\n"
        "atexit.register(lambda: sys.__stdout__.write(sys.stdout.getvalue()))\nprint('hey')"
    ),
    "a file of its own": "out = open(1, 'w')\nout.write('hey\\n')",
    "a wrapper of its own": (
        "import io\nout = io.TextIOWrapper(open(1, 'wb', closefd=False))\nout.write('hey\\n')"
    ),
    "put aside": "import sys\nw = sys.stdout\nsys.stdout = None\nw.write('hey\\n')",
    "when it is given up": ("class A:\n    def __del__(self):\n        print('hey')\na = A()\n"),
}


@pytest.mark.parametrize("program", BUFFERS.values(), ids=BUFFERS)
def test_all_that_a_program_wrote_comes_out(local: LocalSandbox, program: str) -> None:
    assert run(local, program, Stdin(""))[0].stdout == "hey\n"


def test_processes_of_a_program_share_locks_where_it_may_have_some() -> None:
    program = (
        "import multiprocessing, subprocess, sys\n"
        "def double(n): return 2 * n\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(double, [1, 2]), flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'print(3)'])\n"
    )
    sandbox = have("namespaces-per-program")
    (output,) = run(sandbox, program, Stdin(""), timeout_s=20.0)
    assert output == CaseOutput("ok", stdout="[2, 4]\n3\n")
    sandbox.close()


def test_a_program_of_megabytes_is_refused_and_no_fault_of_the_sandbox(
    local: LocalSandbox,
) -> None:
    outputs = run(local, "#" * 5_000_000, Stdin(""), Stdin(""))
    assert outputs[0].error == "a program of 5000000 characters is not read"
    assert [output.status for output in outputs] == ["crashed", "not_run"]


def make_deep(folder: Path, depth: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_folder_is_emptied_however_deep_it_is(tmp_path: Path) -> None:
    make_deep(tmp_path, 1200)
    (tmp_path / "d" / "file").write_text("x")
    (tmp_path / "link").symlink_to("/usr")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    assert holds_more(str(tmp_path), max_entries=1000, max_bytes=1 << 30)
    empty_folder(str(tmp_path))
    assert list(tmp_path.iterdir()) == [] and Path("/usr/lib").exists()
    assert not holds_more(str(tmp_path), max_entries=0, max_bytes=0)
