"""Settings of the method: the loss, the optimizer, which problems come next, what is used again."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from srpo.config.base import NotNegative, Positive, Section


class LossConfig(Section):
    """GRPO's clipped objective: advantages, averaging, clip range, and what is left out."""

    clip_low: float = Field(0.20, gt=0, lt=1, description="ratio may fall to 1 - clip_low (ours)")
    clip_high: float = Field(0.28, gt=0, description="ratio may rise to 1 + clip_high (ours)")
    scale_by_std: bool = Field(
        True, description="advantages are divided by the group's spread (GRPO; Dr. GRPO does not)"
    )
    average: Literal["token", "answer", "constant"] = Field(
        "token",
        description="mean over all tokens (the paper), over answers, or by max_completion_tokens",
    )
    average_over: Literal["all", "mixed"] = Field(
        "all",
        description="groups trained on and averaged over: all, or those neither all correct nor "
        "all wrong (DAPO)",
    )
    kl_weight: float = Field(
        0.0, ge=0, description="of the distance from the first weights, token by token (0: none)"
    )
    importance_cap: float = Field(
        0.0,
        ge=0,
        description="weigh tokens by trainer over sampler probability, at most this; 0: off (ours)",
    )
    subset: NotNegative = Field(
        0, description="train on so many rollouts of a group, the most varied (PODS); 0: on all"
    )
    mask_truncated: bool = Field(
        True, description='truncated answers get advantage zero, unless reward.overlong is "soft"'
    )
    count_truncated: bool = Field(
        True, description="truncated answers count in the group's mean and spread (ours)"
    )

    @model_validator(mode="after")
    def _subset_of_two(self) -> Self:
        if self.subset == 1:
            raise ValueError("subset must be 0 or at least 2: one rollout has no advantage")
        if 0 < self.importance_cap < 1:
            raise ValueError(
                f"importance_cap is {self.importance_cap:g}; it must be 0 or at least 1, or even "
                "tokens on which sampler and trainer agree would be cut"
            )
        return self


class OptimizerConfig(Section):
    """AdamW."""

    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the first moment")
    beta2: float = Field(0.95, ge=0, lt=1, description="decay of the second moment")
    eps: float = Field(1e-8, gt=0, description="added to the second moment's root")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    max_grad_norm: float = Field(1.0, ge=0, description="gradient norm is clipped to it; 0: off")
    warmup_steps: NotNegative = Field(0, description="linear warm-up, once, over the first updates")
    minibatches: Positive = Field(
        1, description="a step's groups are cut into so many parts, one update each (ours: 1)"
    )
    passes: Positive = Field(1, description="times that a step's rollouts are trained on (ours: 1)")
    moments: Literal["float32", "8bit"] = Field(
        "float32", description="precision of the two moments; 8bit needs srpo[quantized]"
    )


class SelectionConfig(Section):
    """Which problems come next, and with how many rollouts (docs/selection.md)."""

    rule: Literal["uniform", "resampling", "mopps", "dps", "soft-drop", "spaced"] = Field(
        "resampling", description="resampling is the paper's: drop what every rollout solved"
    )
    history: str = Field(
        "", description="another run directory: begin with what its ledger knows of the problems"
    )
    shares: Literal["declared", "in-play"] = Field(
        "declared", description="sets share a step as declared, or by what each has left in play"
    )
    floor: NotNegative = Field(
        0, description="a set's pool never falls below this; 0: one step's share of the set"
    )
    idle_epochs: Positive = Field(
        3, description="a stage ends after so many whole epochs without any signal"
    )
    refills: NotNegative = Field(
        0, description="draws in place of groups all correct or all wrong, at most (DAPO); 0: none"
    )
    pilot: NotNegative = Field(
        0, description="rollouts drawn first; the rest of the group only where it may pay; 0: all"
    )
    pilot_chance: float = Field(
        0.25, ge=0, le=1, description="the rest is drawn if it makes the group mixed so probably"
    )
    longest_rest: Positive = Field(
        8, description="epochs that spaced lets a solved problem rest, at most"
    )


class ReuseConfig(Section):
    """What earlier rollouts are used for once more."""

    drafts: bool = Field(
        False, description="start from a problem's last rollouts, verified token by token (SPEC-RL)"
    )
    lenience: float = Field(
        1.0, ge=1, description="1: an exact sample of the policy; above: more is kept, with a bias"
    )
    prefixes: bool = Field(
        False, description="unsolved problems start from part of an own correct answer (PrefixRL)"
    )
