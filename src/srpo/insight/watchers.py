"""Which watcher suits a stream: the live view, or plain lines."""

from __future__ import annotations

import os
from typing import TextIO

from srpo.insight.plain_lines import PlainLines
from srpo.run.watcher import Watcher


def watcher_for(stream: TextIO) -> Watcher:
    """The live view if `stream` is a terminal that can show it, else plain lines."""
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    if not stream.isatty() or encoding != "utf8" or os.environ.get("TERM") in ("dumb", "unknown"):
        return PlainLines(stream)
    from rich.console import Console

    from srpo.insight.live import LiveView

    return LiveView(Console(file=stream))
