"""The end of a run: its report as JSON and text, and its picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from srpo.account import Decided, Drawn, account_of, saved_by_resampling
from srpo.config import Config
from srpo.history import Ledger
from srpo.insight.account_view import account_data
from srpo.insight.curve import Row, draw_curve
from srpo.insight.report import report_data, report_text
from srpo.run.figures import Evaluation, evaluation_from
from srpo.run.state import RunState
from srpo.rundir import RunDirectory
from srpo.rundir.disk import reported

SCALE_MODEL = (
    "This is a scale model: that thinking does not pay for code at first was built into the "
    "bundled model on purpose (docs/scale-model.md). It illustrates the method and tests it; it "
    "is no evidence about large models."
)
GENERATED = (
    "The problems are generated ones of a scale model's world (docs/scale-model.md). They "
    "illustrate the method and test it; they are no evidence about large models."
)


def write_report(run: RunDirectory, config: Config, state: RunState, ledger: Ledger) -> None:
    """Write report.json, report.txt and curve.png from what the run directory holds."""
    rows = run.read_metrics()
    before, after = before_and_after(run, config, state)
    notes = notes_of(config)
    never, drawn = ledger.never_solved()
    opinions = run.read_opinions()
    disagreements = [found for row in opinions for found in row["disagreements"]]
    facts = {
        "algorithm": config.algorithm,
        "model": config.model.name,
        "seed": config.seed,
        "steps": state.step,
        "epochs": len({row["epoch"] for row in rows}),
        "rollouts": state.total_rollouts,
        "generated_tokens": state.total_tokens,
        "groups_with_signal": signal_share(rows),
        "sampler_gap_nats": _sampler_gap(rows),
        "problems_drawn": drawn,
        "problems_never_solved": never,
        "second_opinions": {
            "asked": sum(row["asked"] for row in opinions),
            "disagreed": len(disagreements),
        },
        "ending": state.ending,
    }
    probe = run.read_environment().get("probe", {}).get("tokens", {})
    account = account_data(account_of(rows, run.read_evaluations(), probe), saved_in(ledger))
    data = report_data(
        before, after, run=facts, notes=notes, disagreements=disagreements, account=account
    )
    run.disk.write(run.report_json, json.dumps(data, indent=2) + "\n")
    run.disk.write(run.report_text, report_text(data))
    with reported(run.curve):
        draw_curve(rows, stage_starts(config, rows), run.curve, " ".join(notes))


def before_and_after(
    run: RunDirectory, config: Config, state: RunState
) -> tuple[Evaluation | None, Evaluation | None]:
    """What the run's test came to before training and at its end; None: not read then.

    It is read last after the last step, or where the token budget was spent.
    """
    every = [evaluation_from(row) for row in run.read_evaluations()]
    tests = [evaluation for evaluation in every if evaluation.split == "test"]
    before = tests[0] if tests and tests[0].step == 0 else None
    if not tests or not state.ending:
        return before, None
    last, at_budget = tests[-1], config.evaluation.test == "at-token-budget"
    return before, last if last.step == state.step or (at_budget and last.step) else None


def saved_in(ledger: Ledger) -> dict[int, int]:
    """Tokens that dropped problems did not cost, by epoch; an estimate (srpo.account)."""
    return saved_by_resampling(
        (Drawn(*row) for row in ledger.groups_drawn()),
        (
            Decided(
                epoch,
                set_name,
                problem_id,
                drops=decision.startswith("drop:"),
                revives=decision.startswith("revive:"),
                ends_epoch=bool(ends),
            )
            for epoch, set_name, problem_id, decision, ends in ledger.turns()
        ),
    )


def notes_of(config: Config) -> list[str]:
    """What must be said wherever a figure of this run is shown."""
    if config.model.name == "embedded":
        return [SCALE_MODEL]
    return [GENERATED] if any(s.generate for s in config.sets.values()) else []


def stage_starts(config: Config, rows: Sequence[Row]) -> list[tuple[str, int]]:
    """(name, first step) of every stage that has begun."""
    first: dict[int, int] = {}
    for row in rows:
        first.setdefault(int(row["stage"] or 1), int(row["step"] or 1))
    return [(config.stage[number - 1].name, step) for number, step in first.items()]


def signal_share(rows: Sequence[Row]) -> float | None:
    """Share of all groups in rows of metrics that had a signal; None if there is no group."""
    groups = sum(row["all/groups"] or 0 for row in rows)
    signal = sum((row["all/groups"] or 0) * (row["all/signal_frac"] or 0.0) for row in rows)
    return signal / groups if groups else None


def _sampler_gap(rows: Sequence[Row]) -> dict[str, float] | None:
    """By how much sampler and trainer disagreed on drawn tokens; None without an update."""
    means = [gap for row in rows if (gap := row.get("update/mean_logprob_gap")) is not None]
    largest = [gap for row in rows if (gap := row.get("update/logprob_gap")) is not None]
    if not means or not largest:
        return None
    return {"mean": math.fsum(means) / len(means), "largest": max(largest)}
