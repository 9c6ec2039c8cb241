"""What may change between two attempts at a run, what may not, and how either is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srpo.digests import file_digests
from srpo.errors import ConfigError, RunDirectoryError
from srpo.resuming.changes import announced, check_model, check_settings

THEN: dict[str, object] = {
    "seed": 1,
    "model.threads": 0,
    "checkpoint.every_steps": 20,
    "stage.1.steps": 4,
    "stage.2.steps": 8,
    "stage.2.learning_rate": 1e-4,
    "budget.tokens": 0,
    "model.sampler_rows": 512,
}


def check(stage: int = 2, **now: object) -> list[str]:
    renamed = {name.replace("__", "."): value for name, value in now.items()}
    return check_settings(THEN, THEN | renamed, stage, origin=lambda _: "R/config.toml")


def test_how_long_how_often_and_how_fast_may_change() -> None:
    assert check() == []
    assert check(stage__2__steps=16) == ["stage.2.steps was 8 and is 16"]
    assert check(checkpoint__every_steps=5, budget__tokens=9) == [
        "checkpoint.every_steps was 20 and is 5",
        "budget.tokens was 0 and is 9",
    ]
    assert check(model__sampler_rows=64) == [
        "model.sampler_rows was 512 and is 64",
        "completions are now drawn in another order, so they will differ",
    ]
    assert check(model__threads=2) == [
        "model.threads was 0 and is 2",
        "the model now computes in another order: last bits may differ",
    ]


@pytest.mark.parametrize(
    ("now", "line"),
    [
        ({"seed": 2}, "R/config.toml: seed was 1 and is 2; a run that has begun keeps it"),
        (
            {"stage__2__learning_rate": 2e-4},
            "R/config.toml: stage.2.learning_rate was 0.0001 and is 0.0002; a run",
        ),
        # the first stage is over: its length is settled
        ({"stage__1__steps": 5}, "R/config.toml: stage.1.steps was 4 and is 5; a run"),
        ({"stage__3__group_size": 5}, "R/config.toml: stage.3.group_size was None and is 5; a run"),
        ({"sets__x__count": 5}, "R/config.toml: sets.x.count was None and is 5; a run"),
    ],
)
def test_what_decides_what_is_learned_may_not(now: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**now)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_setting_that_only_a_newer_srpo_knows_is_announced() -> None:
    assert check(loss__new_one=0.5) == ["loss.new_one was unknown and is 0.5"]


def test_every_setting_that_may_not_has_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        check(seed=2, stage__1__steps=5, checkpoint__every_steps=5)
    assert [line.split()[1] for line in str(caught.value).splitlines()] == ["seed", "stage.1.steps"]


def test_another_model_is_refused_by_the_names_of_its_files() -> None:
    then = {"model_files": {"config.json": "a", "model.safetensors": "b"}}
    check_model("R", then, then)
    check_model("R", {}, then)  # an engine that tells nothing of files
    now = {"model_files": {"config.json": "a", "model.safetensors": "c", "extra.json": "d"}}
    with pytest.raises(RunDirectoryError) as caught:
        check_model("R", then, now)
    assert str(caught.value) == (
        "R: the model is not the one that the run began with (model.safetensors, extra.json "
        "changed); put it back, or begin a new run"
    )


def test_code_and_libraries_are_announced() -> None:
    facts = {"srpo": "0.1", "torch": "2.12", "model_files": {"a": "1"}}
    code = {"trainer.py": "1", "types.py": "2"}
    assert announced(facts, facts, code, code) == []
    said = announced(
        facts, facts | {"torch": "2.13"}, code, code | {"types.py": "3", "new.py": "4"}
    )
    assert said == [
        "torch was 2.12 and is 2.13",
        "srpo itself has changed (types.py, new.py)",
        "what follows may differ from what the run would have been",
    ]


def test_a_file_is_told_apart_by_any_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    found = set()
    for data in (
        b"a" * 3_000_000,
        b"a" * 3_000_001,
        b"b" + b"a" * 2_999_999,
        b"a" * 2_999_999 + b"b",
    ):
        path.write_bytes(data)
        found.add(file_digests([path])["model.safetensors"])
    assert len(found) == 4
