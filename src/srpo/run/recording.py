"""The end of a step: counted, resampled at an epoch's end, recorded, and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from srpo.account import fate_metrics
from srpo.history import When
from srpo.run.figures import (
    DomainFigures,
    StepFigures,
    count_outcomes,
    count_verdicts,
    domain_figures,
)
from srpo.run.session import Session
from srpo.schedule import share_spent
from srpo.selection import Selection
from srpo.selection.rule import Decision, Resampled
from srpo.types import Group


@dataclass(frozen=True, slots=True)
class Update:
    """What an optimizer step reported; None where there was nothing to learn from."""

    learning_rate: float
    grad_norm: float | None = None  # mean over the updates that were made
    logprob_gap: float | None = None  # largest |trainer - sampler| logprob of a trained token
    mean_logprob_gap: float | None = None
    skipped: int = 0  # updates whose numbers were not finite
    importance_capped_frac: float | None = None  # of trained tokens; None: no weights were used


@contextmanager
def timed(s: Session, seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Show the phase, and add its wall time to `seconds`."""
    s.watcher.phase(phase)
    started = s.clock()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + max(0.0, s.clock() - started)  # it may jump back


def close_step(
    s: Session,
    selection: Selection,
    groups: Sequence[Group],
    update: Update,
    seconds: dict[str, float],
) -> None:
    """Tell selection, count the step, resample at an epoch's end, and record all of it.

    That is timed as well; only the lines of times and of metrics come after.
    """
    with timed(s, seconds, "recording"):
        when, decisions, overall = _count(s, selection, groups)
        s.grader.observe(groups)
        if s.config.reuse.prefixes:
            s.answers.observe(groups)
        if s.drafts is not None:
            s.drafts.remember(groups)
        s.run.write_rollouts(when.step, when.epoch, groups)
        s.ask_second_opinion(groups, when.step)
        s.ledger.record_step(when, groups, decisions, s.events, revived_before=s.revived)
        s.events.clear()
        s.revived = []
    figures = _figures(s, selection, when, groups, overall, update, decisions, seconds)
    s.run.append_times(figures.times())
    s.run.append_metrics(figures.metrics())
    s.watcher.step(figures)


def _count(
    s: Session, selection: Selection, groups: Sequence[Group]
) -> tuple[When, list[Resampled], DomainFigures]:
    """One more step: where in the run it was, what its epoch's end decided, and its figures."""
    state = s.state
    selection.observe(groups)
    state.step += 1
    state.total_rollouts += sum(len(group.rollouts) for group in groups)
    state.total_tokens += sum(group.num_generated for group in groups)
    overall = domain_figures(groups)
    had_signal = any(group.has_signal for group in groups)
    state.progress = state.progress.after_step(overall.reward, had_signal=had_signal)
    when = When(step=state.step, epoch=state.epoch, stage=state.stage)
    decisions = _end_epoch(s, selection) if selection.epoch_done else []
    return when, decisions, overall


def _end_epoch(s: Session, selection: Selection) -> list[Resampled]:
    state = s.state
    state.progress = state.progress.after_epoch()
    decisions = selection.end_epoch()
    if decisions:
        s.tell("resampling", f"epoch {state.epoch} ends: {_summary(decisions, selection.num_kept)}")
        tell_revived(s, decisions)
    state.epoch += 1
    return decisions


def _summary(decisions: Sequence[Resampled], num_kept: int) -> str:
    counts = Counter(decided.decision for decided in decisions)
    parts = [f"dropped {counts[Decision.DROP_ALL_CORRECT]} that every rollout solved"]
    resting = counts[Decision.REST_ALL_CORRECT], counts[Decision.REST_ALL_WRONG]
    if any(resting) or counts[Decision.REVIVE_RESTED]:
        parts = [
            f"resting: {resting[0]} solved and {resting[1]} unsolved",
            f"back from rest: {counts[Decision.REVIVE_RESTED]}",
        ]
    easy = counts[Decision.TO_EASY_POOL], counts[Decision.KEEP_EASY]
    back = counts[Decision.FROM_EASY_POOL]
    if any(easy) or back:
        parts = [f"{easy[0]} to the easy pool, {back} back from it, {sum(easy)} in it"]
    stay = (
        f"{counts[Decision.KEEP_MIXED]} mixed and {counts[Decision.KEEP_ALL_WRONG]} unsolved kept"
    )
    return "; ".join([*parts, stay, f"{num_kept} in play"])


def tell_revived(s: Session, decisions: Sequence[Resampled]) -> None:
    """Say which sets got dropped problems back; nothing if none did."""
    revived = Counter(d.set_name for d in decisions if d.decision is Decision.REVIVE_FLOOR)
    for name, count in revived.items():
        come = "1 dropped problem comes" if count == 1 else f"{count} dropped problems come"
        s.tell(
            "revival",
            f"{name}: {come} back, so that the set does not run out",
        )


def _figures(
    s: Session,
    selection: Selection,
    when: When,
    groups: Sequence[Group],
    overall: DomainFigures,
    update: Update,
    decisions: Sequence[Resampled],
    seconds: dict[str, float],
) -> StepFigures:
    domains = sorted({group.problem.domain for group in groups})
    return StepFigures(
        step=when.step,
        stage=when.stage,
        epoch=when.epoch,
        overall=overall,
        domains={d: domain_figures([g for g in groups if g.problem.domain == d]) for d in domains},
        outcomes=count_outcomes(groups),
        verdicts=count_verdicts(groups),
        updated=update.grad_norm is not None,
        grad_norm=update.grad_norm,
        logprob_gap=update.logprob_gap,
        mean_logprob_gap=update.mean_logprob_gap,
        skipped=update.skipped,
        learning_rate=update.learning_rate,
        kept=selection.num_kept,
        dropped=selection.num_dropped,
        revived=sum(d.decision.revives for d in decisions),
        step_tokens=sum(group.num_generated for group in groups),
        total_tokens=s.state.total_tokens,
        total_rollouts=s.state.total_rollouts,
        seconds=seconds,
        fates=fate_metrics(groups),
        budget_share=share_spent(s.budget_accounts),
        importance_capped_frac=update.importance_capped_frac,
    )
