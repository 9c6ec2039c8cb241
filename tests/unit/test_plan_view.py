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
