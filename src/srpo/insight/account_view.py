"""The token account as a person sees it: one sentence, and a table by stage, domain and epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from srpo.account import GENERATED, Account, Bill
from srpo.formats import counted, short
from srpo.types import Fate

MOST_EPOCHS = 12

# What a share of the generated tokens was spent on, and the table's word for it.
SPENT: dict[Fate, tuple[str, str]] = {
    Fate.ALL_CORRECT: ("on groups that every rollout solved", "solved"),
    Fate.ALL_WRONG: ("on groups that no rollout solved", "unsolved"),
    Fate.AT_MEAN: ("on answers as good as their group's mean", "at mean"),
    Fate.TRUNCATED: ("on answers that were cut off", "cut off"),
    Fate.UNGRADABLE: ("on answers that could not be graded", "ungraded"),
    Fate.SUBSET: ("on answers outside the chosen subset", "left out"),
}


def account_data(account: Account, saved: Mapping[int, int] | None = None) -> dict[str, Any]:
    """The account as plain JSON values, as in report.json.

    `saved`: epoch -> tokens that resampling is estimated to have saved; None if it is not known.
    """
    return {
        **_bill_data(account.whole),
        "by_stage": {str(key): _bill_data(bill) for key, bill in account.by("stage").items()},
        "by_domain": {str(key): _bill_data(bill) for key, bill in account.by("domain").items()},
        "by_epoch": {str(key): _bill_data(bill) for key, bill in account.by("epoch").items()},
        "saved_by_resampling_estimate": None if saved is None else sum(saved.values()),
        "saved_by_epoch_estimate": {str(epoch): n for epoch, n in (saved or {}).items() if n},
    }


def account_view(data: Mapping[str, Any]) -> RenderableType:
    """The sentence and the table, to print with rich. `data` is what `account_data` returns."""
    parts: list[RenderableType] = [Text(account_sentence(data))]
    if data["generated"]:
        parts += [Text(), _table(data)]
        hidden = len(data["by_epoch"]) - MOST_EPOCHS
        if hidden > 0:
            parts.append(Text(f"and {counted(hidden, 'earlier epoch')}", style="dim"))
    return Group(*parts)


def account_sentence(data: Mapping[str, Any]) -> str:
    """What share of the generated tokens became gradient, and where the others went."""
    if not data["generated"]:
        return "No generated tokens are accounted for."
    spent = [fate for fate in SPENT if data["tokens"][fate]]
    spent.sort(key=lambda fate: -data["tokens"][fate])
    where = ", ".join(f"{_percent(data, fate)} {SPENT[fate][0]}" for fate in spent)
    parts = [
        f"Of {data['generated']:,} tokens generated in training "
        f"{_percent(data, Fate.GRADIENT)} became gradient"
        + (f"; {where.replace(' on ', ' were spent on ', 1)}." if where else ".")
    ]
    if data["tokens"][Fate.REUSED]:
        parts.append(f"Drafts brought {data['tokens'][Fate.REUSED]:,} more.")
    if data["tokens"][Fate.EVALUATION]:
        parts.append(f"Evaluation took another {data['tokens'][Fate.EVALUATION]:,}.")
    if data["saved_by_resampling_estimate"]:
        parts.append(
            "Problems that were dropped would have cost about "
            f"{short(data['saved_by_resampling_estimate'])} more (an estimate)."
        )
    return " ".join(parts)


def _bill_data(bill: Bill) -> dict[str, Any]:
    return {
        "generated": bill.generated,
        "gradient_frac": bill.share(Fate.GRADIENT),
        "tokens": {fate.value: bill.tokens.get(fate, 0) for fate in Fate},
    }


def _table(data: Mapping[str, Any]) -> Table:
    """Only fates that some token had have a column; parts that are the whole run have no row."""
    shown = [f for f in GENERATED if f is Fate.GRADIENT or data["tokens"][f]]
    reused = bool(data["tokens"][Fate.REUSED])
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    names = [SPENT[fate][1] if fate in SPENT else "gradient" for fate in shown]
    for name in ("tokens", *names, *(["reused"] if reused else [])):
        table.add_column(name, justify="right")

    def add(label: str, bill: Mapping[str, Any], style: str = "") -> None:
        cells = [_percent(bill, fate) for fate in shown]
        tail = [short(bill["tokens"][Fate.REUSED])] if reused else []
        table.add_row(label, short(bill["generated"]), *cells, *tail, style=style)

    add("run", data, "bold")
    for prefix, part in (("stage ", "by_stage"), ("", "by_domain"), ("epoch ", "by_epoch")):
        if len(data[part]) > 1:
            for key in list(data[part])[-MOST_EPOCHS:]:
                add(f"{prefix}{key}", data[part][key])
    return table


def _percent(bill: Mapping[str, Any], fate: Fate) -> str:
    """Share of the generated tokens in whole per cent; `<1 %` for what is not quite nothing."""
    if not bill["generated"]:
        return "-"
    value = 100 * bill["tokens"][fate] / bill["generated"]
    return "<1 %" if 0 < value < 0.5 else f"{value:.0f} %"
