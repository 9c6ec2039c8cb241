"""The promises of the sandbox seam, kept by the remote one over a local fake of the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from srpo.sandbox import Asserts, CaseOutput, FunctionCall, Job, JobResult, Limits, Stdin
from srpo.sandbox.remote import RemoteSandbox
from tests.fusion_service import FusionService, Handler

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
ADD = "def add(a, b):\n    return a + b\n"
QUICK = Limits(timeout_s=1.0, output_kib=64, memory_mib=1024)


@pytest.fixture
def service() -> Iterator[FusionService]:
    with FusionService() as running:
        yield running


@pytest.fixture
def sandbox(service: FusionService) -> RemoteSandbox:
    return RemoteSandbox(service.url, workers=2, startup_s=1.5, wait_s=20.0, backoff_s=0.01)


def call(*args: object) -> FunctionCall:
    return FunctionCall("add", args)  # type: ignore[arg-type]  # all of them are JSON


def run_one(
    sandbox: RemoteSandbox, program: str, *inputs: FunctionCall | Stdin, limits: Limits = QUICK
) -> list[CaseOutput]:
    (result,) = sandbox.run([Job("1", program, inputs, limits)])
    assert result.infra_error == ""
    return list(result.outputs)


def statuses(outputs: list[CaseOutput]) -> list[str]:
    return [output.status for output in outputs]


# --- what comes back ----------------------------------------------------------------------------


def test_calls_and_scripts_in_one_job_keep_their_places(sandbox: RemoteSandbox) -> None:
    program = ADD + "if __name__ == '__main__':\n    print(input())\n"
    outputs = run_one(sandbox, program, Stdin("one\n"), call(1, 2), Stdin("two\n"), call("x", "y"))
    assert [outputs[0].stdout, outputs[1].value] == ["one\n", 3]
    assert [outputs[2].stdout, outputs[3].value] == ["two\n", "xy"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("None", None),
        ("2**70", 2**70),
        ("float('-inf')", float("-inf")),
        ("'\u00e9\\ud800\\n'", "\u00e9\ud800\n"),
        ("(1, [2, {3: {4}}])", (1, [2, {3: {4}}])),
        ("__import__('enum').IntEnum('E', 'X').X", 1),
    ],
)
def test_plain_values_arrive_as_they_are(
    sandbox: RemoteSandbox, expression: str, value: object
) -> None:
    (output,) = run_one(sandbox, f"def add(a, b): return {expression}", call(1, 2))
    assert output.status == "ok"
    assert output.value == value and type(output.value) is type(value)


@pytest.mark.parametrize("expression", ["object()", "(x for x in [1])", "sum", "add"])
def test_other_values_do_not(sandbox: RemoteSandbox, expression: str) -> None:
    (output,) = run_one(sandbox, f"def add(a, b): return {expression}", call(1, 2))
    assert output.status == "not_plain"


def test_a_method_of_solution_is_a_function_too(sandbox: RemoteSandbox) -> None:
    program = "class Solution:\n    def add(self, a, b):\n        return a + b\n"
    assert run_one(sandbox, program, call(1, 2))[0].value == 3


def test_every_call_gets_fresh_arguments_and_the_program_is_loaded_once(
    sandbox: RemoteSandbox, service: FusionService
) -> None:
    program = (
        "n = []\ndef add(a, b):\n    a.append(b)\n    n.append(0)\n    return len(a), len(n)\n"
    )
    outputs = run_one(sandbox, program, call([1], 1), call([1], 1))
    assert [output.value for output in outputs] == [(2, 1), (2, 2)]
    assert len(service.asked) == 1


def test_a_prelude_comes_before_the_program(sandbox: RemoteSandbox) -> None:
    program = "from __future__ import annotations\ndef add(a: X, b: Y):\n    return sqrt(a)\n"
    job = Job(
        "1",
        program + "print(sqrt(4))",
        (call(9, 0), Stdin("")),
        QUICK,
        prelude="from math import sqrt",
    )
    (result,) = sandbox.run([job])
    assert result.outputs == (CaseOutput("ok", value=3.0), CaseOutput("ok", stdout="2.0\n"))


def test_a_script_is_sent_as_it_is(sandbox: RemoteSandbox, service: FusionService) -> None:
    run_one(sandbox, "print(input()[::-1])", Stdin("abc\n"))
    assert service.asked == [
        {
            "code": "print(input()[::-1])",
            "language": "python",
            "stdin": "abc\n",
            "compile_timeout": 1.0,
            "run_timeout": 2.5,  # 1 s and 1.5 s for starting Python
            "memory_limit_MB": 1024,
        }
    ]


# --- programs that fail -------------------------------------------------------------------------


def test_an_exception_of_the_program_is_a_crash(sandbox: RemoteSandbox) -> None:
    program = "def add(a, b):\n    raise ValueError('no')\nif __name__ == '__main__':\n    1 / 0\n"
    assert run_one(sandbox, program, call(1, 2), Stdin("")) == [
        CaseOutput("crashed", error="ValueError: no"),
        CaseOutput("crashed", error="ZeroDivisionError: division by zero"),
    ]


@pytest.mark.parametrize("program", ["def add(", "raise SystemExit(0)", "sub = 1", "\ud800"])
def test_a_program_that_gives_no_function_has_crashed(sandbox: RemoteSandbox, program: str) -> None:
    assert statuses(run_one(sandbox, program, call(1, 2), call(3, 4))) == ["crashed"] * 2


def test_a_crash_in_one_call_leaves_the_others(sandbox: RemoteSandbox) -> None:
    outputs = run_one(sandbox, "def add(a, b): return b // a", call(1, 2), call(0, 2), call(2, 2))
    assert statuses(outputs) == ["ok", "crashed", "ok"]


def test_a_call_that_ends_the_process_ends_the_calls(sandbox: RemoteSandbox) -> None:
    program = "import os\ndef add(a, b):\n    return a or os._exit(0)\nprint('script')\n"
    outputs = run_one(sandbox, program, call(1, 2), call(0, 2), call(1, 2), Stdin(""))
    assert statuses(outputs) == ["ok", "crashed", "not_run", "ok"]


@pytest.mark.parametrize("hang", ["while True: pass", "__import__('time').sleep(99)", "9**9**9"])
def test_a_call_that_hangs_ends_the_job(sandbox: RemoteSandbox, hang: str) -> None:
    program = f"def add(a, b):\n    if not a:\n        {hang}\n    return b\n"
    outputs = run_one(sandbox, program, call(1, 2), call(0, 2), call(1, 2), Stdin(""))
    assert statuses(outputs) == ["ok", "timed_out", "not_run", "not_run"]


def test_a_program_that_stops_its_watchdog_meets_the_service_s_limit(
    sandbox: RemoteSandbox,
) -> None:
    program = "import faulthandler, time\ndef add(a, b):\n    faulthandler.cancel_dump_traceback_later()\n    time.sleep(99)\n"  # noqa: E501
    assert statuses(run_one(sandbox, program, call(0, 2), call(1, 2))) == ["timed_out", "not_run"]


def test_a_script_that_hangs_ends_the_job(sandbox: RemoteSandbox) -> None:
    outputs = run_one(
        sandbox, "if input() == 'x':\n    while True: pass", Stdin("y"), Stdin("x"), Stdin("y")
    )
    assert statuses(outputs) == ["ok", "timed_out", "not_run"]


def test_all_inputs_together_have_a_time_limit(service: FusionService) -> None:
    sandbox = RemoteSandbox(service.url, startup_s=3.0)
    limits = Limits(timeout_s=1.0, program_timeout_s=0.5, memory_mib=1024)
    program = "import time\ntime.sleep(0.6)"
    outputs = run_one(sandbox, program, Stdin(""), Stdin(""), Stdin(""), limits=limits)
    assert statuses(outputs) == ["ok", "timed_out", "not_run"]  # 0.6 s are more than 0.5 s


def test_too_much_output_is_named(sandbox: RemoteSandbox) -> None:
    assert statuses(run_one(sandbox, "print('x' * 70_000)", Stdin(""))) == ["too_much_output"]
    assert statuses(run_one(sandbox, "print('\\u20ac' * 22_000)", Stdin(""))) == ["too_much_output"]
    program = "def add(a, b): return 'x' * 10**6"
    assert statuses(run_one(sandbox, program, call(1, 2))) == ["too_much_output"]


def test_what_a_function_prints_is_no_matter(sandbox: RemoteSandbox) -> None:
    program = "import sys\ndef add(a, b):\n    print('x' * 10**7)\n    print('x' * 10**7, file=sys.stderr)\n    return a\n"  # noqa: E501
    assert run_one(sandbox, program, call(1, 2))[0].value == 1


def test_forged_lines_are_no_better_than_values(sandbox: RemoteSandbox) -> None:
    # The program finds the mark and writes a line for its own call: that value, no more, counts.
    # Ygc= is b"b\x07", the encoded 7.
    program = (
        "import json, os, sys\n"
        "def add(a, b):\n"
        "    frame = sys._getframe()\n"
        "    while 'asked' not in frame.f_locals:\n        frame = frame.f_back\n"
        "    mark = frame.f_locals['asked']['mark']\n"
        '    for line in \'["v", 0, "Ygc="]\', \'["v", true, "Ygg="]\', \'["v", 0, 8]\', \'[[\':\n'
        "        os.write(frame.f_locals['speaker']._out, f'\\n{mark}{line}\\n'.encode())\n"
        "    return os._exit(0) if a else 8\n"
    )
    assert [output.value for output in run_one(sandbox, program, call(1, 2))] == [7]
    assert [output.value for output in run_one(sandbox, program, call(0, 2))] == [8]


def test_a_value_that_cannot_be_decoded_is_not_plain(sandbox: RemoteSandbox) -> None:
    program = (
        "import sys\ndef add(a, b):\n"
        "    sys.modules['srpo.sandbox.remote.driver'].encode = lambda *_: b'?'\n"
    )
    assert statuses(run_one(sandbox, program, call(1, 2))) == ["not_plain"]


# --- the stream of jobs -------------------------------------------------------------------------


def test_no_jobs_no_results(sandbox: RemoteSandbox) -> None:
    assert list(sandbox.run([])) == []
    assert list(sandbox.run([Job("1", ADD, ())])) == [JobResult("1", ())]


def test_results_come_in_the_order_in_which_jobs_end(sandbox: RemoteSandbox) -> None:
    slow = Job("slow", "import time\ntime.sleep(0.8)", (Stdin(""),), QUICK)
    quick = Job("quick", "pass", (Stdin(""),), QUICK)
    assert [result.id for result in sandbox.run([slow, quick])] == ["quick", "slow"]


def test_jobs_are_taken_as_workers_get_free(sandbox: RemoteSandbox, service: FusionService) -> None:
    taken: list[int] = []

    def endless() -> Iterator[Job]:
        while True:
            taken.append(len(taken))
            yield Job(str(len(taken)), "pass", (Stdin(""),), QUICK)

    results = sandbox.run(endless())
    for num_results in range(1, 6):
        next(results)
        assert len(taken) <= num_results + 2
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert service.at_once == 0 and service.most_at_once <= 2


def test_several_threads_share_the_workers(sandbox: RemoteSandbox, service: FusionService) -> None:
    found: list[int] = []

    def work() -> None:
        jobs = [Job(str(i), ADD, (call(i, 1),), QUICK) for i in range(3)]
        found.extend(int(str(result.outputs[0].value)) for result in sandbox.run(jobs))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1] * 4 + [2] * 4 + [3] * 4
    assert service.most_at_once <= 2


def test_two_jobs_with_one_id_are_an_error(sandbox: RemoteSandbox) -> None:
    with pytest.raises(ValueError, match="same id"):
        list(sandbox.run([Job("1", ADD, ()), Job("1", ADD, ())]))


def test_an_error_of_the_caller_s_own_code_is_raised(sandbox: RemoteSandbox) -> None:
    def wrong(place: int, output: CaseOutput) -> bool:
        raise KeyError(place)

    with pytest.raises(KeyError):
        list(sandbox.run([Job("1", ADD, (call(1, 2),), QUICK, keep_going=wrong)]))


def test_the_caller_ends_a_job_early(sandbox: RemoteSandbox, service: FusionService) -> None:
    seen: list[tuple[int, object]] = []

    def first_two(place: int, output: CaseOutput) -> bool:
        seen.append((place, output.value or output.stdout))
        return place < 1

    inputs = (call(1, 2), Stdin("x"), call(3, 4), Stdin("y"))
    program = ADD + "print(__name__ == '__main__')"
    (result,) = sandbox.run([Job("1", program, inputs, QUICK, keep_going=first_two)])
    assert seen == [(0, 3), (1, "True\n")]
    assert statuses(list(result.outputs)) == ["ok", "ok", "not_run", "not_run"]
    assert len(service.asked) == 2  # the calls, and one script


def test_it_describes_itself_after_trying(sandbox: RemoteSandbox, service: FusionService) -> None:
    text = sandbox.describe()
    assert text == sandbox.describe() and service.url in text and text.endswith(".")
    assert len(service.asked) == 1
    sandbox.close()
    sandbox.close()


def test_assert_tests_are_refused_and_said_to_be(
    sandbox: RemoteSandbox, service: FusionService
) -> None:
    tests = Asserts("assert add(1, 2) == 3")
    assert not sandbox.supports(tests) and sandbox.supports(call(1, 2))
    (result,) = sandbox.run([Job("1", ADD, (call(1, 2), tests))])
    assert "assert tests cannot be run" in result.infra_error and result.outputs == ()
    assert service.asked == []


def test_a_text_that_the_protocol_cannot_carry_is_an_infra_error(
    sandbox: RemoteSandbox, service: FusionService
) -> None:
    (result,) = sandbox.run([Job("1", "print(1)", (Stdin("\ud800"),))])
    assert "not valid Unicode" in result.infra_error and service.asked == []


def test_an_output_that_the_service_may_have_cut_is_no_output(service: FusionService) -> None:
    sandbox = RemoteSandbox(service.url, startup_s=3.0, whole_output_kib=4)
    program = "def add(a, b): return 'x' * a\nif __name__ == '__main__': print('x' * 4096)"
    script, value = Job("s", program, (Stdin(""),)), Job("v", program, (call(5000, 0),))
    results = {result.id: result for result in sandbox.run([script, value])}
    assert "cut silently" in results["s"].infra_error
    assert results["v"].outputs[0].value == "x" * 5000  # its last line is there: it is whole


def test_a_busy_service_costs_a_try_and_no_verdict(
    sandbox: RemoteSandbox, service: FusionService
) -> None:
    service.troubles = [lambda handler: Handler.answer(handler, 429, {"detail": "busy"})]
    started_s = time.monotonic()
    assert run_one(sandbox, ADD, call(1, 2))[0].value == 3
    assert len(service.asked) == 2 and time.monotonic() - started_s < 20
