"""The config of problems of one's own: sets by what the files hold, stages that fit them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from srpo.config.files import resolve
from srpo.errors import ConfigError, ProblemFileError
from srpo.problems.own import use_problem_files

TESTS = [{"stdin": "1", "stdout": "2"}]


def file_of(folder: Path, *, math: int = 0, code: int = 0) -> Path:
    rows: list[dict[str, Any]] = [
        {"domain": "math", "statement": f"{n} + 1?", "answer": str(n + 1)} for n in range(math)
    ]
    rows += [{"domain": "code", "statement": f"Task {n}", "tests": TESTS} for n in range(code)]
    path = folder / f"m{math}c{code}.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def two_stages(**second: Any) -> dict[str, Any]:
    """Math first, then both, as `configs/own.toml` has them."""
    return {
        "every_stage": {"problems_per_step": 2},
        "stage": [
            {"name": "math first", "sets": {"math": 1}, "epochs": 2},
            {"name": "both", "sets": {"math": 1, "code": 1}, "epochs": 3, **second},
        ],
    }


def test_each_domain_is_a_set_and_a_tenth_is_held_out(tmp_path: Path) -> None:
    data = two_stages()
    file = file_of(tmp_path, math=29, code=10)
    assert use_problem_files(data, [file]) == []
    assert data["sets"] == {
        "code": {"files": [str(file)], "domain": "code", "holdout": 1},
        "math": {"files": [str(file)], "domain": "math", "holdout": 2},  # 2.9, rounded down
    }
    assert [stage["sets"] for stage in data["stage"]] == [{"math": 1}, {"math": 1, "code": 1}]
    assert resolve(data, "own.toml").sets["math"].holdout == 2


def test_no_more_than_64_are_held_out(tmp_path: Path) -> None:
    data = two_stages()
    use_problem_files(data, [file_of(tmp_path, math=1000, code=640)])
    assert data["sets"]["math"]["holdout"] == data["sets"]["code"]["holdout"] == 64


def test_with_math_alone_the_stages_become_one_that_is_longer(tmp_path: Path) -> None:
    data = two_stages()
    notes = use_problem_files(data, [file_of(tmp_path, math=5)])
    assert data["stage"] == [{"name": "math first", "sets": {"math": 1}, "epochs": 5}]
    assert data["sets"]["math"]["holdout"] == 0
    assert notes == [
        "stage 2: no code problems in the files; it goes without them",
        "'both' would only repeat 'math first'; they become one",
    ]


def test_stages_that_differ_in_more_than_their_name_stay_two(tmp_path: Path) -> None:
    for second in ({"learning_rate": 1e-6}, {"epochs": None, "steps": 3}):
        data = two_stages()
        data["stage"][1] = {k: v for k, v in {**data["stage"][1], **second}.items() if v}
        notes = use_problem_files(data, [file_of(tmp_path, math=5)])
        assert [stage["name"] for stage in data["stage"]] == ["math first", "both"]
        assert notes == ["stage 2: no code problems in the files; it goes without them"]


def test_with_code_alone_the_stage_of_math_is_left_out(tmp_path: Path) -> None:
    data = two_stages()
    notes = use_problem_files(data, [file_of(tmp_path, code=5)])
    assert data["stage"] == [{"name": "both", "sets": {"code": 1}, "epochs": 3}]
    assert notes == [
        "stage 1: no math problems in the files; it goes without them",
        "stage 1 has no problems and is left out",
        "stage 2: no math problems in the files; it goes without them",
    ]


def test_sets_of_every_stage_hold_where_a_stage_names_none(tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "every_stage": {"sets": {"code": 2, "math": 1}},
        "stage": [{"name": "one", "epochs": 1}],
    }
    notes = use_problem_files(data, [file_of(tmp_path, code=5)])
    assert data["stage"] == [{"name": "one", "epochs": 1, "sets": {"code": 2}}]
    assert notes == ["stage 1: no math problems in the files; it goes without them"]


def test_a_config_with_no_stage_for_the_files_is_refused(tmp_path: Path) -> None:
    data = two_stages()
    data["stage"].pop()
    said = r"^no stage uses what the files hold \(code\); name it in a stage's sets$"
    with pytest.raises(ConfigError, match=said):
        use_problem_files(data, [file_of(tmp_path, code=5)])


def test_bad_rows_are_left_for_the_sets_to_speak_of(tmp_path: Path) -> None:
    file = file_of(tmp_path, math=20)
    file.write_text(file.read_text() + '\n{"domain": "math"}\n', encoding="utf-8")
    data = two_stages()
    use_problem_files(data, [file])
    assert data["sets"]["math"] == {"files": [str(file)], "domain": "math", "holdout": 2}


def test_several_files_fill_the_sets_together(tmp_path: Path) -> None:
    files = [file_of(tmp_path, math=15), file_of(tmp_path, code=20)]
    data = two_stages()
    assert use_problem_files(data, files) == []
    assert data["sets"]["math"]["files"] == data["sets"]["code"]["files"] == list(map(str, files))
    assert [data["sets"][domain]["holdout"] for domain in ("math", "code")] == [1, 2]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProblemFileError, match=r"none\.jsonl"):
        use_problem_files(two_stages(), [tmp_path / "none.jsonl"])
