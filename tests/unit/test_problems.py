"""Problem files: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srpo.errors import ProblemFileError
from srpo.problems import ProblemRead, content_id, hold_out, read_problems, write_problems
from srpo.types import CodeCase, Domain, FunctionCase, Json, Problem, StdioCase

MATH: dict[str, Any] = {"domain": "math", "statement": "What is 2 + 2?", "answer": "4"}
ADD: dict[str, Any] = {"function": "add", "args": [1, 2], "expected": 3}
CODE: dict[str, Any] = {"domain": "code", "statement": "Write add(a, b).", "tests": [ADD]}
ECHO: dict[str, Any] = {"stdin": "1\n", "stdout": "1\n"}


def jsonl(folder: Path, *rows: object, name: str = "a.jsonl") -> Path:
    """A file with a line for each row; a text is a line as it stands."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def parquet(folder: Path, rows: list[dict[str, Any]], name: str = "a.parquet") -> Path:
    """A file whose columns are those of all rows, with null where a row lacks one."""
    path = folder / name
    columns = {column: None for row in rows for column in row}
    pq.write_table(pa.Table.from_pylist([columns | row for row in rows]), path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ProblemFileError) as caught:
        read_problems([path])
    return str(caught.value)


def numbered(*levels: int | None) -> list[Problem]:
    return [
        Problem(
            id=content_id("math", f"{i} + 0?", str(i), ()),
            domain="math",
            statement=f"{i} + 0?",
            answer=str(i),
            level=level,
        )
        for i, level in enumerate(levels)
    ]


# -- what is read --------------------------------------------------------------------------


def test_every_field_of_a_row_reaches_its_problem(tmp_path: Path) -> None:
    math_row = MATH | {"id": "q7", "source": "by hand", "level": 2}
    read = read_problems(
        [jsonl(tmp_path, math_row, CODE, CODE | {"statement": "echo", "tests": [ECHO]})]
    )
    math, code, stdio = read.problems
    assert (math.domain, math.statement, math.answer, math.tests) == (
        "math", "What is 2 + 2?", "4", ()
    )  # fmt: skip
    assert (math.name, math.source, math.level) == ("q7", "by hand", 2)
    assert (code.tests, code.answer) == ((FunctionCase("add", (1, 2), 3),), None)
    assert (code.name, code.source, code.level) == ("", "a.jsonl", None)
    assert stdio.tests == (StdioCase("1\n", "1\n"),)
    assert (read.num_rows, read.num_duplicates, read.bad_rows) == (3, 0, ())


@pytest.mark.parametrize(("given", "text"), [(4, "4"), (-0.5, "-0.5"), (" 4 ", " 4 "), ("½", "½")])
def test_a_number_as_answer_becomes_its_text(tmp_path: Path, given: Json, text: str) -> None:
    [problem] = read_problems([jsonl(tmp_path, MATH | {"answer": given})]).problems
    assert problem.answer == text


def test_null_is_as_good_as_absent(tmp_path: Path) -> None:
    nulls = {"tests": None, "id": None, "source": None, "level": None}
    [problem] = read_problems([jsonl(tmp_path, MATH | nulls)]).problems
    assert (problem.name, problem.source, problem.level) == ("", "a.jsonl", None)


def test_tests_may_be_a_json_text(tmp_path: Path) -> None:
    [problem] = read_problems([jsonl(tmp_path, CODE | {"tests": json.dumps([ADD])})]).problems
    assert problem.tests == (FunctionCase("add", (1, 2), 3),)


def test_a_function_may_return_null_or_take_numbers_that_json_lacks(tmp_path: Path) -> None:
    case = '{"function": "f", "args": [NaN, -Infinity], "expected": null}'
    line = f'{{"domain": "code", "statement": "f", "tests": [{case}]}}'
    [problem] = read_problems([jsonl(tmp_path, line)]).problems
    assert repr(problem.tests) == "(FunctionCase(function='f', args=(nan, -inf), expected=None),)"


def test_a_byte_order_mark_and_blank_lines_are_not_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(MATH).encode() + b"\r\n\n  \n")
    read = read_problems([path])
    assert (len(read.problems), read.num_rows) == (1, 1)


def test_of_equal_rows_the_first_is_kept_and_the_others_are_counted(tmp_path: Path) -> None:
    one = jsonl(tmp_path, MATH | {"id": "first"}, MATH | {"statement": " What is 2 + 2?\n"})
    two = jsonl(tmp_path, MATH | {"id": "third", "level": 1, "answer": 4}, name="b.jsonl")
    read = read_problems([one, two])
    assert [problem.name for problem in read.problems] == ["first"]
    assert (read.num_rows, read.num_duplicates) == (3, 2)


def test_the_same_statement_in_another_domain_is_another_problem(tmp_path: Path) -> None:
    read = read_problems([jsonl(tmp_path, MATH, CODE | {"statement": MATH["statement"]})])
    assert (len(read.problems), read.num_duplicates) == (2, 0)


def test_one_domain_can_be_taken_and_the_other_is_counted(tmp_path: Path) -> None:
    read = read_problems([jsonl(tmp_path, MATH, CODE, CODE)], domain="math")
    assert [problem.domain for problem in read.problems] == ["math"]
    assert (read.num_other_domain, read.num_duplicates) == (2, 0)


def test_parquet_with_nested_or_textual_tests_reads_as_jsonl_does(tmp_path: Path) -> None:
    echo = {"domain": "code", "statement": "echo", "tests": [ECHO]}
    rows = [MATH | {"level": 3}, CODE, echo]
    want = read_problems([jsonl(tmp_path, *rows)]).problems
    nested = read_problems([parquet(tmp_path, rows, "nested.parquet")])
    textual = [r | {"tests": json.dumps(r["tests"])} if "tests" in r else r for r in rows]
    flat = read_problems([parquet(tmp_path, textual, "flat.parquet")])
    assert [p.id for p in nested.problems] == [p.id for p in flat.problems] == [p.id for p in want]
    assert [p.tests for p in nested.problems] == [p.tests for p in want]


def test_parquet_levels_that_are_floats_because_some_are_missing(tmp_path: Path) -> None:
    rows = [MATH | {"level": 3.0}, MATH | {"statement": "1 + 3?", "level": None}]
    read = read_problems([parquet(tmp_path, rows)])
    assert [problem.level for problem in read.problems] == [3, None]


def test_the_id_is_the_hash_of_the_content_and_nothing_else() -> None:
    # sha256 of {"answer":"4","domain":"math","statement":"2 + 2?","tests":[]}, by sha256sum
    assert content_id("math", " 2 + 2?\n", "4", ()) == "922f7688dceb9ed7"
    case = FunctionCase("f", (1,), 2)
    ids = {
        content_id("math", "2 + 2?", "5", ()),
        content_id("code", "2 + 2?", None, (case,)),
        content_id("code", "2 + 2?", None, (FunctionCase("f", (True,), 2),)),
        content_id("code", "2 + 2?", None, (case, case)),
        content_id("code", "2 + 2?", None, (StdioCase("1", "2"),)),
    }
    assert len(ids) == 5


# -- what is refused -----------------------------------------------------------------------


def test_a_bad_row_is_named_with_file_row_and_reason(tmp_path: Path) -> None:
    path = jsonl(tmp_path, CODE, "", MATH | {"level": "hard"})
    assert refusal(path) == (
        f"{path}, row 3: field 'level' is 'hard'; it must be a whole number "
        "(repair it, or leave out bad rows: --set sets.NAME.bad_rows=skip)"
    )


def test_bytes_that_are_no_text_are_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(MATH).encode() + b'\n{"domain": "\xff"}\n')
    assert f"{path}, row 2: not UTF-8 text (byte 13 of the line)" in refusal(path)


def test_a_parquet_value_that_is_no_json_is_a_bad_row(tmp_path: Path) -> None:
    case = {"function": "f", "args": [b"raw"], "expected": 1}
    path = parquet(tmp_path, [MATH, {"domain": "code", "statement": "x", "tests": [case]}])
    text = refusal(path)
    assert f"{path}, row 2: a value in 'tests' is not JSON: Object of type bytes is not" in text


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ((MATH, MATH | {"answer": "5"}), "answer"),
        ((CODE, CODE | {"tests": [ADD | {"expected": 4}]}), "tests"),
    ],
)
def test_two_answers_to_one_statement_contradict_each_other(
    tmp_path: Path, rows: tuple[object, object], field: str
) -> None:
    one, two = jsonl(tmp_path, rows[0]), jsonl(tmp_path, rows[1], name="b.jsonl")
    with pytest.raises(ProblemFileError) as caught:
        read_problems([one, two])
    text = f"{two}, row 1: the same statement has another '{field}' in {one}, row 1"
    assert text in str(caught.value)


def test_five_bad_rows_are_named_and_the_others_counted(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *["?"] * 7)
    lines = refusal(path).splitlines()
    assert lines[0] == "7 bad rows; repair them, or leave them out: --set sets.NAME.bad_rows=skip:"
    assert [line.split(":")[0].strip() for line in lines[1:6]] == [
        f"{path}, row {row}" for row in (1, 2, 3, 4, 5)
    ]
    assert lines[6:] == ["  ... and 2 more"]


def test_skipped_rows_stay_in_the_report(tmp_path: Path) -> None:
    path = jsonl(tmp_path, "?", MATH, MATH, MATH | {"answer": "5"}, CODE)
    read = read_problems([path], bad_rows="skip")
    assert [problem.domain for problem in read.problems] == ["math", "code"]
    assert [text.split(":")[0] for text in read.bad_rows] == [f"{path}, row 1", f"{path}, row 4"]
    assert read.summary() == (
        "Read 2 problems (1 math, 1 code) from 5 rows; left out 1 duplicate and 2 bad rows."
    )


def test_skipping_every_row_is_an_error_that_names_them(tmp_path: Path) -> None:
    path = jsonl(tmp_path, "?")
    with pytest.raises(ProblemFileError, match=r"row 1: broken JSON"):
        read_problems([path], bad_rows="skip")


@pytest.mark.parametrize("content", ["", "\n \n"])
@pytest.mark.parametrize("bad_rows", ["stop", "skip"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str, bad_rows: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(ProblemFileError, match=r"a\.jsonl is empty: it has no row, so no problem"):
        read_problems([path], bad_rows=bad_rows)


def test_an_empty_parquet_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_problems(path, [])
    assert refusal(path) == f"{path} is empty: it has no row, so no problem"


def test_files_that_are_not_problem_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "folder").mkdir()
    for name in ("a.csv", "a", "a.json"):
        (tmp_path / name).touch()
    (tmp_path / "no.parquet").write_text("not parquet at all")
    assert refusal(tmp_path / "gone.jsonl").endswith("gone.jsonl: there is no such problem file")
    assert refusal(tmp_path / "gone").endswith("gone: there is no such problem file")
    for folder in ("folder.jsonl", "folder"):  # whatever its name ends in
        assert refusal(tmp_path / folder).endswith("is a folder; name the problem files in it")
    assert "is not a readable Parquet file: Parquet magic bytes not found" in refusal(
        tmp_path / "no.parquet"
    )
    for name, suffix in (("a.csv", "'.csv'"), ("a", "'nothing'"), ("a.json", "'.json'")):
        assert refusal(tmp_path / name).endswith(
            f"must end in one of .jsonl, .ndjson, .parquet, not {suffix}"
        )


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path, MATH)
    with pytest.raises(ProblemFileError) as caught:
        read_problems([path], domain="code")
    assert str(caught.value) == (
        f"no code problem to work on ({path}). "
        "Read 0 problems from 1 row; left out 1 of another domain."
    )
    with pytest.raises(ProblemFileError, match=r"no problem to work on \(no file given\)"):
        read_problems([])


def test_the_summary_leaves_out_what_did_not_happen() -> None:
    assert ProblemRead((), 0, 0, (), 0).summary() == "Read 0 problems from 0 rows."
    read = ProblemRead((), 9, 2, ("x",), 3)
    assert read.summary() == (
        "Read 0 problems from 9 rows; left out 2 duplicates, 1 bad row and 3 of another domain."
    )


# -- holding out ---------------------------------------------------------------------------


def test_held_out_problems_do_not_depend_on_the_order_of_the_files() -> None:
    problems = numbered(*[None] * 20)
    train, held = hold_out(problems, 5, seed=1)
    assert (len(train), len(held)) == (15, 5)
    assert {p.id for p in train} | {p.id for p in held} == {p.id for p in problems}
    assert hold_out(problems[::-1], 5, seed=1) == (train, held)
    assert hold_out(problems, 5, seed=2)[1] != held


def test_each_level_is_held_out_by_its_share() -> None:
    # 5 of 16: level 1 has 8 problems, so 2.5; level 2 has 4, so 1.25; without a level 4: 1.25.
    # Whole shares 2 + 1 + 1 leave one, which goes to the largest fraction, level 1.
    problems = numbered(*[1] * 8, *[2] * 4, *[None] * 4)
    _, held = hold_out(problems, 5, seed=7)
    assert sorted(str(p.level) for p in held) == ["1", "1", "1", "2", "None"]


def test_at_a_tie_the_lower_level_is_held_out() -> None:
    _, held = hold_out(numbered(2, 2, 1, 1), 1, seed=3)
    assert [p.level for p in held] == [1]


@pytest.mark.parametrize("count", [4, 5, -1])
def test_holding_out_everything_is_an_error(count: int) -> None:
    with pytest.raises(ProblemFileError, match=f"cannot hold out {count} of 4 problems"):
        hold_out(numbered(1, 1, 2, None), count, seed=1)


def test_holding_out_nothing_keeps_everything() -> None:
    train, held = hold_out(numbered(1, 2), 0, seed=1)
    assert (len(train), held) == (2, ())
    assert hold_out([], 0, seed=1) == ((), ())


# -- writing -------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]))
solid = words.filter(str.strip)
plain: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
calls = st.builds(FunctionCase, st.sampled_from(["f", "add"]), st.tuples(plain, plain), plain)
stdios = st.builds(StdioCase, words, words)


def with_content_id(
    domain: Domain,
    statement: str,
    answer: str | None,
    tests: list[CodeCase],
    rest: tuple[str, str, int | None],
) -> Problem:
    id = content_id(domain, statement, answer, tests)
    name, source, level = rest
    return Problem(id, domain, statement, answer, tuple(tests), source, level, name)


rest = st.tuples(words, solid, st.none() | st.integers(0, 9))
problem = st.builds(with_content_id, st.just("math"), solid, solid, st.just([]), rest) | st.builds(
    with_content_id,
    st.just("code"),
    solid,
    st.none(),
    st.lists(calls, min_size=1, max_size=3) | st.lists(stdios, min_size=1, max_size=3),
    rest,
)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    problems=st.lists(
        problem, min_size=1, max_size=4, unique_by=lambda p: (p.domain, p.statement.strip())
    )
)
def test_what_is_written_is_read_back_as_the_same_problems(
    tmp_path: Path, suffix: str, problems: list[Problem]
) -> None:
    path = tmp_path / f"a{suffix}"
    write_problems(path, problems)
    read = read_problems([path])
    assert (list(read.problems), read.num_rows) == (problems, len(problems))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    for name in ("gone/a.jsonl", "gone/a.parquet"):
        with pytest.raises(ProblemFileError, match="cannot be written: No such file"):
            write_problems(tmp_path / name, numbered(1))
    with pytest.raises(ProblemFileError, match=r"must end in one of"):
        write_problems(tmp_path / "a.txt", numbered(1))
