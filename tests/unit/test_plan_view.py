"""What `srpo plan` prints."""

from __future__ import annotations

import io

from rich.console import Console

from srpo.config_files import load_config, parse_set, settings_of
from srpo.insight.plan_view import print_plan


def test_every_setting_of_the_plan_is_whole_on_80_columns_however_long_its_value() -> None:
    text = "Think first. " * 20
    loaded = load_config(settings=[parse_set(f"prompt.math_instruction={text}")])
    stream = io.StringIO()
    print_plan(loaded, [], Console(file=stream, width=80, highlight=False))
    lines = stream.getvalue().splitlines()
    first_words = {line.split()[0] for line in lines if line.strip()}
    assert set(settings_of(loaded.config)) <= first_words
    assert max(map(len, lines[-len(settings_of(loaded.config)) :])) <= 80
    assert "".join(lines).count("Think") == 20  # the value is folded, not cut


def printed(*settings: str) -> str:
    stream = io.StringIO()
    loaded = load_config(settings=[parse_set(setting) for setting in settings])
    print_plan(loaded, [], Console(file=stream, width=200, highlight=False))
    return stream.getvalue()


def test_the_plan_names_refills_budget_and_reference_where_there_are_any() -> None:
    plain = printed()
    assert not any(word in plain for word in ("refills:", "budget:", "reference model"))
    dapo = printed("algorithm=dapo", "budget.rollouts=3000")
    assert "refills: up to 8 a step" in dapo
    assert "by which 3,000 rollouts are spent" in dapo
    # at most 2999 before the last step, and 9 rounds of 32 groups of 8 in it: 5303, of 96 tokens
    assert dapo.count("<= 5.3 k") == dapo.count("<= 509 k") == 2  # the one stage, and all
    both = printed("budget.rollouts=3000", "budget.tokens=1000")
    assert "by which 3,000 rollouts and 1,000 generated tokens are spent" in both
    assert "reference model" in printed("algorithm=r1-zero")
