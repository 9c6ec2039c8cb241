"""When a run reads its held-out problems: before training, along the way, at its budget, after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from srpo.evaluation import evaluate
from srpo.rollouts import derive_seed, sample_groups
from srpo.run.figures import evaluation_row
from srpo.run.session import Session
from srpo.schedule import crosses
from srpo.types import Group, Problem, Sampling, Split


def evaluate_first(s: Session) -> None:
    """Before the first step; what a killed run has read already is not read again."""
    if s.config.evaluation.test == "first-and-last":
        _evaluate(s, "test")
    if _watches(s):
        _evaluate(s, "validation")


def evaluate_as_due(s: Session) -> None:
    """As a run goes on: what was due after its last step, if a signal came before it was made."""
    last = next((row for row in s.run.read_metrics() if row["step"] == s.state.step), None)
    if last is not None:
        evaluate_along_the_way(s, int(last["tokens/step"] or 0))


def evaluate_along_the_way(s: Session, step_tokens: int) -> None:
    """After a step that generated so many tokens: what is due by steps, tokens, or the budget."""
    how, now = s.config.evaluation, s.state.total_tokens
    before = now - step_tokens
    by_steps = how.every_steps > 0 and s.state.step % how.every_steps == 0
    if by_steps or crosses(before, now, how.every_tokens):
        if s.sets.held_out("validation"):
            _evaluate(s, "validation")
        elif how.test == "first-and-last":
            _evaluate(s, "test")
    if how.test == "at-token-budget" and before < s.config.budget.tokens <= now:
        _evaluate(s, "test")


def evaluate_last(s: Session) -> None:
    """After the last step. A run whose token budget was never seen to be spent reads the test now.

    It may have ended before, or its budget was made smaller than what it had spent.
    """
    if _watches(s):
        _evaluate(s, "validation")
    test = s.config.evaluation.test
    read = any(row["split"] == "test" for row in s.run.read_evaluations())
    if test in ("first-and-last", "last") or (test == "at-token-budget" and not read):
        _evaluate(s, "test")


def _watches(s: Session) -> bool:
    how = s.config.evaluation
    return bool(how.every_steps or how.every_tokens) and bool(s.sets.held_out("validation"))


def _evaluate(s: Session, split: Split) -> None:
    """Held-out accuracy of the weights as they are now, always with the same draws.

    Not if this split was read at this step already: it would come to the same.
    """
    problems = s.sets.held_out(split)
    how = s.config.evaluation
    rows = s.run.read_evaluations()
    s.state.num_evaluations = len(rows)  # a run that was killed has made some of them already
    read = {(row["split"], row["step"]) for row in rows}
    if not problems or not how.samples or (split, s.state.step) in read:
        return
    sampling = Sampling(
        max_tokens=s.config.stage[-1].max_completion_tokens,
        stop_ids=s.prompter.stop_ids,
        seed=derive_seed(s.config.seed, "evaluation"),
        temperature=how.temperature,
    )

    def draw(some: Sequence[Problem]) -> list[Group]:
        with s.while_drawing():
            return sample_groups(
                s.engine,
                s.prompter,
                some,
                how.samples,
                sampling,
                policy_version=s.state.policy_version,
            )

    evaluation = evaluate(
        problems,
        s.state.step,
        draw=draw,
        grade=lambda groups: s.grade(groups, s.config.stage[-1]),
        watcher=s.watcher,
    )
    evaluation = replace(
        evaluation,
        split=split,
        rollouts_spent=s.state.total_rollouts,
        tokens_spent=s.state.total_tokens,
    )
    s.run.append_evaluation(evaluation_row(evaluation))
    s.state.num_evaluations += 1
    s.watcher.evaluated(evaluation)
