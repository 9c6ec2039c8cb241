"""Problem files -> Problems, with a line for every row that cannot be used. No torch.

The format, its examples and all its errors are in docs/problems.md.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from srpo.errors import ProblemFileError
from srpo.problems.case_rows import case_row
from srpo.problems.row_words import BadRowError
from srpo.problems.rows import FIELDS, parse_row, problem_row
from srpo.problems.scorer_rows import scorer_row
from srpo.types import CodeCase, Domain, Json, Problem, Scorer

JSONL_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet",)
SHOWN_BAD_ROWS = 5


@dataclass(frozen=True, slots=True)
class ProblemRead:
    """What came out of problem files: the problems, and an account of every other row.

    >>> ProblemRead((), num_rows=3, num_duplicates=1, bad_rows=("a, row 2: ...",),
    ...     num_other_domain=1).summary()
    'Read 0 problems from 3 rows; left out 1 duplicate, 1 bad row and 1 of another domain.'
    """

    problems: tuple[Problem, ...]  # in the order of the files and rows; no two have one id
    num_rows: int  # rows that are not blank
    num_duplicates: int  # rows that say the same as an earlier row
    bad_rows: tuple[str, ...]  # one line each: file, row, what is wrong
    num_other_domain: int  # good rows of the domain that was not asked for

    def summary(self) -> str:
        """One sentence with all counts."""
        domains = Counter(problem.domain for problem in self.problems)
        split = f" ({domains['math']} math, {domains['code']} code)" if len(domains) > 1 else ""
        out = [
            _plural(self.num_duplicates, "duplicate"),
            _plural(len(self.bad_rows), "bad row"),
            f"{self.num_other_domain} of another domain",
        ]
        out = [text for text in out if not text.startswith("0 ")]
        left_out = " and ".join([", ".join(out[:-1])] * bool(out[:-1]) + out[-1:])
        return (
            f"Read {_plural(len(self.problems), 'problem')}{split} from "
            f"{_plural(self.num_rows, 'row')}" + (f"; left out {left_out}." if out else ".")
        )


def content_id(
    domain: Domain,
    statement: str,
    answer: str | None,
    tests: Sequence[CodeCase],
    scorer: Scorer | None = None,
) -> str:
    """Sixteen hex digits that are equal when the content is, whatever file it came from.

    The first 64 bits of the SHA-256 of the content as canonical JSON. White space at the ends
    of the statement does not count; the order of the tests does.

    >>> content_id("math", "2 + 2? ", "4", ()) == content_id("math", "2 + 2?", "4", ())
    True
    """
    content: dict[str, Json] = {
        "domain": domain,
        "statement": statement.strip(),
        "answer": answer,
        "tests": [case_row(case) for case in tests],
    }
    if scorer is not None:
        content["scorer"] = scorer_row(scorer)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_problems(
    paths: Sequence[Path],
    *,
    bad_rows: Literal["stop", "skip"] = "stop",
    domain: Domain | None = None,
) -> ProblemRead:
    """Read JSONL and Parquet files, in order; of equal rows the first is kept.

    `bad_rows`: "stop" raises when a row is bad, "skip" leaves bad rows out and reports them.
    `domain`: take only this domain's problems; the others are checked and counted.
    Raises ProblemFileError for a file that cannot be read or has no row, for bad rows (the
    first five are named, all are counted), and when not one problem is left.
    """
    problems: list[Problem] = []
    bad: list[str] = []
    num_rows = num_duplicates = num_other_domain = 0
    first: dict[tuple[Domain, str], tuple[str, str]] = {}  # statement -> id, place
    for path in paths:
        for number, row in _rows(path):
            num_rows += 1
            place = f"{path}, row {number}"
            try:
                problem = _with_id(parse_row(row, source=path.name))
                if domain is not None and problem.domain != domain:
                    num_other_domain += 1
                elif _is_duplicate(problem, place, first):
                    num_duplicates += 1
                else:
                    problems.append(problem)
            except BadRowError as error:
                bad.append(f"{place}: {error}")
    if bad and (bad_rows == "stop" or not problems):
        raise ProblemFileError(_bad_rows_text(bad))
    read = ProblemRead(tuple(problems), num_rows, num_duplicates, tuple(bad), num_other_domain)
    if not problems:
        files = ", ".join(str(path) for path in paths) or "no file given"
        what = f"{domain} problem" if domain else "problem"
        raise ProblemFileError(f"no {what} to work on ({files}). {read.summary()}")
    return read


def hold_out(
    problems: Sequence[Problem], count: int, seed: int
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Split into (train, held out), with `count` held out, each level by its share.

    Which problems are held out, and the order of both parts, depend on the contents and the
    seed alone, not on the order of the files. Problems without a level are a level of their
    own. Levels get their whole shares; what is left goes to the largest fractions, at a tie to
    the lower level. Raises ProblemFileError when `count` would leave nothing to train on.
    """
    if count >= max(len(problems), 1) or count < 0:
        raise ProblemFileError(
            f"cannot hold out {count} of {_plural(len(problems), 'problem')}: at least one must "
            "be left to train on; lower `holdout` or give more problems"
        )
    shuffled = sorted(problems, key=lambda p: hashlib.sha256(f"{seed}:{p.id}".encode()).digest())
    levels: dict[tuple[bool, int], list[Problem]] = defaultdict(list)
    for problem in shuffled:
        levels[(problem.level is None, problem.level or 0)].append(problem)
    shares = {level: divmod(count * len(of), len(problems)) for level, of in levels.items()}
    rest = count - sum(whole for whole, _ in shares.values())
    by_fraction = sorted(shares, key=lambda level: (-shares[level][1], level))
    held: set[str] = set()
    for level, of in levels.items():
        take = shares[level][0] + (level in by_fraction[:rest])
        held.update(problem.id for problem in of[:take])
    return (
        tuple(problem for problem in shuffled if problem.id not in held),
        tuple(problem for problem in shuffled if problem.id in held),
    )


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """Write a file that `read_problems` reads back as the same problems.

    The suffix decides between JSONL and Parquet, as in reading; in Parquet `tests` and `scorer` are
    JSON strings. A problem's `name` is written as `id`; its hash is not written. An empty `source`
    comes back as the file's name. Raises ProblemFileError when the file cannot be written.
    """
    parquet = is_parquet(path)
    rows = [problem_row(problem) for problem in problems]
    try:
        if parquet:
            _write_parquet(path, rows)
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            path.write_text("".join(lines), encoding="utf-8", newline="\n")
    except OSError as error:
        raise ProblemFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_parquet(path: Path, rows: Sequence[dict[str, Json]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.int64() if name == "level" else pa.string()) for name in FIELDS])
    flat = [
        row | {name: json.dumps(row[name]) for name in ("tests", "scorer") if name in row}
        for row in rows
    ]
    with path.open("wb") as file:
        pq.write_table(pa.Table.from_pylist(flat, schema=schema), file)


# -- files ---------------------------------------------------------------------------------


def is_parquet(path: Path) -> bool:
    """Whether a problem file's name says Parquet, not JSONL. ProblemFileError for neither."""
    suffix = path.suffix.lower()
    if suffix in PARQUET_SUFFIXES:
        return True
    if suffix in JSONL_SUFFIXES:
        return False
    accepted = ", ".join(JSONL_SUFFIXES + PARQUET_SUFFIXES)
    raise ProblemFileError(
        f"{path}: a problem file's name must end in one of {accepted}, not {suffix or 'nothing'!r}"
    )


def _rows(path: Path) -> Iterator[tuple[int, bytes | Mapping[str, Any]]]:
    """The rows with their numbers: lines that are not blank, or Parquet rows."""
    if path.is_dir():
        raise ProblemFileError(f"{path} is a folder; name the problem files in it")
    if not path.exists():
        looked = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ProblemFileError(f"{path}: there is no such problem file{looked}")
    parquet = is_parquet(path)
    any_row = False
    try:
        for numbered in _parquet_rows(path) if parquet else _jsonl_rows(path):
            any_row = True
            yield numbered
    except OSError as error:
        raise ProblemFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if not any_row:
        raise ProblemFileError(f"{path} is empty: it has no row, so no problem")


def _jsonl_rows(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if content.strip():
                yield number, content


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ProblemFileError(f"{path} is not a readable Parquet file: {reason}") from error


# -- rows ----------------------------------------------------------------------------------


def _with_id(problem: Problem) -> Problem:
    id = content_id(
        problem.domain, problem.statement, problem.answer, problem.tests, problem.scorer
    )
    return replace(problem, id=id)


def _is_duplicate(
    problem: Problem, place: str, first: dict[tuple[Domain, str], tuple[str, str]]
) -> bool:
    """True if an earlier row says the same; an error if it contradicts an earlier row."""
    key = (problem.domain, problem.statement.strip())
    if key not in first:
        first[key] = (problem.id, place)
        return False
    earlier_id, earlier_place = first[key]
    if earlier_id == problem.id:
        return True
    field = "'answer' or 'scorer'" if problem.scorer else "'answer'"
    field = field if problem.domain == "math" else "'tests'"
    raise BadRowError(f"the same statement has another {field} in {earlier_place}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _bad_rows_text(bad: Sequence[str]) -> str:
    """A bad row in one line; of several the first, a line each, and how many more there are."""
    if len(bad) == 1:
        return f"{bad[0]} (repair it, or leave out bad rows: --set sets.NAME.bad_rows=skip)"
    lines = list(bad[:SHOWN_BAD_ROWS])
    if len(bad) > SHOWN_BAD_ROWS:
        lines.append(f"... and {len(bad) - SHOWN_BAD_ROWS} more")
    hint = "repair them, or leave them out: --set sets.NAME.bad_rows=skip"
    return "\n  ".join([f"{len(bad)} bad rows; {hint}:", *lines])
