"""A SandboxFusion service for tests, on 127.0.0.1: it really runs programs, and can misbehave."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

FIELDS: dict[str, tuple[type, ...]] = {
    "code": (str,),
    "language": (str,),
    "stdin": (str, type(None)),
    "compile_timeout": (int, float),
    "run_timeout": (int, float),
    "memory_limit_MB": (int,),
}


class FusionService:
    """Answers POST /run_code. `troubles` are done instead of answering, one a request, in order.

    `asked` holds the requests; `most_at_once` says how many programs ran side by side.
    """

    def __init__(self) -> None:
        self.troubles: list[Callable[[Handler], None]] = []
        self.always: Callable[[Handler], None] | None = None
        self.asked: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.service = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Around a program that runs."""
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        yield
        with self.lock:
            self.at_once -= 1

    def __enter__(self) -> FusionService:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Server(ThreadingHTTPServer):
    service: FusionService
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client left: said by the tests, not on the terminal."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    asked: dict[str, Any]

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""

    def do_POST(self) -> None:
        service = self.server.service  # type: ignore[attr-defined]  # ours, see Server
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked = request
        with service.lock:
            service.asked.append(request)
            trouble = service.troubles.pop(0) if service.troubles else service.always
        if trouble is not None:
            trouble(self)
        elif self.path != "/run_code":
            self.answer(404, {"detail": "Not Found"})
        elif bad := [name for name, kinds in FIELDS.items() if not _fits(request, name, kinds)]:
            self.answer(422, {"detail": [{"loc": ["body", name]} for name in bad]})
        else:
            with service.counted():
                result = run_code(request)
            self.answer(200, result)

    def answer(self, status: int, message: object) -> None:
        self.send_body(json.dumps(message).encode(), status=status)

    def send_body(self, body: bytes, *, status: int = 200, length: int | None = None) -> None:
        with contextlib.suppress(OSError):  # the client may be gone
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        self.close_connection = True


def _fits(request: dict[str, Any], name: str, kinds: tuple[type, ...]) -> bool:
    value = request.get(name)
    if isinstance(value, str):  # the real service refuses lone surrogates
        return not any("\ud800" <= char <= "\udfff" for char in value)
    return isinstance(value, kinds) and not isinstance(value, bool)


def run_code(request: dict[str, Any]) -> dict[str, Any]:
    """Run the code in a process of its own, as the service does without isolation."""
    limit = request["memory_limit_MB"] << 20
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(request["code"], encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-I", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
        with process:
            try:
                out, err = process.communicate(
                    (request["stdin"] or "").encode(), request["run_timeout"]
                )
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                result = _result("TimeLimitExceeded", None, out, err, started_s)
            else:
                result = _result("Finished", process.returncode, out, err, started_s)
    status = "Success" if result["return_code"] == 0 else "Failed"
    return answer_of(result, status)


def _result(
    status: str, code: int | None, out: bytes, err: bytes, started_s: float
) -> dict[str, Any]:
    return {
        "status": status,
        "execution_time": time.monotonic() - started_s,
        "return_code": code,
        "stdout": out.decode("utf-8", "replace"),
        "stderr": err.decode("utf-8", "replace"),
    }


def answer_of(result: object, status: str = "Success") -> dict[str, Any]:
    """An answer with all the fields that the service sends."""
    return {
        "status": status,
        "message": "",
        "compile_result": None,
        "run_result": result,
        "executor_pod_name": None,
        "files": {},
    }
