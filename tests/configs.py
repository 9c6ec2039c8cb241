"""A small right config as text, and a file of it."""

from __future__ import annotations

from pathlib import Path

GOOD = """
[sets.m]
generate = "math"
count = 8

[[stage]]
name = "one"
sets = { m = 1 }
steps = 5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path
