"""The report of a run: held-out accuracy before and after training, as JSON and as tables."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from srpo.formats import counted, one_line, percent, short
from srpo.insight.account_view import account_view
from srpo.run.figures import Accuracy, DomainScore, Evaluation, Gain, paired_gain

SCHEMA = 1
SHOWN_DISAGREEMENTS = 10


def report_data(
    before: Evaluation | None,
    after: Evaluation | None,
    *,
    run: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    disagreements: Sequence[Mapping[str, object]] = (),
    account: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """The report as plain JSON values; what could not be measured is null.

    `run`: facts of the run (name -> JSON value), shown in their order. `before` or `after` is
    None if that evaluation was not made. `disagreements`: what another grader judged otherwise.
    `account`: what became of the tokens, as `insight.account_view.account_data` gives it.
    """
    return {
        "schema": SCHEMA,
        "before": None if before is None else evaluation_data(before),
        "after": None if after is None else evaluation_data(after),
        "gain": _gains(before, after),
        "run": _clean(dict(run or {})),
        "notes": list(notes),
        "disagreements": [dict(row) for row in disagreements],
        "account": None if account is None else dict(account),
    }


def _gains(before: Evaluation | None, after: Evaluation | None) -> dict[str, Any]:
    """By domain: what was gained on the same problems, with the ends of its 95 % interval."""
    if before is None or after is None:
        return {}
    found = {
        domain: paired_gain(old.rates, after.domains[domain].rates)
        for domain, old in before.domains.items()
        if domain in after.domains
    }
    return {domain: _gain(gain) for domain, gain in found.items() if gain is not None}


def _gain(gain: Gain) -> dict[str, Any]:
    half = gain.half
    ends = (
        (None, None) if half is None else (max(-1.0, gain.mean - half), min(1.0, gain.mean + half))
    )
    return {"mean": gain.mean, "low": ends[0], "high": ends[1], "problems": gain.problems}


def evaluation_data(evaluation: Evaluation) -> dict[str, Any]:
    """One evaluation as plain JSON values, as in evaluations.jsonl and in the report."""
    return {
        "step": evaluation.step,
        "tokens": evaluation.tokens,
        "domains": {domain: _score(score) for domain, score in evaluation.domains.items()},
    }


def report_view(data: Mapping[str, Any]) -> RenderableType:
    """The report to print with rich: a table for each domain, the facts of the run, the notes.

    `data` is what `report_data` returns, or RUN/report.json as it was read.
    """
    before, after = data["before"], data["after"]
    parts: list[RenderableType] = []
    for domain in _keys(before, after, "domains"):
        parts += [_domain_table(domain, before, after)]
        if gain := data["gain"].get(domain):
            parts.append(Text(_gain_line(gain)))
        parts += [_habits(domain, before, after), Text()]
    if not parts:
        parts += [Text("No held-out accuracy was measured."), Text()]
    else:
        parts += [
            Text(
                "Accuracy in % [95 % interval over problems]. *: the intervals do not overlap.",
                style="dim",
            ),
            Text(),
        ]
    parts.append(_facts(data["run"]))
    if data.get("account"):
        parts += [Text(), account_view(data["account"])]
    parts += _disagreements(data.get("disagreements", []))
    if data["notes"]:
        parts += [Text(), *(Text.assemble(("* ", "dim"), note) for note in data["notes"])]
    return Group(*parts)


def _gain_line(gain: Mapping[str, Any]) -> str:
    """What was gained, in points of a hundred."""
    between = (
        "" if gain["low"] is None else f" [{100 * gain['low']:+.1f} {100 * gain['high']:+.1f}]"
    )
    of = counted(gain["problems"], "problem")
    return f"gain {100 * gain['mean']:+.1f}{between} points, paired over {of}"


def _disagreements(rows: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """The first answers on which two graders disagree, with both verdicts and both reasons."""
    if not rows:
        return []
    lines: list[RenderableType] = [Text(), Text("A second grader disagreed:", style="dim")]
    for row in rows[:SHOWN_DISAGREEMENTS]:
        ours, other = _verdict(row, "verdict", "reason"), _verdict(row, "other", "other_reason")
        answer, gold = short_text(row["answer"]), short_text(row["gold"])
        line = (
            f"step {row['step']}, {row['rollout']}: {answer} for {gold}; ours {ours}, its {other}"
        )
        lines.append(Text.assemble(("* ", "dim"), line))
    if len(rows) > SHOWN_DISAGREEMENTS:
        lines.append(Text(f"  and {len(rows) - SHOWN_DISAGREEMENTS} more", style="dim"))
    return lines


def _verdict(row: Mapping[str, Any], verdict: str, reason: str) -> str:
    return f"{row[verdict]} ({row[reason]})" if row[reason] else str(row[verdict])


def short_text(text: str) -> str:
    """A text on one line, in quotes, cut to 60 characters.

    >>> short_text("1 + 1")
    '"1 + 1"'
    """
    line = one_line(text)
    return f'"{line if len(line) <= 60 else line[:59] + "…"}"'


def report_text(data: Mapping[str, Any], width: int = 80) -> str:
    """The report as plain text without colours; texts wrap at `width`, at least 60."""
    console = Console(
        file=io.StringIO(), width=max(60, width), color_system=None, force_terminal=False
    )
    with console.capture() as capture:
        console.print(report_view(data))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).rstrip() + "\n"


def _score(score: DomainScore) -> dict[str, Any]:
    return {
        **_accuracy(score.overall),
        "thinking_frac": _clean(score.thinking_frac),
        "length_tokens": _clean(score.length_tokens),
        "ungraded": score.ungraded,
        "levels": {str(level): _accuracy(found) for level, found in score.levels.items()},
    }


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    low, high = accuracy.interval
    return {
        "accuracy": _clean(accuracy.mean),
        "low": low,
        "high": high,
        "correct": accuracy.correct,
        "samples": accuracy.samples,
        "problems": accuracy.problems,
    }


def _clean(value: object) -> object:
    """The value with null in place of every number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value


def _domain_table(domain: str, before: Any, after: Any) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(Text(domain, style="bold not dim"), no_wrap=True)
    table.add_column(_head("before", before), justify="right", no_wrap=True)
    table.add_column(_head("after", after), justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("problems", justify="right", no_wrap=True)
    old, new = _domain(before, domain), _domain(after, domain)
    table.add_row("overall", *_row(old, new), style="bold")
    for level in sorted(_keys(old, new, "levels"), key=int):
        pair = [(score or {}).get("levels", {}).get(level) for score in (old, new)]
        table.add_row(f"level {level}", *_row(*pair))
    return table


def _row(old: Any, new: Any) -> list[str]:
    change = ""
    if _measured(old) and _measured(new):
        apart = old["high"] < new["low"] or new["high"] < old["low"]
        change = f"{100 * (new['accuracy'] - old['accuracy']):+.1f}{'*' if apart else ' '}"
    problems = str((new or old or {}).get("problems", ""))
    return [_with_interval(old), _with_interval(new), change, problems]


def _with_interval(score: Any) -> str:
    if not _measured(score):
        return "-"
    low, high = (f"{100 * score[end]:.1f}" for end in ("low", "high"))
    return f"{100 * score['accuracy']:.1f} [{low:>4} {high:>5}]"


def _measured(score: Any) -> bool:
    return score is not None and score["accuracy"] is not None


def _habits(domain: str, before: Any, after: Any) -> Text:
    """How the answers look: thinking share, length, and what could not be graded."""
    scores = [score for end in (before, after) if (score := _domain(end, domain)) is not None]
    thinks = " -> ".join(percent(score["thinking_frac"]) for score in scores)
    length = " -> ".join(_tokens(score["length_tokens"]) for score in scores)
    text = f"thinks {thinks}, length {length} tokens"
    if any(score["ungraded"] for score in scores):
        text += f", not gradable {' -> '.join(str(score['ungraded']) for score in scores)}"
    return Text(text, style="dim")


def _tokens(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _head(name: str, evaluation: Any) -> str:
    return name if evaluation is None else f"{name} (step {evaluation['step']})"


def _domain(evaluation: Any, domain: str) -> Any:
    return None if evaluation is None else evaluation["domains"].get(domain)


def _keys(old: Any, new: Any, field: str) -> list[str]:
    """The keys of both, each once, in the order in which they first appear."""
    return list(dict.fromkeys([key for end in (old, new) if end for key in end[field]]))


def _facts(run: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in run.items():
        table.add_row(Text(name.replace("_", " ")), Text(_fact(value)))
    return table


def _fact(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_fact(inner) for inner in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return short(value) if value >= 100_000 else str(value)
    return f"{value:.4g}"
