"""Numbers that are wrong: an update that is not finite is skipped; a sampler that drifts stops.

A run that goes on with them would train on noise, or not at all, and look as if it did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

from srpo.errors import FaultError
from srpo.run.session import Session
from srpo.types import Datum, Group

MOST_SKIPPED = 3  # steps in a row with an update that was not finite


class DriftedError(FaultError):
    """Sampler and trainer disagree; found before any update of the step."""


def gaps_between(data: Sequence[Datum], logprobs: Sequence[Sequence[float]]) -> list[float]:
    """|trainer - sampler| logprob of every trained token, in nats."""
    return [
        abs(new - old)
        for datum, row in zip(data, logprobs, strict=True)
        for new, old, mask in zip(row, datum.sampler_logprobs, datum.mask, strict=True)
        if mask
    ]


def check_together(s: Session, groups: Sequence[Group], gaps: Sequence[float]) -> None:
    """Raise `DriftedError` if sampler and trainer differ by more than is allowed, on average.

    Both compute the same weights, so they differ by rounding, unless one of them has other
    weights or another precision. Gaps that are not finite are another fault (`count_skipped`).
    """
    limit = s.config.health.max_logprob_gap
    finite = [gap for gap in gaps if math.isfinite(gap)]
    mean = math.fsum(finite) / len(finite) if finite else 0.0
    if limit and mean > limit:
        step = s.state.step + 1
        path = s.run.write_fault(step, groups)
        raise DriftedError(
            f"step {step}: sampler and trainer disagree by {mean:.3g} nats a token on average, "
            f"more than health.max_logprob_gap = {limit:g}: a stale sampler, or another precision; "
            f"no weight was changed; the rollouts are in {path}"
        )


def count_skipped(s: Session, groups: Sequence[Group], *, of_updates: int, made: int) -> None:
    """Tell of updates that were skipped since their numbers were not finite; keep the rollouts."""
    if made == of_updates:
        s.state.skipped_in_a_row = 0
        return
    step = s.state.step + 1
    s.state.skipped_in_a_row += 1
    path = s.run.write_fault(step, list({id(group): group for group in groups}.values()))
    s.tell(
        "not_finite",
        f"step {step}: {of_updates - made} of {of_updates} updates skipped: a loss, gradient or "
        f"logprob was not finite; the rollouts are in {path.relative_to(s.run.root)}",
    )


def too_many_skipped(s: Session) -> bool:
    """Whether so many steps in a row had a skipped update that the run must stop."""
    return s.state.skipped_in_a_row >= MOST_SKIPPED


def raise_skipped(s: Session) -> NoReturn:
    """Raise `FaultError`. A run that is gone on with has as many tries again."""
    raise FaultError(
        f"step {s.state.step}: the numbers of {s.state.skipped_in_a_row} steps in a row were not "
        f"finite; their rollouts are in {s.run.faults}; a run with a lower learning rate, or with "
        "model.dtype = float32, may do better"
    )
