"""What the options of `srpo judge` come to: one config of the verifiers."""

from __future__ import annotations

from pathlib import Path

import pytest

from srpo.config.verifier import VerifierConfig
from srpo.errors import ConfigError
from srpo.insight.judge_command import run_judge


def config_with(monkeypatch: pytest.MonkeyPatch, timeout: float | None) -> VerifierConfig:
    """The config that judging is begun with."""
    given: list[VerifierConfig] = []

    def judge(file: Path, out: Path, config: VerifierConfig, **others: object) -> int:
        given.append(config)
        return 0

    monkeypatch.setattr("srpo.insight.judge_command.judge_file", judge)
    code = run_judge(
        Path("rows.jsonl"), print, out=Path("verdicts.jsonl"), workers=3,
        timeout=timeout, strength="landlock", allow_unsafe=False,
    )  # fmt: skip
    assert code == 0
    return given[0]


@pytest.mark.parametrize(
    ("timeout", "whole_program"),
    [
        (0.5, 20.0),  # ten tests would be 5 s; a program never has less than 20
        (2.0, 20.0),
        (30.0, 300.0),  # ten tests
        (86_400.0, 86_400.0),  # not ten days: a day is the longest
    ],
)
def test_a_time_limit_holds_for_tests_answers_and_ten_times_for_programs(
    monkeypatch: pytest.MonkeyPatch, timeout: float, whole_program: float
) -> None:
    config = config_with(monkeypatch, timeout)
    assert (config.code_timeout_s, config.math_timeout_s) == (timeout, timeout)
    assert config.code_program_timeout_s == whole_program
    assert (config.code_workers, config.strength, config.allow_unsafe) == (3, "landlock", False)


def test_without_a_time_limit_it_is_that_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = VerifierConfig(code_workers=3, strength="landlock")
    assert config_with(monkeypatch, None) == plain


@pytest.mark.parametrize("timeout", [0.0, -1.0, 86_401.0, float("nan"), float("inf")])
def test_a_time_limit_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    with pytest.raises(ConfigError, match=r"give seconds, more than 0, at most 86,400$"):
        config_with(monkeypatch, timeout)
