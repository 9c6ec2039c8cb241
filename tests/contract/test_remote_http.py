"""Outages, damaged answers and hostile services: an infrastructure error, in time, each time."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.errors import InfraError, SandboxError
from srpo.sandbox import FunctionCall, Job, JobResult, Stdin
from srpo.sandbox.remote import RemoteSandbox
from srpo.sandbox.remote.answers import call_outputs, ran_of
from srpo.sandbox.remote.http import Address, address_of, printable
from tests.fusion_service import FusionService, Handler, answer_of

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
GOOD = {"status": "Finished", "execution_time": 0.1, "return_code": 0, "stdout": "3", "stderr": ""}
Trouble = Callable[[Handler], None]


@pytest.fixture
def service() -> Iterator[FusionService]:
    with FusionService() as running:
        yield running


def ask(url: str, **settings: float) -> JobResult:
    sandbox = RemoteSandbox(url, startup_s=0.0, backoff_s=0.01, **{"wait_s": 5.0, **settings})  # type: ignore[arg-type]
    (result,) = sandbox.run([Job("1", "print(3)", (Stdin(""),))])
    return result


def says(status: int, message: object) -> Trouble:
    return lambda handler: handler.answer(status, message)


def sends(body: bytes, length: int | None = None) -> Trouble:
    return lambda handler: handler.send_body(body, length=length)


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


def raw(data: bytes) -> Trouble:
    def send(handler: Handler) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(data)
        handler.close_connection = True

    return send


def trickles(handler: Handler) -> None:
    """A byte now and then, of a header that never ends."""
    with contextlib.suppress(OSError):
        for _ in range(200):
            handler.wfile.write(b"H")
            time.sleep(0.05)
    handler.close_connection = True


def trickles_its_body(handler: Handler) -> None:
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    trickles(handler)


DAMAGED: dict[str, Trouble] = {
    "server error": says(500, {"detail": "down"}),
    "bad gateway": says(502, "x" * 10**6),
    "too many requests": says(429, {}),
    "sandbox error": says(200, {**answer_of(None, "SandboxError"), "message": "out of disk"}),
    "hangs up": hangs_up,
    "no http": raw(b"SSH-2.0-x\r\n"),
    "endless headers": raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n"),
    "long header": raw(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000 + b"\r\n\r\n"),
    "cut short": sends(json.dumps(answer_of(GOOD)).encode(), length=10_000),
    "half of it": sends(json.dumps(answer_of(GOOD)).encode()[:40]),
    "bad chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "not json": sends(b"<html>hello</html>"),
    "not utf-8": sends(b'{"status": "\xff"}'),
    "empty": sends(b""),
    "a list": sends(b"[1]"),
    "deeply nested": sends(b"[" * 100_000),
    "a number of many digits": sends(b'{"status": ' + b"9" * 10_000 + b"}"),
    "no fields": says(200, {}),
    "unknown status": says(200, answer_of(GOOD, "Maybe")),
    "no result": says(200, answer_of(None)),
    "result is a list": says(200, answer_of([GOOD])),
    "unknown end": says(200, answer_of({**GOOD, "status": "Error"})),
    "code is text": says(200, answer_of({**GOOD, "return_code": "0"})),
    "code is true": says(200, answer_of({**GOOD, "return_code": False})),
    "no code": says(200, answer_of({**GOOD, "return_code": None})),
    "time is text": says(200, answer_of({**GOOD, "execution_time": "fast"})),
    "time is nan": says(200, answer_of({**GOOD, "execution_time": float("nan")})),
    "time is negative": says(200, answer_of({**GOOD, "execution_time": -1})),
    "stdout is a list": says(200, answer_of({**GOOD, "stdout": ["3"]})),
    "success and a code": says(200, answer_of({**GOOD, "return_code": 1})),
    "success and a time-out": says(200, answer_of({**GOOD, "status": "TimeLimitExceeded"})),
    "failed and no reason": says(200, answer_of(GOOD, "Failed")),
}


@pytest.mark.parametrize("trouble", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_answer_is_asked_for_again_and_then_an_infra_error(
    service: FusionService, trouble: Trouble
) -> None:
    service.troubles = [trouble, trouble]
    result = ask(service.url)
    assert result.outputs == () and "twice" in result.infra_error
    assert service.url in result.infra_error and len(result.infra_error) < 500
    assert result.infra_error.isprintable() and len(service.asked) == 2


@pytest.mark.parametrize("trouble", DAMAGED.values(), ids=DAMAGED.keys())
def test_one_damaged_answer_changes_nothing(service: FusionService, trouble: Trouble) -> None:
    service.troubles, service.always = [trouble], says(200, answer_of(GOOD))
    result = ask(service.url)
    assert result.infra_error == "" and result.outputs[0].stdout == "3"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 301, 204])
def test_a_refusal_is_not_asked_for_again(service: FusionService, status: int) -> None:
    service.always = says(status, {"detail": "no"})
    result = ask(service.url)
    assert f"HTTP {status}" in result.infra_error and len(service.asked) == 1


@pytest.mark.parametrize("trouble", [trickles, trickles_its_body])
def test_a_service_that_trickles_is_given_up_at_the_deadline(
    service: FusionService, trouble: Trouble
) -> None:
    service.always = trouble
    started_s = time.monotonic()
    result = ask(service.url, wait_s=-1.5)  # and 2 s for the program: half a second
    assert "did not answer in time" in result.infra_error
    assert time.monotonic() - started_s < 5.0  # it would trickle for 10 s


def test_an_endless_answer_about_a_program_is_its_output(service: FusionService) -> None:
    flood = json.dumps(answer_of({**GOOD, "stdout": "x" * (20 << 20)})).encode()
    service.always = sends(flood)
    result = ask(service.url)
    assert [output.status for output in result.outputs] == ["too_much_output"]


def test_any_other_endless_answer_is_an_infra_error(service: FusionService) -> None:
    service.always = sends(b" " * (20 << 20))
    assert "longer than" in ask(service.url).infra_error


def test_a_service_that_is_not_there_is_an_infra_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = ask(f"http://127.0.0.1:{port}")
    assert "ConnectionRefusedError" in result.infra_error and "twice" in result.infra_error
    with pytest.raises(SandboxError, match="cannot be used: the service cannot be reached"):
        RemoteSandbox(f"http://127.0.0.1:{port}", backoff_s=0.01).describe()


def test_a_service_that_never_accepts_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
        result = ask(f"http://127.0.0.1:{server.getsockname()[1]}", wait_s=-1.7)
    assert "did not answer in time" in result.infra_error


def test_a_service_without_tls_is_an_infra_error(service: FusionService) -> None:
    assert "SSL" in ask(service.url.replace("http:", "https:")).infra_error


def test_a_program_that_does_not_compile_has_crashed(service: FusionService) -> None:
    failed = {**GOOD, "return_code": 1, "stderr": "no such language"}
    service.always = says(200, {**answer_of(None, "Failed"), "compile_result": failed})
    (output,) = ask(service.url).outputs
    assert (output.status, output.error) == ("crashed", "no such language")


def test_a_service_that_runs_nothing_is_refused_at_the_start(service: FusionService) -> None:
    service.always = says(200, answer_of(GOOD))  # it says 3 to everything
    with pytest.raises(SandboxError, match="did not run a small program"):
        RemoteSandbox(service.url).describe()


def test_a_caller_that_leaves_waits_for_one_request_at_most(service: FusionService) -> None:
    asked, answered = threading.Event(), threading.Event()

    def answer(handler: Handler) -> None:
        if handler.asked["stdin"] == "quick":
            asked.wait(10.0)
            handler.answer(200, answer_of(GOOD))
            return
        asked.set()
        time.sleep(0.2)
        answered.set()
        handler.answer(503, {})

    service.always = answer
    sandbox = RemoteSandbox(service.url, workers=2, backoff_s=30.0)
    results = sandbox.run(Job(text, "", (Stdin(text),)) for text in ("quick", "slow"))
    assert next(results).id == "quick"
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert answered.is_set() and len(service.asked) == 2  # no second try


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost", Address(False, "localhost", 80, "")),
        ("https://box.example/", Address(True, "box.example", 443, "")),
        ("HTTP://10.0.0.1:8080/a/b/", Address(False, "10.0.0.1", 8080, "/a/b")),
        ("http://[::1]:8080", Address(False, "::1", 8080, "")),
        ("http://m\u00fcnchen.example", Address(False, "xn--mnchen-3ya.example", 80, "")),
    ],
)
def test_addresses_are_read(url: str, address: Address) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8080", "ftp://x", "file:///etc/passwd", "http://", "http://:80", "http://x:0",
        "http://x:65536", "http://x:y", "http://[::1", "http://a..b", "http://u:p@x", "http://u@x",
        "http://x?q=1", "http://x#f", "http://x y", "http://x\r\nA: b", "http://x/\u00e9", "//x",
    ],
)  # fmt: skip
def test_what_is_no_address_is_one_clear_line(url: str) -> None:
    with pytest.raises(SandboxError) as caught:
        RemoteSandbox(url)
    assert "the remote sandbox cannot be used: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_worker_is_no_sandbox() -> None:
    with pytest.raises(SandboxError, match="at least 1 worker"):
        RemoteSandbox("http://x", workers=0)


# --- whatever comes -----------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
STATUS = st.sampled_from(["Success", "Failed", "SandboxError", "Finished", "TimeLimitExceeded"])
RESULT = st.fixed_dictionaries(
    {},
    optional={
        "status": STATUS | JSON,
        "return_code": st.integers() | JSON,
        "execution_time": st.floats() | JSON,
        "stdout": st.text() | JSON,
        "stderr": st.text() | JSON,
    },
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "status": STATUS | JSON,
            "message": JSON,
            "run_result": RESULT | JSON,
            "compile_result": RESULT | JSON,
        },
    )
)
def test_any_answer_is_read_or_an_infra_error(answer: dict[str, Any]) -> None:
    try:
        ran = ran_of(answer)
    except InfraError as error:
        assert str(error).isprintable()
    else:
        assert (answer["status"] == "Success") == (ran.end == "ended" and ran.return_code == 0)


LINE = (
    st.text(max_size=20)
    | JSON.map(json.dumps)
    | st.tuples(
        st.sampled_from("xvnmez"),
        st.integers(-1, 4),
        st.text(max_size=9) | st.binary(max_size=9).map(lambda data: b64encode(data).decode()),
    ).map(json.dumps)
)


@given(st.lists(LINE), st.integers(1, 3), st.sampled_from(["ended", "timed_out"]))
def test_any_lines_give_one_output_a_call(lines: list[str], num_calls: int, end: str) -> None:
    stdout = "\n".join(f"mark:{line}" for line in lines)
    ran = ran_of(answer_of({**GOOD, "stdout": stdout}))
    outputs = call_outputs(ran, "mark:", num_calls)
    assert len(outputs) == num_calls
    after = [output.status for output in outputs]
    if "not_run" in after:  # only at the end, and after one that says why
        assert set(after[after.index("not_run") :]) == {"not_run"} and after[0] != "not_run"


@given(st.text())
def test_a_service_s_words_fit_on_a_line(text: str) -> None:
    assert printable(text).isprintable() and len(printable(text)) <= 200


def test_a_job_of_calls_survives_an_outage_too(service: FusionService) -> None:
    service.always = says(503, {})
    sandbox = RemoteSandbox(service.url, backoff_s=0.01)
    job = Job("1", "def f(): return 1", (FunctionCall("f", ()), FunctionCall("f", ())))
    (result,) = sandbox.run([job])
    assert "HTTP 503" in result.infra_error and result.outputs == ()
