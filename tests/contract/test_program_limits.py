"""The limits of docs/security.md, in each strength: a program counts what it gets."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from srpo.sandbox import CaseOutput, Job, Limits, Stdin
from srpo.sandbox.local import LocalSandbox
from tests.sandboxes import FENCED, have

OPEN_FILES = """
import os
opened = 0
try:
    while opened < 1000:
        last = os.dup(0)
        opened += 1
except OSError as error:
    print(type(error).__name__, error.errno)
print(last)
"""
THREADS = """
import threading
threading.stack_size(1 << 16)
over = threading.Event()
started = 0
try:
    while started < 200:
        threading.Thread(target=over.wait).start()
        started += 1
except RuntimeError:
    pass
over.set()
print(started)
"""
# files of half a MiB, as one file has a limit of its own; what is there at the end is counted
FILL = """
import os, time
count, size = map(int, input().split())
made = 0
try:
    for number in range(count):
        with open(str(number), "wb") as file:
            file.write(bytes(size))
        made += 1
except OSError:
    pass
time.sleep(0.4)
print(made)
"""
HALF_MIB = 1 << 19


@pytest.fixture(scope="module", params=FENCED)
def sandbox(request: pytest.FixtureRequest) -> Iterator[LocalSandbox]:
    found = have(request.param)
    yield found
    found.close()


def run(sandbox: LocalSandbox, program: str, text: str = "") -> CaseOutput:
    (result,) = sandbox.run([Job("1", program, (Stdin(text),), Limits(timeout_s=10.0))])
    assert result.infra_error == ""
    return result.outputs[0]


def counted(sandbox: LocalSandbox, program: str, text: str = "") -> int:
    output = run(sandbox, program, text)
    assert output.status == "ok", output
    return int(output.stdout.split()[-1])


def test_a_program_has_64_open_files(sandbox: LocalSandbox) -> None:
    assert counted(sandbox, OPEN_FILES) == 63  # they are numbered from 0


def test_a_program_has_64_threads_and_processes(sandbox: LocalSandbox) -> None:
    started = counted(sandbox, THREADS)
    if sandbox.strength == "seccomp" or (sandbox.strength == "landlock" and os.geteuid() != 0):
        assert started == 200  # its user has other processes, so they are not counted
    else:
        assert 60 <= started <= 63  # besides its own first thread, and its server's processes


# in /tmp of a namespace's own: 16 MiB are 32 files of half a MiB; of 1,024 entries one is /tmp
@pytest.mark.parametrize(
    ("given", "in_namespaces"),
    [
        (f"24 {HALF_MIB}", 24),
        (f"200 {HALF_MIB}", 32),
        ("900 0", 900),
        ("2000 0", 1023),
    ],
)
def test_a_program_has_so_much_room_for_files(
    sandbox: LocalSandbox, given: str, in_namespaces: int
) -> None:
    if sandbox.strength == "seccomp":  # it changes no file
        assert counted(sandbox, FILL, given) == 0
    elif sandbox.strength != "landlock" or given in (f"24 {HALF_MIB}", "900 0"):
        assert counted(sandbox, FILL, given) == in_namespaces
    else:  # more than 64 MiB or 1,024 entries on a disk end the program
        output = run(sandbox, FILL, given)
        assert (output.status, output.error) == ("crashed", "it wrote too many files")


def test_a_folder_on_a_disk_takes_64_mib(sandbox: LocalSandbox) -> None:
    if sandbox.strength == "landlock":
        assert counted(sandbox, FILL, f"120 {HALF_MIB}") == 120  # 60 MiB
        assert run(sandbox, FILL, f"130 {HALF_MIB}").status == "crashed"  # 65 MiB
    else:
        assert counted(sandbox, FILL, f"130 {HALF_MIB}") <= 32


def test_shared_memory_of_a_program_has_the_same_limit(sandbox: LocalSandbox) -> None:
    in_shared_memory = FILL.replace("str(number)", "f'/dev/shm/{number}'")
    if sandbox.strength == "namespaces-per-program":
        assert counted(sandbox, in_shared_memory, f"200 {HALF_MIB}") == 32
        assert counted(sandbox, in_shared_memory, "2000 0") == 1023
    else:  # there is none to write to
        assert counted(sandbox, in_shared_memory, "2 1") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="2026-11-24, the tests are not run by root")
def test_where_the_trainer_is_root_programs_are_another_user(sandbox: LocalSandbox) -> None:
    seen = "import os\nprint(*os.getresuid(), *os.getresgid(), *os.getgroups())"
    inside = {int(word) for word in run(sandbox, seen).stdout.split()}
    assert (0 in inside) == (sandbox.strength == "seccomp")
