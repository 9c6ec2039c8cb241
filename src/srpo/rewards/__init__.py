"""From completions to verdicts and rewards; usable on its own, without torch.

A verifier for each domain (math, code), the form of the completion, and the language it is
written in. docs/rewards.md has the policy. `Judge` and `judge_rows` are what `srpo judge` uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srpo.rewards.code.output import same_stdout
    from srpo.rewards.code.text import extract_program
    from srpo.rewards.code.values import same_value
    from srpo.rewards.format import Completion, split_completion
    from srpo.rewards.grading import Grader, make_sandbox, statement_of
    from srpo.rewards.judge import Judge, Judged, judge_rows
    from srpo.rewards.language import mixing_share
    from srpo.rewards.math.answers import gold_problem, last_boxed
    from srpo.rewards.overlong import overlong_penalty

__all__ = [
    "Completion",
    "Grader",
    "Judge",
    "Judged",
    "extract_program",
    "gold_problem",
    "judge_rows",
    "last_boxed",
    "make_sandbox",
    "mixing_share",
    "overlong_penalty",
    "same_stdout",
    "same_value",
    "split_completion",
    "statement_of",
]

_HOMES = {
    "math.answers": ("gold_problem", "last_boxed"),
    "code.output": ("same_stdout",),
    "code.text": ("extract_program",),
    "code.values": ("same_value",),
    "format": ("Completion", "split_completion"),
    "grading": ("Grader", "make_sandbox", "statement_of"),
    "judge": ("Judge", "Judged", "judge_rows"),
    "language": ("mixing_share",),
    "overlong": ("overlong_penalty",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a part only when it is asked for, so that each can be used without the others."""
    if name in _HOME_OF:
        return getattr(import_module(f"srpo.rewards.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'srpo.rewards' has no attribute {name!r}")
