"""Reading the ledger: every question that a view, a report or another run asks of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from srpo.history.rows import (
    Decided,
    DecisionRow,
    EpochSoFar,
    EpochSummary,
    GroupRow,
    ProblemRow,
    Resampling,
    SetSoFar,
    Totals,
)
from srpo.history.schema import VERDICTS, clear_errors
from srpo.selection.rule import Tally
from srpo.types import outcome_of

ALONE = "FILTER (WHERE prefix = 0)"  # of groups that say whether it is solved without help
DROPS = "SELECT key FROM words WHERE text LIKE 'drop:%' OR text = 'stays dropped'"


class LedgerReader:
    """The questions; `srpo.history.Ledger` opens the file and writes it."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db

    # -- a run -----------------------------------------------------------------------------------

    def epochs(self) -> list[EpochSummary]:
        """One summary for each epoch and domain, in order."""
        sql = (
            "SELECT COUNT(*), SUM(gradable > 0 AND correct = gradable), "
            "SUM(correct > 0 AND correct < gradable), SUM(gradable > 0 AND correct = 0), "
            "SUM(gradable = 0), SUM(generated), SUM(reused) "
            "FROM groups WHERE epoch = ? AND domain = ?"
        )
        decided = self._decided_by_epoch()
        found = []
        for stage, epoch in self._stages_and_epochs():
            for domain, key in self._domains():
                row = self._one(sql, epoch, key)
                if row[0]:
                    row += decided.get((epoch, domain), (0, 0))
                    found.append(EpochSummary(stage, epoch, domain, *row))
        return found

    def events(self) -> list[tuple[int, str, str]]:
        """(step, kind, sentence) of every event, in order."""
        return list(self._all("SELECT step, kind, text FROM events ORDER BY step, rowid"))

    def set_sizes(self) -> dict[str, int]:
        """How many problems each set has."""
        sql = "SELECT text, COUNT(*) FROM problems JOIN words w ON w.key = set_name GROUP BY 1"
        return dict(self._all(sql))

    def resamplings(self, epoch: int | None = None) -> list[Resampling]:
        """How many problems got which decision, in order; of one epoch, or of all."""
        return [
            Resampling(*row)
            for row in self._all(
                "SELECT r.step, s.stage, s.epoch, n.text, w.text, SUM(problems) "
                "FROM resamplings r JOIN steps s ON s.step = r.step "
                "JOIN words n ON n.key = r.set_name JOIN words w ON w.key = r.decision "
                "WHERE ?1 IS NULL OR s.epoch = ?1 GROUP BY 1, 4, 5 ORDER BY 1, 4, 5",
                epoch,
            )
        ]

    def decided(self, epoch: int, kind: str, limit: int) -> list[Decided]:
        """What was decided to "drop" or to "revive" (`kind`) in an epoch; at most `limit`."""
        return [
            Decided(*row)
            for row in self._all(
                "SELECT p.id, n.text, w.text FROM decisions x "
                "JOIN problems p ON p.key = x.problem JOIN words w ON w.key = x.decision "
                "JOIN words n ON n.key = x.set_name "
                "WHERE x.decision IN (SELECT key FROM words WHERE text LIKE ?2 || ':%') "
                "AND x.step IN (SELECT step FROM steps WHERE epoch = ?1) "
                "ORDER BY x.step, x.problem LIMIT ?3",
                epoch,
                kind,
                limit,
            )
        ]

    def groups_drawn(self) -> Iterator[tuple[int, str, int]]:
        """(epoch, problem, generated tokens) of every group, epoch by epoch."""
        return self._all(
            "SELECT g.epoch, p.id, g.generated FROM groups g JOIN problems p ON p.key = g.problem "
            "WHERE g.epoch IN (SELECT DISTINCT epoch FROM steps) ORDER BY g.epoch, g.step"
        )

    def turns(self) -> Iterator[tuple[int, str, str, str]]:
        """(epoch, set, problem, decision) of what left play or came back, epoch by epoch.

        Every resampling of a set begins with a row without problem and decision.
        """
        return self._all(
            "SELECT epoch, set_name, problem, decision FROM ("
            "SELECT s.epoch, n.text AS set_name, '' AS problem, '' AS decision "
            "FROM resamplings r JOIN steps s ON s.step = r.step "
            "JOIN words n ON n.key = r.set_name GROUP BY 1, 2 UNION ALL "
            "SELECT s.epoch, n.text, p.id, w.text FROM decisions x "
            "JOIN steps s ON s.step = x.step JOIN problems p ON p.key = x.problem "
            "JOIN words n ON n.key = x.set_name JOIN words w ON w.key = x.decision) "
            "ORDER BY epoch, decision, set_name, problem"
        )

    # -- problems --------------------------------------------------------------------------------

    def find_problems(self, start: str) -> list[ProblemRow]:
        """Problems whose id or given name begins with `start`, by id."""
        pattern = start.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return [
            ProblemRow(*row)
            for row in self._all(
                "SELECT p.id, d.text, n.text, t.text FROM problems p "
                "JOIN words d ON d.key = p.domain JOIN words n ON n.key = p.set_name "
                "LEFT JOIN statements t ON t.problem = p.key "
                r"WHERE p.id LIKE ?1 ESCAPE '\' OR p.name LIKE ?1 ESCAPE '\' ORDER BY p.id",
                pattern,
            )
        ]

    def life_of(self, problem_id: str) -> tuple[list[GroupRow], list[DecisionRow]]:
        """Every group, and every decision that was not there before, of one problem, in order."""
        key = self._key_of(problem_id)
        groups = [
            _group_row(row)
            for row in self._all(
                "SELECT g.step, s.stage, g.epoch, policy_version, w.text, has_signal, generated, "
                f"reused, prefix, gradable, {', '.join(VERDICTS)} FROM groups g "
                "JOIN steps s ON s.step = g.step JOIN words w ON w.key = g.why "
                "WHERE g.problem = ? AND g.epoch IN (SELECT DISTINCT epoch FROM steps) "
                "ORDER BY g.step",
                key,
            )
        ]
        decisions = [
            DecisionRow(*row)
            for row in self._all(
                "SELECT x.step, s.stage, s.epoch, w.text FROM decisions x "
                "JOIN steps s ON s.step = x.step JOIN words w ON w.key = x.decision "
                "WHERE x.problem = ? ORDER BY x.step, x.set_name",
                key,
            )
        ]
        return groups, decisions

    def standing_of(self, problem_id: str) -> dict[int, str]:
        """Epoch -> what was decided for a problem at its end, for every epoch with a decision.

        A decision that only goes on is written once, so every later resampling of the set has it.
        """
        key = self._key_of(problem_id)
        ends = self._all(
            "SELECT s.epoch, (SELECT w.text FROM decisions x JOIN words w ON w.key = x.decision "
            "WHERE x.problem = ?1 AND x.set_name = r.set_name AND x.step <= r.step "
            "ORDER BY x.step DESC LIMIT 1) FROM (SELECT DISTINCT step, set_name FROM resamplings "
            "WHERE set_name IN (SELECT set_name FROM decisions WHERE problem = ?1)) r "
            "JOIN steps s ON s.step = r.step WHERE s.ends_epoch ORDER BY s.step",
            key,
        )
        return {epoch: decision for epoch, decision in ends if decision is not None}

    def never_solved(self) -> tuple[int, int]:
        """(problems never solved by any rollout, problems drawn at least once)."""
        row = self._one(
            "SELECT SUM(best IS NULL OR best = 0), COUNT(*) FROM "
            f"(SELECT MAX(correct) {ALONE} AS best FROM groups GROUP BY problem)"
        )
        return int(row[0] or 0), int(row[1])

    def never(self, *, gradable: bool) -> Iterator[Totals]:
        """Problems drawn and never solved, dearest first.

        `gradable` True: those of which some rollout could be graded; False: those with none.
        """
        compared = ">" if gradable else "="
        yield from self._totals(f"HAVING right = 0 AND graded {compared} 0", "spent DESC")

    def most_drawn(self, count: int) -> list[Totals]:
        """The `count` problems drawn most often; of equals the one with fewer correct answers."""
        return list(self._totals("", "drawn DESC, right", count))

    def kept(self) -> Iterator[str]:
        """Ids of the problems that are not dropped now, in the order in which they were added."""
        for (problem_id,) in self._all(
            "SELECT id FROM problems WHERE key NOT IN (SELECT problem FROM "
            f"(SELECT problem, MIN(decision IN ({DROPS})) AS gone FROM standing "
            "GROUP BY problem) WHERE gone) ORDER BY key"
        ):
            yield problem_id

    def count_known(self, problem_ids: Iterable[str]) -> int:
        """How many of these problems the ledger knows."""
        return sum(self._key_of(problem_id) is not None for problem_id in problem_ids)

    # -- what comes next -------------------------------------------------------------------------

    def tallies(self) -> Iterator[dict[str, Tally]]:
        """What came of every problem, epoch by epoch: one epoch in memory at a time.

        Groups that began with a prefix are left out, as selection leaves them out.
        """
        for _, epoch in self._stages_and_epochs():
            yield {
                problem_id: Tally(correct, gradable)
                for problem_id, correct, gradable in self._all(
                    "SELECT p.id, t.correct, t.gradable FROM "
                    "(SELECT problem, SUM(correct) AS correct, SUM(gradable) AS gradable "
                    "FROM groups WHERE epoch = ? AND prefix = 0 GROUP BY problem) t "
                    "JOIN problems p ON p.key = t.problem",
                    epoch,
                )
            }

    def newest_epoch(self) -> EpochSoFar | None:
        """The epoch of the last step, as it stands; None before the first."""
        last = self._all("SELECT epoch, stage, step, ends_epoch FROM steps ORDER BY step DESC")
        newest = next(last, None)
        if newest is None:
            return None
        epoch, stage, step, ends_epoch = newest
        dropped = dict(
            self._all(
                f"SELECT set_name, COUNT(*) FROM standing WHERE decision IN ({DROPS}) "
                "GROUP BY set_name"
            )
        )
        sizes = self._all(
            "SELECT set_name, w.text, n FROM (SELECT set_name, COUNT(*) AS n FROM problems "
            "GROUP BY set_name) JOIN words w ON w.key = set_name ORDER BY set_name"
        )
        sets = [
            SetSoFar(name, size, dropped.get(key, 0), *self._drawn_in(epoch, key))
            for key, name, size in sizes
        ]
        return EpochSoFar(epoch, stage, step, bool(ends_epoch), tuple(sets))

    def _drawn_in(self, epoch: int, set_key: int) -> tuple[int, ...]:
        """Problems drawn, of those all correct; tokens generated, of those for these."""
        solved = "graded > 0 AND right = graded"
        row = self._one(
            f"SELECT COUNT(graded), COUNT(*) FILTER (WHERE {solved}), SUM(spent), "
            f"SUM(spent) FILTER (WHERE {solved}) FROM (SELECT SUM(correct) {ALONE} AS right, "
            f"SUM(gradable) {ALONE} AS graded, SUM(generated) AS spent FROM groups "
            "WHERE epoch = ? AND set_name = ? GROUP BY problem)",
            epoch,
            set_key,
        )
        return tuple(value or 0 for value in row)

    # -- parts -----------------------------------------------------------------------------------

    def _totals(self, having: str, order: str, count: int = -1) -> Iterator[Totals]:
        for row in self._all(
            "SELECT p.id, d.text, t.drawn, t.right, t.graded, t.spent FROM (SELECT problem, "
            f"COUNT(*) AS drawn, COALESCE(SUM(correct) {ALONE}, 0) AS right, "
            f"COALESCE(SUM(gradable) {ALONE}, 0) AS graded, SUM(generated) AS spent "
            f"FROM groups GROUP BY problem {having} ORDER BY {order}, problem LIMIT ?) t "
            "JOIN problems p ON p.key = t.problem JOIN words d ON d.key = p.domain "
            f"ORDER BY {order}, p.key",
            count,
        ):
            yield Totals(*row)

    def _decided_by_epoch(self) -> dict[tuple[int, str], tuple[int, int]]:
        """(epoch, domain) -> (problems dropped, problems revived)."""
        rows = self._all(
            "SELECT s.epoch, d.text, SUM(problems * (w.text LIKE 'drop:%')), "
            "SUM(problems * (w.text LIKE 'revive:%')) FROM resamplings r "
            "JOIN steps s ON s.step = r.step JOIN words w ON w.key = r.decision "
            "JOIN words d ON d.key = r.domain GROUP BY 1, 2"
        )
        return {(epoch, domain): (dropped, revived) for epoch, domain, dropped, revived in rows}

    def _stages_and_epochs(self) -> list[tuple[int, int]]:
        return list(self._all("SELECT MIN(stage), epoch FROM steps GROUP BY epoch ORDER BY epoch"))

    def _domains(self) -> list[tuple[str, int]]:
        """Name and key of every domain that a problem has, by name."""
        sql = "SELECT text, key FROM words WHERE key IN (SELECT DISTINCT domain FROM problems)"
        return sorted(self._all(sql))

    def _key_of(self, problem_id: str) -> int | None:
        row = next(self._all("SELECT key FROM problems WHERE id = ?", problem_id), None)
        return None if row is None else int(row[0])

    def _one(self, sql: str, *values: object) -> Any:
        with clear_errors(self.path):
            return self._db.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: object) -> Iterator[Any]:
        with clear_errors(self.path):
            yield from self._db.execute(sql, values)


def _group_row(row: tuple[Any, ...]) -> GroupRow:
    verdicts = dict(zip(VERDICTS, row[10:], strict=True))
    correct, gradable = verdicts["correct"], row[9]
    return GroupRow(
        step=row[0],
        stage=row[1],
        epoch=row[2],
        policy_version=row[3],
        why=row[4],
        verdicts=verdicts,
        correct=correct,
        gradable=gradable,
        outcome=outcome_of(correct, gradable).value,
        has_signal=bool(row[5]),
        generated=row[6],
        reused=row[7],
        prefix=row[8],
    )
