"""The prompt ledger: what became of every problem, group by group, in one SQLite file.

One row a group, written before any filter; one row a resampling decision; one transaction a
step, so a crash loses or repeats nothing. Anyone may read the file while the run goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from srpo.errors import RunDirectoryError
from srpo.selection.rule import Decision, Resampled
from srpo.types import Group, Problem, Verdict

SCHEMA_VERSION = 1
VERDICTS = tuple(verdict.value for verdict in Verdict)
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS problems (
    id TEXT PRIMARY KEY, domain TEXT, set_name TEXT, name TEXT, source TEXT, level INTEGER,
    statement TEXT);
CREATE TABLE IF NOT EXISTS groups (
    step INTEGER, problem TEXT, domain TEXT, stage INTEGER, epoch INTEGER, policy_version INTEGER,
    {", ".join(f"{name} INTEGER" for name in VERDICTS)},
    outcome TEXT, has_signal INTEGER, mean_reward REAL, tokens INTEGER,
    PRIMARY KEY (step, problem)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS groups_by_problem ON groups (problem, step);
CREATE TABLE IF NOT EXISTS decisions (
    step INTEGER, stage INTEGER, epoch INTEGER, problem TEXT, set_name TEXT, decision TEXT,
    correct INTEGER, gradable INTEGER);
CREATE INDEX IF NOT EXISTS decisions_by_problem ON decisions (problem, step);
CREATE TABLE IF NOT EXISTS events (step INTEGER, kind TEXT, text TEXT);
"""


@dataclass(frozen=True, slots=True)
class When:
    """Where in the run something happened. All count from 1 across the whole run.

    >>> When(step=12, epoch=2, stage=1).epoch
    2
    """

    step: int
    epoch: int
    stage: int


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """One epoch of one domain as the ledger has it. Counts are of groups or of problems."""

    stage: int
    epoch: int
    domain: str
    groups: int
    all_correct: int
    mixed: int
    all_wrong: int
    ungradable: int
    tokens: int
    dropped: int
    revived: int


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group of one problem as the ledger has it."""

    step: int
    stage: int
    epoch: int
    policy_version: int
    verdicts: dict[str, int]
    outcome: str
    has_signal: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision about one problem as the ledger has it."""

    step: int
    stage: int
    epoch: int
    decision: str


class Ledger:
    """One run's ledger. A context manager; `read_only` never writes and needs the file to be."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises `RunDirectoryError` if the file is missing, no ledger, or of another version."""
        self._path = path
        if read_only and not path.is_file():
            raise RunDirectoryError(f"{path}: no ledger there; is this a run directory?")
        try:
            if read_only:
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            else:
                self._db = sqlite3.connect(path)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._db.executescript(SCHEMA)
                if not self._version():
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            version = self._version()
        except sqlite3.DatabaseError as error:
            raise RunDirectoryError(f"{path}: not a ledger of srpo: {error}") from None
        if version != SCHEMA_VERSION:
            raise RunDirectoryError(
                f"{path}: ledger of schema {version}, this srpo reads {SCHEMA_VERSION}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add_problems(self, set_name: str, problems: Iterable[Problem]) -> None:
        """Make problems known; those already known stay as they are."""
        rows = [
            (p.id, p.domain, set_name, p.name, p.source, p.level, p.statement) for p in problems
        ]
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO problems VALUES (?,?,?,?,?,?,?)", rows)

    def record_step(
        self,
        when: When,
        groups: Sequence[Group],
        decisions: Sequence[Resampled],
        events: Sequence[tuple[str, str]],
    ) -> None:
        """Everything of one step, in one transaction. `events`: (kind, sentence)."""
        made = [
            (
                *(when.step, when.stage, when.epoch, d.problem_id, d.set_name),
                *(d.decision.value, d.correct, d.gradable),
            )
            for d in decisions
            if d.decision is not Decision.STAY_DROPPED
        ]
        marks = ",".join("?" * (10 + len(VERDICTS)))
        with self._db:
            self._db.executemany(
                f"INSERT INTO groups VALUES ({marks})", [_group_row(when, g) for g in groups]
            )
            self._db.executemany("INSERT INTO decisions VALUES (?,?,?,?,?,?,?,?)", made)
            self._db.executemany(
                "INSERT INTO events VALUES (?,?,?)", [(when.step, *event) for event in events]
            )

    def record_events(self, step: int, events: Sequence[tuple[str, str]]) -> None:
        """Events after a step, such as the end of a stage; those already there are left out.

        A run that stopped right after them, and goes on from that step, has them again.
        """
        with self._db:
            self._db.executemany(
                "INSERT INTO events SELECT ?1, ?2, ?3 WHERE NOT EXISTS "
                "(SELECT 1 FROM events WHERE step = ?1 AND kind = ?2 AND text = ?3)",
                [(step, *event) for event in events],
            )

    def forget_after(self, step: int) -> int:
        """Remove what happened after `step`; returns how many groups that were."""
        with self._db:
            count = self._db.execute("DELETE FROM groups WHERE step > ?", (step,)).rowcount
            self._db.execute("DELETE FROM decisions WHERE step > ?", (step,))
            self._db.execute("DELETE FROM events WHERE step > ?", (step,))
        return count

    def epochs(self) -> list[EpochSummary]:
        """One summary for each epoch and domain, in order."""
        decided = (
            "(SELECT COUNT(*) FROM decisions d JOIN problems p ON p.id = d.problem "
            "WHERE d.epoch = g.epoch AND p.domain = g.domain AND d.decision LIKE '{} %')"
        )
        outcomes = ("all_correct", "mixed", "all_wrong", "ungradable")
        rows = self._db.execute(
            "SELECT g.stage, g.epoch, g.domain, COUNT(*), "
            + ", ".join(f"SUM(outcome = '{name}')" for name in outcomes)
            + f", SUM(tokens), {decided.format('drop:')}, {decided.format('revive:')} "
            "FROM groups g GROUP BY g.stage, g.epoch, g.domain ORDER BY g.epoch, g.domain"
        )
        return [EpochSummary(*row) for row in rows]

    def events(self) -> list[tuple[int, str, str]]:
        """(step, kind, sentence) of every event, in order."""
        return list(self._db.execute("SELECT step, kind, text FROM events ORDER BY step, rowid"))

    def find_problems(self, start: str) -> list[tuple[str, str, str]]:
        """(id, domain, statement) of problems whose id or given name begins with `start`."""
        pattern = start.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return list(
            self._db.execute(
                "SELECT id, domain, statement FROM problems "
                r"WHERE id LIKE ?1 ESCAPE '\' OR name LIKE ?1 ESCAPE '\' ORDER BY id",
                (pattern,),
            )
        )

    def life_of(self, problem_id: str) -> tuple[list[GroupRow], list[DecisionRow]]:
        """Every group and every decision of one problem, in order."""
        columns = ", ".join(VERDICTS)
        groups = [
            GroupRow(
                step=row[0],
                stage=row[1],
                epoch=row[2],
                policy_version=row[3],
                verdicts=dict(zip(VERDICTS, row[4 : 4 + len(VERDICTS)], strict=True)),
                outcome=row[-3],
                has_signal=bool(row[-2]),
                tokens=row[-1],
            )
            for row in self._db.execute(
                f"SELECT step, stage, epoch, policy_version, {columns}, outcome, has_signal, "
                "tokens FROM groups WHERE problem = ? ORDER BY step",
                (problem_id,),
            )
        ]
        decisions = [
            DecisionRow(*row)
            for row in self._db.execute(
                "SELECT step, stage, epoch, decision FROM decisions WHERE problem = ? "
                "ORDER BY step",
                (problem_id,),
            )
        ]
        return groups, decisions

    def never_solved(self) -> tuple[int, int]:
        """(problems never solved by any rollout, problems drawn at least once)."""
        row = self._db.execute(
            "SELECT SUM(best = 0), COUNT(*) FROM "
            "(SELECT MAX(correct) AS best FROM groups GROUP BY problem)"
        ).fetchone()
        return int(row[0] or 0), int(row[1])

    def most_drawn(self, count: int) -> list[tuple[str, str, int, int]]:
        """(id, domain, groups, correct answers) of the `count` problems drawn most often.

        Of those drawn equally often the one with fewer correct answers comes first.
        """
        return list(
            self._db.execute(
                "SELECT problem, domain, COUNT(*) AS drawn, SUM(correct) AS right FROM groups "
                "GROUP BY problem ORDER BY drawn DESC, right, problem LIMIT ?",
                (count,),
            )
        )

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])


def _group_row(when: When, group: Group) -> tuple[object, ...]:
    found = [rollout.verdict for rollout in group.rollouts]
    rewards = [rollout.reward for rollout in group.rollouts if rollout.reward is not None]
    return (
        when.step,
        group.problem.id,
        group.problem.domain,
        when.stage,
        when.epoch,
        group.policy_version,
        *(found.count(Verdict(name)) for name in VERDICTS),
        group.outcome.value,
        int(group.has_signal),
        sum(rewards) / len(rewards) if rewards else None,
        group.num_tokens,
    )
