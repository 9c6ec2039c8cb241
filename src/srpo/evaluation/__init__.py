"""Accuracy on held-out problems: the same code before, during and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from srpo.run.figures import Evaluation, score_domain
from srpo.run.watcher import Watcher
from srpo.types import Group, Problem

PROBLEMS_AT_ONCE = 64


def evaluate(
    problems: Sequence[Problem],
    step: int,
    *,
    draw: Callable[[Sequence[Problem]], list[Group]],
    grade: Callable[[Sequence[Group]], list[Group]],
    watcher: Watcher,
) -> Evaluation:
    """Completions of each problem, drawn and graded; accuracy by domain and level.

    The weights stay as they are. If `draw` has a fixed seed, evaluations of different policy
    versions differ by the policy alone.
    """
    groups: list[Group] = []
    for first in range(0, len(problems), PROBLEMS_AT_ONCE):
        watcher.phase("evaluating", first, len(problems))
        groups += grade(draw(problems[first : first + PROBLEMS_AT_ONCE]))
    groups.sort(key=lambda group: group.problem.domain)
    scores = {
        domain: score_domain(list(of_domain))
        for domain, of_domain in groupby(groups, key=lambda group: group.problem.domain)
    }
    return Evaluation(step, scores, sum(group.num_tokens for group in groups))
