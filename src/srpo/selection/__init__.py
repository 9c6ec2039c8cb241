"""Which problems come next, and with how many rollouts: one rule a problem set.

A stage draws from one rule a problem set. Every step takes each set's declared share; a step may
be drawn in several rounds (a pilot and the rest of a group, or others in place of groups without
signal). An epoch ends when every set's has; history resampling (SRPO, arXiv 2504.14286) then
rebuilds the pools.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from srpo.config.method import SelectionConfig
from srpo.selection.dynamic import vacant_places
from srpo.selection.passes import Uniform
from srpo.selection.pilot import Pilots, chance_of_mixed
from srpo.selection.resampling import Resampling
from srpo.selection.rule import Decision, Resampled, Rule, RuleFacts, Tally
from srpo.selection.shares import places, quotas
from srpo.selection.soft_drop import SoftDrop
from srpo.selection.spaced import Spaced
from srpo.types import Group, Problem, Request


class Selection:
    """The problems of one stage: ask, observe, end the epoch; saved and restored as JSON."""

    def __init__(
        self,
        sets: Mapping[str, Sequence[Problem]],
        weights: Mapping[str, float],
        problems_per_step: int,
        group_size: int,
        seed: str,
        config: SelectionConfig,
        memory: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`memory`: what the rules of an earlier stage knew, by set (see `Selection.memory`)."""
        self._rng = random.Random(seed)
        self._config = config
        self._weights = dict(weights)
        self._size = problems_per_step
        self._group_size = group_size
        self._by_id = {p.id: p for name in self._weights for p in sets[name]}
        alone = len(self._by_id) == sum(len(sets[name]) for name in self._weights)
        self._shared = {} if alone else _shared(self._weights, sets)
        self._places = places(self._weights, problems_per_step)
        self._owed: dict[str, float] = {}
        self._cut: dict[str, int] = {}  # places of the step in hand, by set
        self._asked: dict[str, str] = {}  # problems of the step in hand -> their set
        self._decided: set[str] = set()  # of those, the pilots that are completed, or never will be
        self._declined: dict[str, float] = {}  # of those, the chance of the rest to pay
        self._refills = 0  # rounds of refill in the step in hand
        self.unfilled = 0  # places left without a mixed group, in all steps, though refilled
        self.rules = {
            name: make_rule(name, [p.id for p in sets[name]], self._rng, config, self._places[name])
            for name in self._weights
        }
        known = memory or {}
        self.revived_at_start = [
            d
            for name, rule in self.rules.items()
            if name in known
            for d in rule.remember(known[name])
        ]
        self.recalled: list[Resampled] = []  # what is out of play by another run's history
        piloted = self._weights if config.pilot else ()
        self._pilots = {name: Pilots([p.id for p in sets[name]]) for name in piloted}
        for name, pilots in self._pilots.items():
            if name in known:
                pilots.remember(known[name]["pilots"])

    def ask(self, groups: Sequence[Group]) -> list[Request]:
        """What to draw next, given the step's graded groups so far. Empty: the step is complete.

        No problem comes twice in a step, but for the rest of its own group.
        """
        if not self._asked:
            return self._first_round()
        return self._rest_of_groups(groups) or self._refill(groups)

    def why_of(self, group: Group) -> str:
        """Why a group of the step in hand is as it is: `group.why`, and why no rest was drawn."""
        chance = self._declined.get(group.problem.id)
        return group.why if chance is None else f"{group.why}; no rest, chance {chance:.2f}"

    def observe(self, groups: Iterable[Group]) -> None:
        """Record the accuracy verdicts of a step's groups; the step is over.

        What a problem of several sets came to counts for each of them. A group that began with
        part of an answer says nothing about its problem.
        """
        of_set: dict[str, dict[str, Tally]] = {name: {} for name in self.rules}
        for group in groups:
            if group.prefix:
                continue
            problem_id, tally = group.problem.id, Tally(group.num_correct, group.num_gradable)
            for name in self._shared.get(problem_id) or (self._asked[problem_id],):
                of_set[name][problem_id] = tally
                if self._pilots:
                    first = replace(group, rollouts=group.rollouts[: self._config.pilot])
                    pilot = Tally(first.num_correct, first.num_gradable)
                    self._pilots[name].observe(problem_id, pilot, tally)
        for name, rule in self.rules.items():
            rule.observe(of_set[name])
        self._asked, self._decided, self._declined = {}, set(), {}
        self._cut, self._refills = {}, 0

    def recall(self, epochs: Iterable[Mapping[str, Tally]], skip: Collection[str] = ()) -> None:
        """Begin with another run's history: its epochs in order, problem -> what came of it.

        What is out of play by it is in `recalled` then, for this run's own ledger.
        `skip`: sets that an earlier stage of this run has learned about since.
        """
        rules = {name: rule for name, rule in self.rules.items() if name not in skip}
        mine = {name: {*rule.kept, *rule.dropped} for name, rule in rules.items()}
        for tallies in epochs:
            for name, rule in rules.items():
                of_set = {i: tally for i, tally in tallies.items() if i in mine[name]}
                rule.observe(of_set)
                rule.end_epoch()
                if self._pilots:
                    for problem_id, tally in of_set.items():
                        self._pilots[name].observe(problem_id, tally, tally)
        self.recalled = [
            Resampled(problem_id, name, Decision.STAY_DROPPED, 0, 0)
            for name, rule in rules.items()
            for problem_id in rule.dropped
        ]

    @property
    def short_sets(self) -> list[tuple[str, int, int]]:
        """(set, its problems, its places in a step) of sets that cannot fill their places."""
        sizes = {name: len(rule.kept) + len(rule.dropped) for name, rule in self.rules.items()}
        wanted = self._places
        return [(n, sizes[n], wanted[n]) for n in self._weights if sizes[n] < wanted[n]]

    @property
    def epoch_done(self) -> bool:
        """True once the epoch has run its course for every set."""
        return all(rule.epoch_done for rule in self.rules.values())

    @property
    def num_kept(self) -> int:
        """Problems in play."""
        return sum(len(rule.kept) for rule in self.rules.values())

    @property
    def num_dropped(self) -> int:
        """Problems out of play."""
        return sum(len(rule.dropped) for rule in self.rules.values())

    def end_epoch(self) -> list[Resampled]:
        """Let every rule decide what comes next, and begin the next epoch."""
        return [decided for rule in self.rules.values() for decided in rule.end_epoch()]

    def memory(self) -> dict[str, dict[str, Any]]:
        """What a later stage should know, by set, as JSON."""
        known = {name: rule.memory() for name, rule in self.rules.items()}
        for name, pilots in self._pilots.items():
            known[name]["pilots"] = pilots.memory()
        return known

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes from step to step, as JSON. Taken between steps."""
        version, internal, gauss = self._rng.getstate()
        return {
            "rule": self._config.rule,
            "owed": dict(self._owed),
            "unfilled": self.unfilled,
            "pilots": {name: pilots.memory() for name, pilots in self._pilots.items()},
            "rules": {name: rule.state_dict() for name, rule in self.rules.items()},
            "rng": [version, list(internal), gauss],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave. `ValueError` if it is of other problems or rules."""
        if state["rule"] != self._config.rule or set(state["rules"]) != set(self.rules):
            raise ValueError("the saved selection is of other problem sets or of another rule")
        for name, rule in self.rules.items():
            rule.load_state_dict(state["rules"][name])
        self.unfilled = state["unfilled"]
        self._owed = dict(state["owed"])
        for name, pilots in self._pilots.items():
            pilots.remember(state["pilots"][name])
        version, internal, gauss = state["rng"]
        self._rng.setstate((version, tuple(internal), gauss))

    def _first_round(self) -> list[Request]:
        weights = self._weights_now()
        self._cut = quotas(weights, self._size, self._owed)
        total = sum(weights.values())
        for name, weight in weights.items():
            share = self._size * weight / total
            self._owed[name] = self._owed.get(name, 0.0) + share - self._cut[name]
        return self._draw(self._cut, "")

    def _weights_now(self) -> dict[str, float]:
        """The declared weights; by what is in play: each times the part of its set in play."""
        if self._config.shares == "declared":
            return self._weights
        sizes = {n: (len(rule.kept), len(rule.dropped)) for n, rule in self.rules.items()}
        return {n: w * sizes[n][0] / max(1, sum(sizes[n])) for n, w in self._weights.items()}

    def _draw(self, counts: Mapping[str, int], before: str) -> list[Request]:
        """So many problems of each set; `before` is put before the reason of each."""
        asked = []
        for name, count in counts.items():
            for choice in self.rules[name].choose(count, self._asked.keys()):
                self._asked[choice.problem_id] = name
                size = self._config.pilot or self._group_size
                why = before + choice.why
                asked.append(Request(self._by_id[choice.problem_id], size, why))
        return asked

    def _rest_of_groups(self, groups: Sequence[Group]) -> list[Request]:
        """The rest of every piloted group that may become mixed; the others stay as they are."""
        asked = []
        for group in groups:
            rest = self._group_size - len(group.rollouts)
            if rest <= 0 or group.problem.id in self._decided:
                continue
            self._decided.add(group.problem.id)
            belief = self._pilots[self._asked[group.problem.id]].belief(group.problem.id)
            pilot = Tally(group.num_correct, group.num_gradable)
            chance = chance_of_mixed(belief, pilot, rest)
            if chance >= self._config.pilot_chance:
                asked.append(
                    Request(group.problem, rest, f"{group.why}; rest, chance {chance:.2f}")
                )
            else:
                self._declined[group.problem.id] = chance
        return asked

    def _refill(self, groups: Sequence[Group]) -> list[Request]:
        """Others in place of the groups that are all correct or all wrong, while refills last."""
        if not self._config.refills:
            return []
        found = [(self._asked[g.problem.id], g.outcome) for g in groups]
        vacant = vacant_places(self._cut, found)
        asked = []
        if self._refills < self._config.refills:
            self._refills += 1
            asked = self._draw(vacant, f"refill {self._refills}: ")
        if not asked:
            self.unfilled += sum(vacant.values())
        return asked


RULES: Mapping[str, RuleFacts] = {
    "uniform": RuleFacts(decides="never", passes=True),
    "resampling": RuleFacts(decides="at an epoch's end", passes=True),
    "spaced": RuleFacts(decides="at an epoch's end", passes=True),
    "soft-drop": RuleFacts(decides="at an epoch's end", passes=False),
    "mopps": RuleFacts(decides="at every draw", passes=False),
    "dps": RuleFacts(decides="at every draw", passes=False),
}


def make_rule(
    name: str, ids: Sequence[str], rng: random.Random, config: SelectionConfig, share: int
) -> Rule:
    """The rule of one set. `share`: its places in a step, the floor if none is set."""
    floor = config.floor or share
    match config.rule:
        case "uniform":
            return Uniform(name, ids, rng, floor)
        case "resampling":
            return Resampling(name, ids, rng, floor)
        case "spaced":
            return Spaced(name, ids, rng, floor, config.longest_rest)
        case "soft-drop":
            return SoftDrop(name, ids, rng)
        case "mopps":
            from srpo.selection.mopps import Mopps  # it loads numpy

            return Mopps(name, ids, rng)
        case "dps":
            from srpo.selection.dps import Dps  # it loads numpy

            return Dps(name, ids, rng)


def _shared(
    names: Iterable[str], sets: Mapping[str, Sequence[Problem]]
) -> dict[str, tuple[str, ...]]:
    """Problems of more than one set -> their sets, in order."""
    times = Counter(problem.id for name in names for problem in sets[name])
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        for problem in sets[name]:
            if times[problem.id] > 1:
                found[problem.id] = (*found.get(problem.id, ()), name)
    return found
