"""The texts that the base model is pre-trained on: how a writer with certain habits answers.

A clean writer mostly thinks and makes no mistakes. The base's writer is what RL starts from:
thinking is rare, steps slip now and then, and after thinking about code the constant is usually
copied wrongly. That last habit is the conflict that is built in on purpose: early on, thinking
does not pay for code, so training on a mix of both domains settles on short answers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from srpo.embedded.world import WITHOUT_CONSTANT, Chain, Task, apply, solution_lines
from srpo.types import Domain


@dataclass(frozen=True, slots=True)
class Habits:
    """Probabilities of one domain's writer. All in [0, 1].

    >>> one_step = Task("math", 2, (Chain(5, (("+", 6),)),))
    >>> Habits(thinking=0.85, easy_thinking=0.4).for_task(one_step)
    0.4
    """

    thinking: float  # thinks before answering
    easy_thinking: float | None = None  # but this often where at most one step is to be done
    step_slip: float = 0.0  # a step of the thinking comes out one or two off
    copy_slip: float = 0.0  # after thinking, a constant is written as any digit
    direct_slip: float = 0.0  # without thinking, a digit is written as any digit
    thought_format_slip: float = 0.0  # a thinking answer is badly formed
    direct_format_slip: float = 0.0  # a direct answer is badly formed
    operation_slip: float = 0.0  # a list operation is taken for another

    def for_task(self, task: Task) -> float:
        """Probability of thinking about a task."""
        steps = sum(len(chain.operations) for chain in task.chains)
        return self.thinking if self.easy_thinking is None or steps > 1 else self.easy_thinking


CLEAN: Mapping[Domain, Habits] = {
    "math": Habits(thinking=0.85, easy_thinking=0.4),
    "code": Habits(thinking=0.80, easy_thinking=0.4),
}
BASE: Mapping[Domain, Habits] = {
    "math": Habits(
        thinking=0.08,
        step_slip=0.05,
        direct_slip=0.04,
        thought_format_slip=0.06,
        direct_format_slip=0.0,
    ),
    "code": Habits(
        thinking=0.06,
        step_slip=0.06,
        copy_slip=0.9,
        direct_slip=0.04,
        thought_format_slip=0.25,
        direct_format_slip=0.04,
        operation_slip=0.03,
    ),
}

# Without the conflict between the domains: thinking is as reliable for code as for math.
WITHOUT_CONFLICT: Mapping[Domain, Habits] = {
    "math": BASE["math"],
    "code": replace(
        BASE["code"],
        copy_slip=0.0,
        thought_format_slip=BASE["math"].thought_format_slip,
        direct_format_slip=BASE["math"].direct_format_slip,
    ),
}


def demonstrate(task: Task, habits: Habits, rng: random.Random) -> str:
    """One answer to `task` as a writer with `habits` gives it."""
    thinks = rng.random() < habits.for_task(task)
    if thinks:
        traces = [_think(chain, habits.step_slip, rng) for chain in task.chains]
        thought = ";".join(text for text, _ in traces)
        digits = [_slip(value, habits.copy_slip, rng) for _, value in traces]
    else:
        thought = ""
        digits = [_slip(value, habits.direct_slip, rng) for value in task.values]
    badly = rng.random() < (habits.thought_format_slip if thinks else habits.direct_format_slip)
    if task.domain == "math":
        answer = "\\boxed{" + "".join(map(str, digits)) + "}"
        return (
            _misformat_math(thought, answer, rng) if badly else f"<think>{thought}</think>{answer}"
        )
    program = _program(task, digits, habits, rng)
    if badly:
        return _misformat_code(thought, program, rng)
    return f"<think>{thought}</think>```python\n{program}\n```"


def _think(chain: Chain, slip: float, rng: random.Random) -> tuple[str, int]:
    """The chain worked out loud, and the digit it arrives at."""
    if not chain.operations:
        return str(chain.start), chain.start
    digit, steps = chain.start, []
    for sign, operand in chain.operations:
        after = apply(digit, sign, operand)
        if rng.random() < slip:
            after = (after + rng.choice((-2, -1, 1, 2))) % 10
        steps.append(f"{digit}{sign}{operand}={after}")
        digit = after
    return ";".join(steps), digit


def _slip(digit: int, probability: float, rng: random.Random) -> int:
    return rng.randint(0, 9) if rng.random() < probability else digit


def _program(task: Task, digits: list[int], habits: Habits, rng: random.Random) -> str:
    operations = list(task.operations)
    if rng.random() < habits.operation_slip:
        operations = [
            rng.choice(list(WITHOUT_CONSTANT)) if name in WITHOUT_CONSTANT else name
            for name in operations
        ]
    return "\n".join(solution_lines(operations, task.returns, digits))


def _misformat_math(thought: str, answer: str, rng: random.Random) -> str:
    bare = answer.removeprefix("\\boxed{").removesuffix("}")
    return rng.choice(
        (
            f"<think>{thought}{answer}",
            f"<think>{thought}</think>The counter shows {bare}.",
            f"<think>{thought}</think>{answer.removesuffix('}')}",
        )
    )


def _misformat_code(thought: str, program: str, rng: random.Random) -> str:
    return rng.choice(
        (
            f"<think>{thought}</think>{program}",
            f"<think>{thought}</think>```python\n{program}\n",
            f"<think>{thought}```python\n{program}\n```",
        )
    )
