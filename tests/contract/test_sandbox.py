"""What every sandbox promises, and what only one that really runs programs can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srpo.errors import SandboxError
from srpo.sandbox import CaseOutput, FunctionCall, Job, Limits, Sandbox, Stdin
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.scripted import ScriptedSandbox

ADD = "def add(a, b):\n    return a + b\n"
ECHO = "print(input()[::-1])\n"
BROKEN = "def add(a, b):\n    raise ValueError('no')\n"
SCRIPT = {
    ADD: (CaseOutput("ok", value=3), CaseOutput("ok", value="xy")),
    ECHO: (CaseOutput("ok", stdout="cba\n"),),
    BROKEN: (CaseOutput("crashed", error="ValueError: no"),),
}
LIMITS = Limits(timeout_s=2.0, output_kib=64)
SHORT = Limits(timeout_s=1.0)  # enough for a call that does nothing, on a busy machine too


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(workers=2)
    yield sandbox
    sandbox.close()


@pytest.fixture(params=["local", "scripted"])
def sandbox(request: pytest.FixtureRequest, local: LocalSandbox) -> Sandbox:
    return local if request.param == "local" else ScriptedSandbox(SCRIPT)


def call(*args: int | str | list[int]) -> FunctionCall:
    return FunctionCall("add", tuple(args))  # type: ignore[arg-type]  # lists are invariant


def run_one(
    sandbox: Sandbox, program: str, *inputs: FunctionCall | Stdin, limits: Limits = LIMITS
) -> list[CaseOutput]:
    (result,) = sandbox.run([Job("1", program, inputs, limits)])
    assert result.infra_error == ""
    return list(result.outputs)


def test_every_job_has_one_result_under_its_id(sandbox: Sandbox) -> None:
    jobs = [Job(f"a{i}", ADD, (call(1, 2), call("x", "y"))) for i in range(6)]
    jobs.insert(2, Job("e", ECHO, (Stdin("abc\n"),)))
    results = list(sandbox.run(jobs))
    assert sorted(result.id for result in results) == sorted(job.id for job in jobs)
    by_id = {result.id: result.outputs for result in results}
    assert [output.value for output in by_id["a0"]] == [3, "xy"]
    assert by_id["e"][0].stdout == "cba\n"


def test_an_exception_of_the_program_is_a_crash(sandbox: Sandbox) -> None:
    (output,) = run_one(sandbox, BROKEN, call(1, 2))
    assert output == CaseOutput("crashed", error="ValueError: no")


def test_no_jobs_no_results(sandbox: Sandbox) -> None:
    assert list(sandbox.run([])) == []


def test_two_jobs_with_one_id_are_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="same id"):
        list(sandbox.run([Job("1", ADD, ()), Job("1", ADD, ())]))


def test_it_describes_itself_in_a_sentence(sandbox: Sandbox) -> None:
    said = sandbox.describe()
    assert said.isprintable() and said.endswith(".")
    if isinstance(sandbox, LocalSandbox):
        assert said.startswith(f"Sandbox {sandbox.strength}")
    else:
        assert said == "No program is run: outputs are looked up in a script."


def test_a_scripted_sandbox_can_be_told_to_fail() -> None:
    sandbox = ScriptedSandbox(SCRIPT)
    sandbox.infra_error = "the machine is gone"
    (result,) = sandbox.run([Job("1", ADD, (call(1, 2),))])
    assert result.infra_error == "the machine is gone" and result.outputs == ()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("None", None),
        ("True", True),
        ("2**70", 2**70),
        ("-3", -3),
        ("0.1", 0.1),
        ("float('-inf')", float("-inf")),
        ("'\u00e9\\ud800'", "\u00e9\ud800"),
        ("b'x'", b"x"),
        ("1j", 1j),
        ("(1, [2, {3: {4}}])", (1, [2, {3: {4}}])),
        ("__import__('collections').Counter('aab')", {"a": 2, "b": 1}),
        ("__import__('enum').IntEnum('E', 'X').X", 1),
    ],
)
def test_plain_values_arrive_as_they_are(
    local: LocalSandbox, expression: str, value: object
) -> None:
    (output,) = run_one(local, f"def add(a, b): return {expression}", call(1, 2))
    assert output.status == "ok"
    assert output.value == value and type(output.value) is type(value)


@pytest.mark.parametrize("expression", ["object()", "(x for x in [1])", "add"])
def test_other_values_do_not(local: LocalSandbox, expression: str) -> None:
    (output,) = run_one(local, f"def add(a, b): return {expression}", call(1, 2))
    assert output.status == "not_plain"


def test_every_call_gets_fresh_arguments(local: LocalSandbox) -> None:
    program = "def add(a, b):\n    a.append(b)\n    return len(a)\n"
    outputs = run_one(local, program, call([1], 1), call([1], 1))
    assert [output.value for output in outputs] == [2, 2]


def test_a_crash_in_one_call_leaves_the_others(local: LocalSandbox) -> None:
    program = "def add(a, b):\n    return b // a\n"
    outputs = run_one(local, program, call(1, 2), call(0, 2), call(2, 2))
    assert [output.status for output in outputs] == ["ok", "crashed", "ok"]


def test_a_time_out_ends_the_job(local: LocalSandbox) -> None:
    program = "def add(a, b):\n    while a: pass\n    return b\n"
    outputs = run_one(local, program, call(0, 2), call(1, 2), call(0, 2), limits=SHORT)
    assert [output.status for output in outputs] == ["ok", "timed_out", "not_run"]


def test_each_call_has_its_own_time(local: LocalSandbox) -> None:
    # three times 0.4 s are more than the limit of 1 s for one
    program = "import time\ndef add(a, b):\n    time.sleep(0.4)\n    return a\n"
    outputs = run_one(local, program, *[call(i, 0) for i in range(3)], limits=SHORT)
    assert [output.value for output in outputs] == [0, 1, 2]


def test_too_much_output_is_named(local: LocalSandbox) -> None:
    (script,) = run_one(local, "print('x' * 10**6)", Stdin(""))
    (value,) = run_one(local, "def add(a, b): return 'x' * 10**6", call(1, 2))
    assert script.status == value.status == "too_much_output"


def test_calls_and_scripts_in_one_job_keep_their_places(local: LocalSandbox) -> None:
    program = "def add(a, b):\n    return a + b\nif __name__ == '__main__':\n    print(input())\n"
    outputs = run_one(local, program, Stdin("one\n"), call(1, 2), Stdin("two\n"))
    assert [outputs[0].stdout, outputs[1].value, outputs[2].stdout] == ["one\n", 3, "two\n"]


def test_random_and_hash_are_the_same_in_every_run(local: LocalSandbox) -> None:
    program = "import random\ndef add(a, b): return [random.random(), hash('x')]"
    values = [run_one(local, program, call(1, 2))[0].value for _ in range(6)]
    assert len({str(value) for value in values}) == 1


def test_nothing_is_left_in_the_scratch_folder(local: LocalSandbox) -> None:
    program = (
        "import os\nprint(os.listdir('.'))\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\n"
    )
    for _ in range(4):
        (output,) = run_one(local, program, Stdin(""))
        assert output == CaseOutput("ok", stdout="[]\n")


def test_a_dead_server_is_replaced_and_the_job_run_again() -> None:
    sandbox = LocalSandbox(workers=1)
    try:
        run_one(sandbox, ADD, call(1, 2))
        (before,) = sandbox.pids()
        os.kill(before, signal.SIGKILL)
        after, end = before, time.monotonic() + 20
        while after == before and time.monotonic() < end:  # a busy machine may be late to kill it
            (output,) = run_one(sandbox, ADD, call(1, 2))
            assert output.value == 3
            (after,) = sandbox.pids()
        assert after != before
    finally:
        sandbox.close()


def test_a_server_that_never_starts_is_an_infra_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = LocalSandbox(workers=1, strength="landlock")
    run_one(sandbox, ADD, call(1, 2))
    (server,) = sandbox.pids()
    os.kill(server, signal.SIGKILL)
    monkeypatch.setattr("srpo.sandbox.local.client._PYTHON", ("/bin/false",))
    (result,) = sandbox.run([Job("1", ADD, (call(1, 2),))])
    assert result.infra_error == "the sandbox failed twice (the sandbox's server has ended)"
    sandbox.close()


def test_without_any_strength_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srpo.sandbox.local.client._PYTHON", ("/bin/false",))
    with pytest.raises(
        SandboxError, match=r"namespaces: .*; landlock: .*; seccomp: .*allow_unsafe"
    ):
        LocalSandbox(workers=1).describe()


def test_nothing_leaks() -> None:
    def count_fds() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count_fds()
    sandbox = LocalSandbox(workers=2)
    run_one(sandbox, ADD, call(1, 2))
    pids = sandbox.pids()
    sandbox.close()
    sandbox.close()
    assert count_fds() == before
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


TRAINER = """
from srpo.sandbox import *
from srpo.sandbox.local import LocalSandbox
sandbox = LocalSandbox(workers=1, strength={strength!r})
list(sandbox.run([Job("1", "1", (Stdin(""),))]))
print(*sandbox.pids(), flush=True)
list(sandbox.run([Job("1", "import time\\ntime.sleep(60)", (Stdin(""),), Limits(timeout_s=60))]))
"""


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [
        grandchild for child in children for grandchild in descendants(int(child))
    ]


# How many processes are below the one that was started: process 1 of the namespaces, or none.
@pytest.mark.parametrize(("strength", "idle"), [("namespaces", 1), ("landlock", 0)])
def test_nothing_outlives_a_trainer_that_is_killed(strength: str, idle: int) -> None:
    code = TRAINER.format(strength=strength)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout is not None
        server = int(trainer.stdout.readline())
        wait_until(lambda: len(descendants(server)) > idle)
        running = [server, *descendants(server)]
        trainer.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in running))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
