"""Writing the ledger: one row a group, before any filter; one transaction a step."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from srpo.errors import RunDirectoryError
from srpo.history.reading import LedgerReader
from srpo.history.rows import When
from srpo.history.schema import (
    STATEMENT_CHARS,
    VERDICTS,
    WAIT_S,
    open_file,
    plain_commit,
    transaction,
)
from srpo.selection.rule import Decision, Resampled
from srpo.types import Group, Json, Problem

CHUNK = 10_000  # rows that are made ready at once
NUM_MARKS = 12 + len(VERDICTS)
# a decision that only goes on is written once; the last one written is in force until the next
GOES_ON = frozenset(kind for kind in Decision if not (kind.drops or kind.revives))
DECIDED = (
    "CREATE TEMP TABLE IF NOT EXISTS decided "
    "(problem INTEGER, set_name INTEGER, decision INTEGER, domain INTEGER, goes_on INTEGER)"
)


class Ledger(LedgerReader):
    """One run's ledger. A context manager; `read_only` never writes and needs the file to be."""

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        wait_s: float = WAIT_S,
        commit: Callable[[sqlite3.Connection], None] = plain_commit,
    ) -> None:
        """`wait_s`: how long another process's lock is waited for. `commit`: ends a transaction.

        Raises `RunDirectoryError` if the file is missing, no ledger, of another schema, damaged,
        locked or not permitted.
        """
        super().__init__(path, open_file(path, read_only=read_only, wait_s=wait_s))
        self._commit = commit

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
        """Make problems known; those already known stay as they are, and may be in more sets."""
        with transaction(self._db, self.path, self._commit):
            for chunk in _chunks(problems):
                self._add(set_name, chunk)

    def record_step(
        self,
        when: When,
        groups: Sequence[Group],
        decisions: Sequence[Resampled],
        events: Sequence[tuple[str, str]],
        *,
        revived_before: Sequence[Resampled] = (),
    ) -> None:
        """Everything of one step, in one transaction.

        `decisions`: those at an epoch's end, if the step ends one, about every problem of a set
        (none: the set's rule decides nothing). `events`: (kind, sentence). `revived_before`: with
        a stage's first step, what was decided before it: problems that came back as the stage
        began, or are out of play by what another run learned.
        """
        with transaction(self._db, self.path, self._commit):
            self._db.execute(
                "INSERT INTO steps VALUES (?,?,?,?)",
                (when.step, when.stage, when.epoch, bool(decisions)),
            )
            self._record_groups(when, groups)
            self._record_starts(when.step, revived_before)
            self._record_decisions(when.step, decisions)
            self._record_events(when.step, events)

    def record_events(self, step: int, events: Sequence[tuple[str, str]]) -> None:
        """Events after a step, such as the end of a stage; those already there are left out.

        A run that stopped right after them, and goes on from that step, has them again.
        """
        with transaction(self._db, self.path, self._commit):
            self._record_events(step, events, once=True)

    def check_reaches(self, step: int) -> None:
        """Raise `RunDirectoryError` if the ledger ends before `step`."""
        last = self._one("SELECT MAX(step) FROM steps")[0] or 0
        if last < step:
            raise RunDirectoryError(
                f"{self.path}: ends at step {last}, before step {step} of the newest checkpoint; "
                "put back the ledger that belongs to this run"
            )

    def rows_after(self, step: int) -> list[dict[str, Json]]:
        """All that happened after `step`, in plain words, each row with its `kind`."""
        found: list[dict[str, Json]] = []
        for kind, table in (
            ("group", "group_rows"), ("decision", "decision_rows"), ("event", "events")
        ):  # fmt: skip
            rows = self._db.execute(f"SELECT * FROM {table} WHERE step > ?", (step,))
            names = [column[0] for column in rows.description]
            found += [{"kind": kind, **dict(zip(names, row, strict=True))} for row in rows]
        return found

    def forget_after(self, step: int) -> None:
        """Remove what happened after `step`.

        Raises `RunDirectoryError` if the ledger does not reach as far as `step`.
        """
        self.check_reaches(step)
        first_epoch = self._one("SELECT MIN(epoch) FROM steps WHERE step > ?", step)[0]
        with transaction(self._db, self.path, self._commit):
            self._db.execute(
                "DELETE FROM groups WHERE epoch >= ? AND step > ?", (first_epoch, step)
            )
            for table in ("starts", "decisions", "resamplings", "events", "steps"):
                self._db.execute(f"DELETE FROM {table} WHERE step > ?", (step,))
            self._db.execute("DELETE FROM standing")
            self._db.execute(
                "INSERT INTO standing SELECT problem, set_name, decision FROM "
                "(SELECT problem, set_name, decision, MAX(step) FROM decisions GROUP BY 1, 2)"
            )
            self._db.execute(  # of one step, what was decided after it is in force
                "INSERT OR REPLACE INTO standing SELECT problem, set_name, decision FROM "
                "(SELECT problem, set_name, decision, MAX(step) AS at FROM starts GROUP BY 1, 2) s "
                "WHERE NOT EXISTS (SELECT 1 FROM decisions d WHERE d.problem = s.problem "
                "AND d.set_name = s.set_name AND d.step >= s.at)"
            )

    # -- inside a transaction ------------------------------------------------------------------

    def _add(self, set_name: str, problems: Sequence[Problem]) -> None:
        words = self._keys_of_words(
            [set_name, *(w for p in problems for w in (p.domain, p.source))]
        )
        self._db.executemany(
            "INSERT INTO problems (id, domain, set_name, name, source, level) "
            "VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            [
                (p.id, words[p.domain], words[set_name], p.name, words[p.source], p.level)
                for p in problems
            ],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO also_in "
            "SELECT key, ?2 FROM problems WHERE id = ?1 AND set_name <> ?2",
            [(p.id, words[set_name]) for p in problems],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO statements SELECT key, ?2 FROM problems WHERE id = ?1",
            [(p.id, _beginning(p.statement)) for p in problems],
        )

    def _record_groups(self, when: When, groups: Sequence[Group]) -> None:
        keys = self._keys_of_problems([group.problem for group in groups])
        words = self._keys_of_words([w for g in groups for w in (g.problem.domain, g.why)])
        rows = [
            (
                *(when.epoch, keys[g.problem.id][0], when.step, keys[g.problem.id][1]),
                *(len(g.prefix), g.num_generated, g.num_gradable, *_verdict_counts(g)),
                *(words[g.problem.domain], words[g.why], g.policy_version, g.has_signal),
                g.num_tokens - g.num_generated,
            )
            for g in groups
        ]
        marks = ",".join("?" * NUM_MARKS)
        self._db.executemany(f"INSERT INTO groups VALUES ({marks})", rows)

    def _record_starts(self, step: int, decisions: Sequence[Resampled]) -> None:
        """All of them: there are no more than the problems that are out of play."""
        if decisions:
            self._gather(decisions)
            self._put(f"starts SELECT problem, set_name, {step:d}, decision")

    def _record_decisions(self, step: int, decisions: Sequence[Resampled]) -> None:
        """Those that change something, and how many there were of each kind."""
        if not decisions:
            return
        self._gather(decisions)
        self._db.execute(
            "INSERT INTO resamplings SELECT ?, set_name, domain, decision, COUNT(*) "
            "FROM temp.decided WHERE true GROUP BY set_name, domain, decision "
            "ON CONFLICT DO UPDATE SET problems = problems + excluded.problems",
            (step,),
        )
        self._db.execute(
            "DELETE FROM temp.decided WHERE goes_on AND decision IS (SELECT s.decision FROM "
            "standing s WHERE s.problem = decided.problem AND s.set_name = decided.set_name)"
        )
        self._put(f"decisions SELECT problem, set_name, {step:d}, decision")

    def _gather(self, decisions: Sequence[Resampled]) -> None:
        """Put them, as keys, into a table for the moment."""
        words = self._keys_of_words([w for d in decisions for w in (d.set_name, d.decision.value)])
        self._db.execute(DECIDED)
        known = self._db.executemany(
            "INSERT INTO temp.decided SELECT key, ?2, ?3, domain, ?4 FROM problems WHERE id = ?1",
            (
                (d.problem_id, words[d.set_name], words[d.decision.value], d.decision in GOES_ON)
                for d in decisions
            ),
        ).rowcount
        if known < len(decisions):
            raise ValueError("a decision about a problem that the ledger does not know")

    def _put(self, table_and_columns: str) -> None:
        """What was gathered is written, and in force from now on."""
        for target in (table_and_columns, "standing SELECT problem, set_name, decision"):
            self._db.execute(
                f"INSERT OR REPLACE INTO {target} FROM temp.decided ORDER BY problem, set_name"
            )
        self._db.execute("DELETE FROM temp.decided")

    def _record_events(
        self, step: int, events: Sequence[tuple[str, str]], *, once: bool = False
    ) -> None:
        unless = (
            " WHERE NOT EXISTS (SELECT 1 FROM events WHERE step = ?1 AND kind = ?2 AND text = ?3)"
        )
        self._db.executemany(
            "INSERT INTO events SELECT ?1, ?2, ?3" + unless * once,
            [(step, *event) for event in events],
        )

    def _keys_of_words(self, texts: Iterable[str]) -> dict[str, int]:
        """The keys of texts, which become known."""
        keys = dict.fromkeys(texts, 0)
        for text in keys:
            self._db.execute("INSERT OR IGNORE INTO words (text) VALUES (?)", (str(text),))
            keys[text] = self._one("SELECT key FROM words WHERE text = ?", str(text))[0]
        return keys

    def _keys_of_problems(self, problems: Iterable[Problem]) -> dict[str, tuple[int, int]]:
        """Keys of problems and of their sets. `ValueError` for one that no set has named."""
        sql = "SELECT key, set_name FROM problems WHERE id = ?"
        keys: dict[str, tuple[int, int]] = {}
        for problem in problems:
            found = self._db.execute(sql, (problem.id,)).fetchone()
            if found is None:
                raise ValueError(f"a group of problem {problem.id}, which the ledger does not know")
            keys[problem.id] = found
        return keys


def _verdict_counts(group: Group) -> Iterator[int]:
    counts = Counter(r.verdict.value for r in group.rollouts if r.verdict is not None)
    return (counts[name] for name in VERDICTS)


def _beginning(statement: str) -> str:
    return statement[:STATEMENT_CHARS] + "..." * (len(statement) > STATEMENT_CHARS)


def _chunks(problems: Iterable[Problem]) -> Iterator[list[Problem]]:
    left = iter(problems)
    while chunk := list(itertools.islice(left, CHUNK)):
        yield chunk
