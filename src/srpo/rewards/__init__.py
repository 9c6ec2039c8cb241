"""From completions to verdicts and rewards.

A verifier for each domain (math, code), the form of the completion, and the language it is
written in. docs/rewards.md has the policy.
"""

from srpo.rewards.answers import gold_problem, last_boxed
from srpo.rewards.format import Completion, split_completion
from srpo.rewards.grading import Grader, statement_of
from srpo.rewards.language import mixing_share

__all__ = [
    "Completion",
    "Grader",
    "gold_problem",
    "last_boxed",
    "mixing_share",
    "split_completion",
    "statement_of",
]
