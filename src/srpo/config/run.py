"""How long a run goes on, when it looks at held-out problems, what it saves, when it gives up."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from srpo.config.base import LEAST_TEMPERATURE, NotNegative, Positive, Section


class BudgetConfig(Section):
    """The run ends when all that is given here is spent; evaluation is not counted."""

    rollouts: NotNegative = Field(0, description="rollouts drawn for training; 0: not counted")
    tokens: NotNegative = Field(0, description="tokens generated in training; 0: not counted")


class EvaluationConfig(Section):
    """Accuracy on held-out problems: test before and after training, validation along the way."""

    samples: NotNegative = Field(
        2, description="completions drawn of each problem; 0: no evaluation"
    )
    temperature: float = Field(1.0, ge=0, description="of sampling; 0: greedy")
    every_steps: NotNegative = Field(0, description="also evaluate every so many steps; 0: off")
    every_tokens: NotNegative = Field(
        0, description="also evaluate after every so many tokens generated in training; 0: off"
    )
    test: Literal["first-and-last", "last", "at-token-budget", "never"] = Field(
        "first-and-last", description="when the test problems are read: before training and after"
    )

    @model_validator(mode="after")
    def _warm_or_greedy(self) -> Self:
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise ValueError(
                f"temperature is {self.temperature:g}; it must be 0 (greedy) or at least "
                f"{LEAST_TEMPERATURE:g}"
            )
        return self


class ProbeConfig(Section):
    """A look before a run begins: is there anything to learn, and what would waste it? Ours."""

    problems: NotNegative = Field(
        8, description="of each set, a group of rollouts each, drawn before the run; 0: no probe"
    )


class CheckpointConfig(Section):
    """When a checkpoint is written, and how many stay."""

    every_steps: NotNegative = Field(20, description="0: only at the end and when interrupted")
    keep_last: Positive = Field(2, description="older checkpoints are removed")
    keep_every: NotNegative = Field(
        0, description="but not those of every so many steps; 0: none of them stays"
    )


class HealthConfig(Section):
    """When numbers are so wrong that a run stops rather than going on. Ours."""

    max_logprob_gap: float = Field(
        0.1,
        ge=0.0,
        description="mean difference of a trained token's logprob between sampler and trainer, "
        "in nats; above it the run stops; 0: never",
    )
