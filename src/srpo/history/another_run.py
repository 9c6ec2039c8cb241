"""Beginning with another run's ledger: whether it speaks of the same problems."""

from __future__ import annotations

from collections.abc import Iterable

from srpo.errors import RunDirectoryError
from srpo.history.reading import LedgerReader
from srpo.types import Problem


def check_same_problems(ledger: LedgerReader, problems: Iterable[Problem]) -> str:
    """What there is to say of a ledger that a run of `problems` begins with: one sentence.

    Problems are the same if their contents are. Raises `RunDirectoryError` if there is none that
    both have.
    """
    ids = {problem.id for problem in problems}
    sizes = ledger.set_sizes()
    common, known = ledger.count_known(ids), ledger.count_problems()
    if not common:
        sets = ", ".join(f"{name}: {size:,}" for name, size in sizes.items()) or "none"
        raise RunDirectoryError(
            f"{ledger.path}: a ledger of other problems ({sets}); it knows none of the "
            f"{len(ids):,} problems of this run"
        )
    if common == len(ids) == known:
        return f"{ledger.path}: knows all {common:,} problems of this run"
    return (
        f"{ledger.path}: knows {common:,} of the {len(ids):,} problems of this run; "
        f"{known - common:,} others in it are ignored"
    )
