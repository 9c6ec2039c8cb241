"""Fuzz one target for long: `python -m tests.fuzz.run TARGET CORPUS_FOLDER [libFuzzer options]`.

Needs `atheris`, which is no dependency. Stops at the first finding, which it writes to a file.
Not a part of continuous integration; `tests/fuzz/test_targets.py` is, with a few inputs each.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Instrument srpo, load the targets, and fuzz the one that is named."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["srpo"]):
        targets = importlib.import_module("tests.fuzz.targets")
    name, folder, *options = sys.argv[1:]
    targets.seeds_into(Path(folder), name)
    target = targets.TARGETS[name]

    def run(data: bytes) -> None:  # libFuzzer takes a number for an order
        target(data)

    atheris.Setup([sys.argv[0], folder, "-timeout=10", *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
