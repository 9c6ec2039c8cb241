"""One step: draw rollouts in rounds, grade them, and make one update of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from srpo.batching import kl_terms, probes, training_data
from srpo.config import StageConfig
from srpo.drafts import DRAFT_TOP_K
from srpo.importance import corrected, untrained
from srpo.rollouts import derive_seed, draw_requests, joined, stage_sampling
from srpo.run.health import check_together, count_skipped, gaps_between
from srpo.run.recording import Update, timed
from srpo.run.session import Session
from srpo.selection import Selection
from srpo.types import Adam, Clip, Datum, Group, Request, Sampling

Batch: TypeAlias = tuple[Sequence[Group], list[Datum]]  # what an update is made of


def roll_out(
    s: Session, stage: StageConfig, selection: Selection, seconds: dict[str, float]
) -> list[Group]:
    """The graded groups of the next step. Most steps are one round; selection may ask for more."""
    groups: list[Group] = []
    number = 0
    while True:
        with timed(s, seconds, "selecting"):
            requests = selection.ask(groups)
            requests = _begun_with_prefixes(s, requests, groups)
        if not requests:
            return [replace(group, why=selection.why_of(group)) for group in groups]
        with timed(s, seconds, "sampling"):
            purpose = ("step", s.state.step + 1, *(("round", number) if number else ()))
            how = sampling_of(s, stage, *purpose)
            with s.while_drawing():
                drawn = draw_requests(
                    s.engine,
                    s.prompter,
                    requests,
                    how,
                    s.state.policy_version,
                    drafts=s.drafts.take if s.drafts is not None else None,
                )
        with timed(s, seconds, "grading"):
            groups = joined(groups, s.grade(drawn, stage))
        number += 1


def _begun_with_prefixes(
    s: Session, requests: Sequence[Request], groups: Sequence[Group]
) -> list[Request]:
    """Requests for problems that fail now begin with part of an own correct answer, if so set.

    The rest of a group begins as its pilot did.
    """
    if not s.config.reuse.prefixes:
        return list(requests)
    pilots = {group.problem.id: group for group in groups}
    rest = [r for r in requests if r.problem.id in pilots]
    new = [r for r in requests if r.problem.id not in pilots]
    rng = random.Random(derive_seed(s.config.seed, "prefixes", s.state.step + 1, len(groups)))
    begun = [replace(r, prefix=pilots[r.problem.id].prefix) for r in rest]
    return begun + s.answers.begun(new, rng)


def update(s: Session, stage: StageConfig, groups: Sequence[Group]) -> Update:
    """Optimizer steps on the groups with a signal; none, and an event, if there are none.

    One, unless the groups are cut into minibatches or trained on in several passes.
    """
    rate = _learning_rate(s, stage)
    config = s.config.optimizer
    parts = [groups[first :: config.minibatches] for first in range(config.minibatches)]
    batches = [(part, data) for part in parts if (data := _training_data(s, stage, part))]
    if not batches:
        s.tell("no_signal", f"step {s.state.step + 1}: no group had a signal; no update")
        return Update(rate)
    clip = Clip(s.config.loss.clip_low, s.config.loss.clip_high)
    norms: list[float] = []
    skipped: list[Group] = []
    gaps: list[float] | None = None
    capped: float | None = None
    if s.config.loss.importance_cap:
        batches, gaps, capped = _corrected(s, groups, batches, clip)
    updates = batches * config.passes
    for part, data in updates:
        logprobs = s.engine.forward_backward(data, clip)
        if gaps is None:  # of later ones they are meant to differ: the policy has moved on
            gaps = gaps_between(data, logprobs)
            check_together(s, groups, gaps)
        norm = s.engine.optim_step(_adam(s, _learning_rate(s, stage)))["grad_norm"]
        if math.isfinite(norm):
            norms.append(norm)
            s.state.policy_version += 1
        else:
            skipped += part
    count_skipped(s, skipped, of_updates=len(updates), made=len(norms))
    finite = [gap for gap in gaps or () if math.isfinite(gap)]
    return Update(
        rate,
        grad_norm=math.fsum(norms) / len(norms) if norms else None,
        logprob_gap=max(finite, default=None),
        mean_logprob_gap=math.fsum(finite) / len(finite) if finite else None,
        skipped=len(updates) - len(norms),
        importance_capped_frac=capped,
    )


def _corrected(
    s: Session, groups: Sequence[Group], batches: Sequence[Batch], clip: Clip
) -> tuple[list[Batch], list[float], float]:
    """The batches with importance weights, all gaps, and the share of tokens at the cap.

    Costs a pass of the trainer over all of them before the first update.
    """
    data = [datum for _, part in batches for datum in part]
    logprobs = s.engine.forward_backward(untrained(data), clip)
    gaps = gaps_between(data, logprobs)
    check_together(s, groups, gaps)
    rows, capped = corrected(data, logprobs, s.config.loss.importance_cap)
    left = iter(rows)
    return [(part, list(islice(left, len(own)))) for part, own in batches], gaps, capped


def _training_data(s: Session, stage: StageConfig, groups: Sequence[Group]) -> list[Datum]:
    """Data of some groups, averaged as the loss has it, with the KL term if it has one."""
    loss = s.config.loss
    terms = None
    if s.reference is not None:
        asked = probes(groups, stage.temperature, loss.average_over)
        rows = s.reference.forward_backward(asked, Clip(loss.clip_low, loss.clip_high))
        terms = kl_terms(asked, rows, loss.kl_weight)
    return training_data(
        groups,
        stage.temperature,
        average=loss.average,
        over=loss.average_over,
        max_tokens=stage.max_completion_tokens,
        kl=terms,
    )


def _adam(s: Session, rate: float) -> Adam:
    config = s.config.optimizer
    return Adam(
        lr=rate,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
    )


def sampling_of(s: Session, stage: StageConfig, *purpose: object) -> Sampling:
    """How a stage draws; the seed is named by what the draw is for."""
    return replace(
        stage_sampling(stage, s.prompter.stop_ids, derive_seed(s.config.seed, *purpose)),
        draft_top_k=0 if s.drafts is None else DRAFT_TOP_K,
        lenience=s.config.reuse.lenience,
    )


def _learning_rate(s: Session, stage: StageConfig) -> float:
    """The stage's rate, after a linear warm-up over the run's first updates."""
    warmup = s.config.optimizer.warmup_steps
    return stage.learning_rate * min(1.0, (s.state.policy_version + 1) / warmup if warmup else 1.0)
