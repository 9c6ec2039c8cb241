"""Which srpo trains the runs of a comparison: all of them must be trained by the same.

OUT/source.txt has a fingerprint of the package, written when the comparison is begun and looked
at before each run is started. What only shows or compares runs is no part of it.
"""

from __future__ import annotations

from pathlib import Path

from srpo.comparison.plan import Comparison
from srpo.digests import fingerprint
from srpo.errors import RunDirectoryError


def keep_source(comparison: Comparison) -> None:
    """Write down the fingerprint, or check it: see `check_source`."""
    check_source(comparison)
    path = _source_file(comparison)
    if not path.exists():
        path.write_text(f"{fingerprint()}\n", encoding="utf-8")


def source_changed(comparison: Comparison) -> bool:
    """Whether the comparison was begun with another srpo; False if that was not written down."""
    path = _source_file(comparison)
    return path.is_file() and path.read_text(encoding="utf-8").strip() != fingerprint()


def check_source(comparison: Comparison) -> None:
    """Raise `RunDirectoryError` if the comparison was begun with another srpo."""
    if source_changed(comparison):
        raise RunDirectoryError(
            f"{comparison.out}: srpo itself has changed since this comparison was begun; choose "
            "another --out, or go back to the version it was begun with (--results reads what is "
            "finished)"
        )


def _source_file(comparison: Comparison) -> Path:
    return comparison.out / "source.txt"
