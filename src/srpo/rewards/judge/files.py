"""Files of rows to judge, and of verdicts: read and written line by line."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from srpo.errors import JudgeFileError
from srpo.rewards.judge.rows import MAX_ROW_BYTES, Judged, JudgeRow, parse_judge_row

_STANDARD = Path("-")
_CHUNK_BYTES = 1 << 20
_FLUSH_S = 0.2


class RowFile:
    """Rows of a JSON Lines file, or of standard input for "-". A context manager.

    Raises JudgeFileError if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_bytes = self.num_rows = 0  # so far
        self._ended = False
        self.total_bytes: int | None = None  # None if it cannot be known
        try:
            # not sys.stdin: a thread that waits in it cannot be left behind at the end
            self._file: BinaryIO = (
                os.fdopen(os.dup(0), "rb") if path == _STANDARD else path.open("rb")
            )
            mode = os.fstat(self._file.fileno())
        except (OSError, ValueError) as error:
            raise JudgeFileError(f"{path}: cannot be read: {_reason(error)}") from None
        if stat.S_ISREG(mode.st_mode):
            self.total_bytes = mode.st_size

    def rows(self) -> Iterator[JudgeRow | Judged]:
        """What each line holds; blank lines are no rows."""
        number = 0
        try:
            while line := self._file.readline(MAX_ROW_BYTES + 1):
                number += 1
                self.read_bytes += len(line)
                if len(line) > MAX_ROW_BYTES:
                    self._skip_line(line)
                elif not line.strip():
                    continue
                self.num_rows += 1
                content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                yield parse_judge_row(content, number)
            self._ended = True
        except OSError as error:
            raise JudgeFileError(f"{self.path}: cannot be read: {_reason(error)}") from None

    def _skip_line(self, line: bytes) -> None:
        """Read on to the end of a line that is too long to be kept."""
        while line and not line.endswith(b"\n"):
            line = self._file.readline(_CHUNK_BYTES)
            self.read_bytes += len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.path != _STANDARD or self._ended:  # else a thread may still wait in it
            self._file.close()


class VerdictFile:
    """A JSON Lines file of verdicts, or standard output for "-". A context manager.

    Only whole lines are written; to a pipe or a terminal each at once, as somebody may wait for
    it. Raises JudgeFileError if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._written_s = time.monotonic()
        if path == _STANDARD:
            if sys.stdout is None:  # it was closed by whoever started this
                raise JudgeFileError("standard output is closed; give --out FILE")
            self._fd = 1
            sys.stdout.flush()
            self._at_once = not stat.S_ISREG(os.fstat(self._fd).st_mode)
            return
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            self._at_once = not stat.S_ISREG(os.fstat(self._fd).st_mode)
        except OSError as error:
            raise JudgeFileError(f"{path}: cannot be written: {_reason(error)}") from None

    def write(self, judged: Judged) -> None:
        """Add a line; a file gets it within a fraction of a second of further writing."""
        self._lines.append((json.dumps(judged.row(), separators=(",", ":")) + "\n").encode())
        if self._at_once or time.monotonic() - self._written_s > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Bring all lines to the file."""
        data, self._lines = memoryview(b"".join(self._lines)), []
        self._written_s = time.monotonic()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise JudgeFileError(f"{self.path}: cannot be written: {_reason(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None or kind is KeyboardInterrupt:
                self.flush()
            else:
                with suppress(JudgeFileError, BrokenPipeError):
                    self.flush()
        finally:
            if self.path != _STANDARD:
                os.close(self._fd)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
