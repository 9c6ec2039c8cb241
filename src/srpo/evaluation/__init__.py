"""Accuracy on held-out problems: the same code before, during and after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from srpo.engines import Engine
from srpo.figures import Evaluation, score_domain
from srpo.prompts import Prompter
from srpo.rollouts import sample_groups
from srpo.types import Group, Problem, Sampling
from srpo.watcher import Watcher

PROBLEMS_AT_ONCE = 64


def evaluate(
    problems: Sequence[Problem],
    samples: int,
    how: Sampling,
    *,
    step: int,
    engine: Engine,
    prompter: Prompter,
    grade: Callable[[Sequence[Group]], list[Group]],
    watcher: Watcher,
) -> Evaluation:
    """`samples` completions of each problem, graded; accuracy by domain and level.

    The weights stay as they are. `how.seed` fixes the draws, so evaluations of different policy
    versions with the same seed differ by the policy alone.
    """
    groups: list[Group] = []
    for first in range(0, len(problems), PROBLEMS_AT_ONCE):
        watcher.phase("evaluating", first, len(problems))
        batch = problems[first : first + PROBLEMS_AT_ONCE]
        drawn = sample_groups(engine, prompter, batch, samples, how, policy_version=step)
        groups += grade(drawn)
    groups.sort(key=lambda group: group.problem.domain)
    scores = {
        domain: score_domain(list(of_domain))
        for domain, of_domain in groupby(groups, key=lambda group: group.problem.domain)
    }
    return Evaluation(step, scores, sum(group.num_tokens for group in groups))
