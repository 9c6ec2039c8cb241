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
# every decision, and its place in order: as a stage begins before those after its first step
EVERY_DECISION = (
    "(SELECT problem, set_name, step, decision, 2 * step - 1 AS at FROM starts UNION ALL "
    "SELECT problem, set_name, step, decision, 2 * step FROM decisions)"
)
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
            "SELECT COUNT(*), SUM(prefix = 0 AND gradable > 0 AND correct = gradable), "
            "SUM(prefix = 0 AND correct > 0 AND correct < gradable), "
            "SUM(prefix = 0 AND gradable > 0 AND correct = 0), "
            "SUM(prefix = 0 AND gradable = 0), SUM(generated), SUM(reused) "
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
        """How many problems each set has; one of several sets counts in each."""
        return {name: size for _, name, size in self._sets()}

    def count_problems(self) -> int:
        """How many problems there are, whatever their sets."""
        return int(self._one("SELECT COUNT(*) FROM problems")[0])

    def resamplings(self, epoch: int | None = None) -> list[Resampling]:
        """How many problems got which decision, in order; of one epoch, or of all."""
        return [
            Resampling(*_last_is_bool(row))
            for row in self._all(
                "SELECT r.step, s.stage, s.epoch, n.text, w.text, r.problems, r.first FROM ("
                "SELECT step, set_name, decision, COUNT(*) AS problems, 1 AS first FROM starts "
                "GROUP BY 1, 2, 3 UNION ALL "
                "SELECT step, set_name, decision, SUM(problems), 0 FROM resamplings "
                "GROUP BY 1, 2, 3) r JOIN steps s ON s.step = r.step "
                "JOIN words n ON n.key = r.set_name JOIN words w ON w.key = r.decision "
                "WHERE ?1 IS NULL OR s.epoch = ?1 ORDER BY r.step, r.first DESC, n.text, w.text",
                epoch,
            )
        ]

    def decided(self, epoch: int, kind: str, limit: int) -> list[Decided]:
        """Decisions of one `kind` in an epoch: its words before the colon; at most `limit`."""
        return [
            Decided(*row)
            for row in self._all(
                f"SELECT p.id, n.text, w.text FROM {EVERY_DECISION} x "
                "JOIN problems p ON p.key = x.problem JOIN words w ON w.key = x.decision "
                "JOIN words n ON n.key = x.set_name "
                "WHERE x.decision IN (SELECT key FROM words WHERE text LIKE ?2 || ':%') "
                "AND x.step IN (SELECT step FROM steps WHERE epoch = ?1) "
                "ORDER BY x.at, x.problem LIMIT ?3",
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

    def by_step(self) -> dict[int, tuple[int, int, tuple[int, ...]]]:
        """Step -> its epoch, its number of groups, and its rollouts by verdict (`VERDICTS`)."""
        sums = ", ".join(f"SUM(g.{name})" for name in VERDICTS)
        rows = self._all(
            f"SELECT s.step, s.epoch, COUNT(g.step), {sums} FROM steps s "
            "LEFT JOIN groups g ON g.step = s.step GROUP BY s.step ORDER BY s.step"
        )
        return {step: (epoch, groups, tuple(counts)) for step, epoch, groups, *counts in rows}

    def damage(self) -> str | None:
        """What SQLite finds wrong with the file, in its words; None if nothing."""
        with clear_errors(self.path):
            found = str(self._one("PRAGMA quick_check(1)")[0])
        return None if found == "ok" else found

    def turns(self) -> Iterator[tuple[int, str, str, str, bool]]:
        """(epoch, set, problem, decision, at an epoch's end?) of what was decided anew, in order.

        The end of an epoch of a set is a row without problem and decision; what it decided follows
        it, and what was decided as a stage began comes before.
        """
        return self._all(
            "SELECT s.epoch, n.text, COALESCE(p.id, ''), COALESCE(w.text, ''), "
            "x.at = 2 * x.step FROM ("
            "SELECT DISTINCT NULL AS problem, set_name, step, NULL AS decision, 2 * step AS at "
            f"FROM resamplings UNION ALL SELECT * FROM {EVERY_DECISION}) x "
            "JOIN steps s ON s.step = x.step JOIN words n ON n.key = x.set_name "
            "LEFT JOIN problems p ON p.key = x.problem LEFT JOIN words w ON w.key = x.decision "
            "WHERE x.problem IS NOT NULL OR s.ends_epoch ORDER BY x.at, x.problem, x.set_name"
        )

    # -- problems --------------------------------------------------------------------------------

    def find_problems(self, start: str) -> list[ProblemRow]:
        """Problems whose id or given name is `start`; if none is, those that begin with it."""
        pattern = start.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        exact = self._problems_like(pattern) if pattern else []
        return exact or self._problems_like(f"{pattern}%")

    def _problems_like(self, pattern: str) -> list[ProblemRow]:
        return [
            ProblemRow(*row)
            for row in self._all(
                "SELECT p.id, d.text, n.text || COALESCE((SELECT group_concat(', ' || w.text, '') "
                "FROM also_in a JOIN words w ON w.key = a.set_name WHERE a.problem = p.key), ''), "
                "t.text FROM problems p "
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
            DecisionRow(*_last_is_bool(row))
            for row in self._all(
                "SELECT x.step, s.stage, s.epoch, w.text, n.text, x.at < 2 * x.step "
                f"FROM {EVERY_DECISION} x JOIN steps s ON s.step = x.step "
                "JOIN words w ON w.key = x.decision JOIN words n ON n.key = x.set_name "
                "WHERE x.problem = ? ORDER BY x.at, x.set_name",
                key,
            )
        ]
        return groups, decisions

    def standing_of(self, problem_id: str) -> dict[int, dict[str, str]]:
        """Epoch -> set -> what was decided for a problem at its end, where something was.

        A decision that only goes on is written once, so every later resampling of the set has it.
        """
        key = self._key_of(problem_id)
        ends = self._all(
            f"SELECT s.epoch, n.text, (SELECT w.text FROM {EVERY_DECISION} x "
            "JOIN words w ON w.key = x.decision WHERE x.problem = ?1 AND x.set_name = r.set_name "
            "AND x.step <= r.step ORDER BY x.at DESC LIMIT 1) "
            "FROM (SELECT DISTINCT step, set_name FROM resamplings WHERE set_name IN "
            f"(SELECT set_name FROM {EVERY_DECISION} WHERE problem = ?1)) r "
            "JOIN steps s ON s.step = r.step JOIN words n ON n.key = r.set_name "
            "WHERE s.ends_epoch ORDER BY s.step, r.set_name",
            key,
        )
        found: dict[int, dict[str, str]] = {}
        for epoch, set_name, decision in ends:
            if decision is not None:
                found.setdefault(epoch, {})[set_name] = decision
        return found

    def never_solved(self) -> tuple[int, int]:
        """(problems never solved by any rollout, problems drawn at least once)."""
        row = self._one(
            "SELECT SUM(best IS NULL OR best = 0), COUNT(*) FROM "
            f"(SELECT MAX(correct) {ALONE} AS best FROM groups GROUP BY problem)"
        )
        return int(row[0] or 0), int(row[1])

    def never(self, *, gradable: bool) -> Iterator[Totals]:
        """Problems drawn and never solved, most expensive first.

        `gradable` True: those of which some rollout could be graded; False: those with none.
        """
        compared = ">" if gradable else "="
        yield from self._totals(f"HAVING right = 0 AND graded {compared} 0", "spent DESC")

    def most_drawn(self, count: int) -> list[Totals]:
        """The `count` problems drawn most often; of equals the one with fewer correct answers."""
        return list(self._totals("", "drawn DESC, right", count))

    def kept(self) -> Iterator[str]:
        """Ids of the problems that are in play now, in the order in which they were added.

        A problem of several sets is, as long as one of them has not dropped it.
        """
        for (problem_id,) in self._all(
            "SELECT id FROM problems WHERE key NOT IN (SELECT problem FROM standing s "
            f"GROUP BY problem HAVING MIN(decision IN ({DROPS})) AND COUNT(*) > "
            "(SELECT COUNT(*) FROM also_in a WHERE a.problem = s.problem)) ORDER BY key"
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
        sets = [
            SetSoFar(name, size, dropped.get(key, 0), *self._drawn_in(epoch, key))
            for key, name, size in self._sets()
        ]
        shared = self._one("SELECT COUNT(DISTINCT problem) FROM also_in")[0]
        return EpochSoFar(epoch, stage, step, bool(ends_epoch), tuple(sets), shared)

    def _drawn_in(self, epoch: int, set_key: int) -> tuple[int, ...]:
        """Problems drawn, of those all correct; tokens generated, of those for these."""
        solved = "graded > 0 AND right = graded"
        row = self._one(
            f"SELECT COUNT(graded), COUNT(*) FILTER (WHERE {solved}), SUM(spent), "
            f"SUM(spent) FILTER (WHERE {solved}) FROM (SELECT SUM(correct) {ALONE} AS right, "
            f"SUM(gradable) {ALONE} AS graded, SUM(generated) AS spent FROM groups "
            "WHERE epoch = ?1 AND (set_name = ?2 OR problem IN "
            "(SELECT problem FROM also_in WHERE set_name = ?2)) GROUP BY problem)",
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
        # what was dropped before a stage began was not dropped in its epoch; what came back, did
        rows = self._all(
            "SELECT s.epoch, d.text, SUM(problems * (w.text LIKE 'drop:%' AND NOT r.first)), "
            "SUM(problems * (w.text LIKE 'revive:%')) FROM ("
            "SELECT step, domain, decision, problems, 0 AS first FROM resamplings UNION ALL "
            "SELECT x.step, p.domain, x.decision, 1, 1 FROM starts x "
            "JOIN problems p ON p.key = x.problem) r "
            "JOIN steps s ON s.step = r.step JOIN words w ON w.key = r.decision "
            "JOIN words d ON d.key = r.domain GROUP BY 1, 2"
        )
        return {(epoch, domain): (dropped, revived) for epoch, domain, dropped, revived in rows}

    def _stages_and_epochs(self) -> list[tuple[int, int]]:
        return list(self._all("SELECT MIN(stage), epoch FROM steps GROUP BY epoch ORDER BY epoch"))

    def _sets(self) -> list[tuple[int, str, int]]:
        """Key, name and size of every set, in the order in which they became known."""
        return list(
            self._all(
                "SELECT set_name, w.text, SUM(n) FROM ("
                "SELECT set_name, COUNT(*) AS n FROM problems GROUP BY set_name UNION ALL "
                "SELECT set_name, COUNT(*) FROM also_in GROUP BY set_name) "
                "JOIN words w ON w.key = set_name GROUP BY 1, 2 ORDER BY 1"
            )
        )

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


def _last_is_bool(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:-1], bool(row[-1]))


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
