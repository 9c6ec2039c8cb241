"""The bundled model as it is shipped: its size, its tokenizer, and what its report says."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from srpo.config import Config, SetConfig
from srpo.embedded import MODEL_DIR
from srpo.run.finish import notes_of

REPORT: dict[str, Any] = json.loads((MODEL_DIR / "report.json").read_text(encoding="utf-8"))
CONFIG: dict[str, Any] = json.loads((MODEL_DIR / "config.json").read_text(encoding="utf-8"))


def test_the_report_speaks_of_these_weights() -> None:
    weights = (MODEL_DIR / "model.safetensors").read_bytes()
    assert REPORT["sha256"] == hashlib.sha256(weights).hexdigest()


def rates(phase: str, domain: str, mode: str) -> list[float]:
    """Pass rates of levels 1 to 8."""
    levels = REPORT["phases"][phase]["pass_rates"][domain][mode]
    return [levels[str(level)]["pass_rate"] for level in range(1, 9)]


def test_it_is_small_and_was_made_in_one_short_run() -> None:
    assert REPORT["weights"] <= 1_500_000
    assert (MODEL_DIR / "model.safetensors").stat().st_size <= 6 * 2**20
    assert REPORT["wall_s"] <= 300
    assert CONFIG["model_type"] == "llama"
    assert CONFIG["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize("domain", ["math", "code"])
def test_after_the_clean_phase_thinking_solves_what_direct_answers_do_not(domain: str) -> None:
    thinking, direct = rates("clean", domain, "thinking"), rates("clean", domain, "direct")
    gaps = [a - b for a, b in zip(thinking[2:], direct[2:], strict=True)]
    assert min(gaps) > 0.6 and sum(gaps) / len(gaps) > 0.7


def test_the_base_thinks_rarely_and_its_prompts_range_from_solved_to_never_solved() -> None:
    for domain in ("math", "code"):
        free = REPORT["phases"]["mixture"]["pass_rates"][domain]["free"]
        assert all(level["thinking_frac"] < 0.15 for level in free.values())
        solved = rates("mixture", domain, "free")
        assert max(solved) > 0.85 and min(solved) < 0.05
        assert sum(solved) / len(solved) < 0.5


def test_the_conflict_is_built_in_as_the_docs_say() -> None:
    # thinking pays in math from the start; in code it is no better than answering at once
    math, code = (
        [sum(rates("mixture", domain, mode)) / 8 for mode in ("thinking", "direct")]
        for domain in ("math", "code")
    )
    assert math[0] - math[1] > 0.4
    assert code[0] <= code[1]


def test_its_thinking_is_right_more_often_than_not_at_levels_five_and_six() -> None:
    assert min(rates("mixture", "math", "thinking")[4:6]) > 0.5


def test_what_was_built_in_is_said_of_the_bundled_model_alone() -> None:
    problems = {"m": {"generate": "math", "count": 8}}
    stage = [{"name": "one", "sets": {"m": 1}, "steps": 1}]
    bundled = Config.model_validate({"sets": problems, "stage": stage})
    other = Config.model_validate({"sets": problems, "stage": stage, "model": {"name": "mine"}})
    real = other.model_copy(update={"sets": {"m": SetConfig(files=("p.jsonl",))}})
    assert "was built into the bundled model on purpose" in notes_of(bundled)[0]
    assert notes_of(other)[0].startswith("The problems are generated ones")
    assert notes_of(real) == []
