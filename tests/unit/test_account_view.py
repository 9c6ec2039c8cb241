"""The token account as a person reads it."""

from __future__ import annotations

import io
import json

from rich.console import Console

from srpo.account import Account, Place
from srpo.insight.account_view import account_data, account_sentence, account_view
from srpo.types import Fate


def shown(account: Account, saved: dict[int, int] | None = None) -> list[str]:
    out = io.StringIO()
    data = json.loads(json.dumps(account_data(account, saved)))
    Console(file=out, width=80).print(account_view(data))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def example() -> Account:
    """10,000 generated tokens: 4,100 gradient, 3,300 + 1,180 + 20 no signal, 1,400 truncated."""
    account = Account()
    account.add(Place(1, 1, "math"), {Fate.GRADIENT: 4000, Fate.ALL_WRONG: 1180, Fate.AT_MEAN: 20})
    account.add(Place(2, 2, "math"), {Fate.GRADIENT: 100, Fate.TRUNCATED: 1400, Fate.REUSED: 500})
    account.add(Place(2, 2, "code"), {Fate.ALL_CORRECT: 3300, Fate.EVALUATION: 1234})
    return account


def test_the_sentence_says_where_the_tokens_went_the_largest_share_first() -> None:
    assert account_sentence(account_data(example(), {2: 0, 3: 5200})) == (
        "Of 10,000 tokens generated in training 41 % became gradient; 33 % were spent on groups "
        "that every rollout solved, 14 % on answers that were cut off, 12 % on groups that no "
        "rollout solved, <1 % on answers as good as their group's mean. Drafts brought 500 more. "
        "Evaluation took another 1,234. Problems that were dropped would have cost about 5.2 k "
        "more (an estimate)."
    )


def test_the_sentence_leaves_out_what_did_not_happen() -> None:
    account = Account()
    account.add(Place(1, 1, "math"), {Fate.GRADIENT: 8})
    expected = "Of 8 tokens generated in training 100 % became gradient."
    assert account_sentence(account_data(account)) == expected
    assert account_sentence(account_data(account, {1: 0})) == expected
    assert account_sentence(account_data(Account())).startswith("No generated tokens")


def test_the_table_has_the_run_and_its_parts_and_only_fates_that_were() -> None:
    lines = shown(example())
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith("tokens"))
    assert [line.replace(" %", "%").split() for line in lines[start:]] == [
        ["tokens", "gradient", "solved", "unsolved", "at", "mean", "cut", "off", "reused"],
        ["run", "10", "k", "41%", "33%", "12%", "<1%", "14%", "500"],
        ["stage", "1", "5.2", "k", "77%", "0%", "23%", "<1%", "0%", "0"],
        ["stage", "2", "4.8", "k", "2%", "69%", "0%", "0%", "29%", "500"],
        ["code", "3.3", "k", "0%", "100%", "0%", "0%", "0%", "0"],
        ["math", "6.7", "k", "61%", "0%", "18%", "<1%", "21%", "500"],
        ["epoch", "1", "5.2", "k", "77%", "0%", "23%", "<1%", "0%", "0"],
        ["epoch", "2", "4.8", "k", "2%", "69%", "0%", "0%", "29%", "500"],
    ]


def test_every_fate_at_once_fits_on_80_columns() -> None:
    account = Account()
    for epoch in (1, 2):
        account.add(Place(1, epoch, "math"), dict.fromkeys(Fate, 123_456_000))
    lines = shown(account)
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_of_many_epochs_the_last_are_shown() -> None:
    account = Account()
    for epoch in range(1, 31):
        account.add(Place(1, epoch, "math"), {Fate.GRADIENT: 10})
    lines = shown(account)
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == [
        str(epoch) for epoch in range(19, 31)
    ]
    assert lines[-1] == "and 18 earlier epochs"


def test_the_report_holds_every_part() -> None:
    data = account_data(example(), {2: 0, 3: 5200})
    assert data["gradient_frac"] == 0.41
    assert data["by_stage"]["2"]["tokens"]["reused"] == 500
    assert data["by_epoch"]["1"]["generated"] == 5200
    assert data["saved_by_resampling_estimate"] == 5200
    assert data["saved_by_epoch_estimate"] == {"3": 5200}
    assert account_data(example())["saved_by_resampling_estimate"] is None
