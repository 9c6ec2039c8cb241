"""What the predicting rules share: the whole set is in play, and an epoch is a number of draws."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from srpo.selection.rule import Resampled


class Draws:
    """The part of a `Rule` that counts: no passes, nothing is dropped, nothing is decided.

    An epoch is as many places in steps as the set has problems, so that it costs what a pass
    over the set costs. A place that could not be filled counts, so that every epoch ends.
    """

    def __init__(self, set_name: str, ids: Sequence[str], rng: random.Random) -> None:
        self.set_name = set_name
        self.ids = list(ids)
        self.place_of = {problem_id: i for i, problem_id in enumerate(self.ids)}
        self.num_places = 0  # asked for in this epoch
        self.rng = rng

    @property
    def kept(self) -> list[str]:
        """Problems in play: all."""
        return self.ids

    @property
    def dropped(self) -> list[str]:
        """Problems out of play: none."""
        return []

    @property
    def epoch_done(self) -> bool:
        """True once as many places were asked for as the set has problems."""
        return self.num_places >= len(self.ids)

    def end_epoch(self) -> list[Resampled]:
        """See `Rule.end_epoch`: nothing to decide; what is known stays known."""
        self.num_places = 0
        return []

    def state_dict(self) -> dict[str, Any]:
        """See `Rule.state_dict`."""
        return {"num_problems": len(self.ids), "num_places": self.num_places}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Rule.load_state_dict`."""
        if state["num_problems"] != len(self.ids):
            raise ValueError(f"the saved selection of set {self.set_name} is of other problems")
        self.num_places = state["num_places"]

    def check_known(self, ids: Iterable[str]) -> None:
        """Raise `ValueError` if a saved problem is none of the set's."""
        if not all(problem_id in self.place_of for problem_id in ids):
            raise ValueError(f"the saved selection of set {self.set_name} is of other problems")
