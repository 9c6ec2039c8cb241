"""What a plan costs: devices, floating-point work, and time by measured or by assumed rates.

All of it is at most or at least, from a model's shape and a config: nothing here was measured but
what `read_rates` takes from a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srpo.config import Config
from srpo.engines.local.model_shape import ModelShape
from srpo.errors import ConfigError
from srpo.planning.memory import GIB, micro_batch_bytes, sharded_bytes
from srpo.planning.plan import StageOutline, most_of
from srpo.rundir import RunDirectory

TERA = 1e12
LEAST = 0.0001  # of whatever is assumed: less is a slip of the pen
MOST_GIB = MOST_TFLOPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a cost stands on where nothing was measured; each can be given on the command line.

    The peak is that of an H100 in bfloat16, dense, as its vendor publishes it. The shares of it
    that training and sampling reach are ours, and measured nowhere; sampling's is the lower one,
    since it waits for memory more than it computes. Raises `ConfigError` for numbers that no
    device or run can have.
    """

    device_gib: float = 80.0
    peak_tflops: float = 989.0
    training_share: float = 0.4
    sampling_share: float = 0.1
    length_share: float = 1.0  # mean length of a completion, as a share of the longest allowed

    def __post_init__(self) -> None:
        for flag, value, most in (
            ("--memory", self.device_gib, MOST_GIB),
            ("--peak-tflops", self.peak_tflops, MOST_TFLOPS),
            ("--training-share", self.training_share, 1),
            ("--sampling-share", self.sampling_share, 1),
            ("--length-share", self.length_share, 1),
        ):
            if not LEAST <= value <= most:
                what = "share" if most == 1 else "number"
                raise ConfigError(f"{flag} {value:g}: give a {what} from {LEAST:g} to {most:,}")


@dataclass(frozen=True, slots=True)
class Work:
    """What a run computes, at most. Evaluation, the probe and grading are not in it.

    >>> Work(rollouts=8, sampled=800, trained=800, prompts=100, context=150.0).sampled
    800
    """

    rollouts: int
    sampled: int  # generated tokens
    trained: int  # generated tokens in all passes of training
    prompts: int  # tokens of prompts, each computed once for its whole group
    context: float  # mean number of tokens that a token looks back on


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one device, or of the machine that the rates are of."""

    sampling_s: float
    training_s: float
    rest_s: float = 0.0  # grading, recording: known only where it was measured

    @property
    def total_s(self) -> float:
        """All three, one after the other."""
        return self.sampling_s + self.training_s + self.rest_s


@dataclass(frozen=True, slots=True)
class Devices:
    """How many devices a fully sharded trainer needs at least; None: no number is enough.

    Sharded are weights, gradients and moments (`state_bytes`, 16 bytes a weight in float32); on
    each device lie the activations and logits of one micro-batch. The sampler's weights and cache
    are thought away, and so is what is gathered and sent: hence at least.
    """

    count: int | None
    state_bytes: int
    each_bytes: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What a run measured, over all of its steps."""

    run: str
    steps: int
    device: str
    sampled_per_s: float  # generated tokens for each second of sampling
    trained_per_s: float  # tokens that became gradient for each second of updating
    rest_s: float  # all other seconds of a step, for each rollout
    length_tokens: float  # mean length of its completions


def work_of(config: Config, stages: Sequence[StageOutline], length_share: float = 1.0) -> Work:
    """The work of a whole run, its budget considered; completions as long as `length_share` says.

    Every prompt is taken as long as it may be, every generated token as trained on in every pass
    (groups without a signal are left out of a real update), with `loss.subset` only that share.
    """
    most = most_of(stages, config.budget)
    rollouts = sum(stage.rollouts for stage in stages)
    tokens = sum(stage.tokens for stage in stages)
    sampled = min(most.tokens, math.ceil(tokens * length_share * most.rollouts / rollouts))
    prompts = trained_frac = context = 0.0
    for stage, outline in zip(config.stage, stages, strict=True):
        part = outline.tokens / tokens
        prompts += outline.rollouts / stage.group_size * stage.max_prompt_tokens
        trained_frac += part * (config.loss.subset or stage.group_size) / stage.group_size
        mean_completion = stage.max_completion_tokens * length_share
        context += part * (stage.max_prompt_tokens + mean_completion / 2)
    return Work(
        rollouts=most.rollouts,
        sampled=sampled,
        trained=math.ceil(sampled * trained_frac * config.optimizer.passes),
        prompts=math.ceil(prompts * most.rollouts / rollouts),
        context=context,
    )


def forward_flops(shape: ModelShape, context: float) -> float:
    """Floating-point operations of one token's forward pass.

    Two for each weight, and for each layer and token looked back on four times the width: a
    product with its key and one with its value. An embedding that is no head is counted as if it
    were multiplied.
    """
    return 2.0 * shape.num_weights + 4.0 * shape.num_layers * shape.width * context


def sampling_flops(work: Work, shape: ModelShape) -> float:
    """One forward pass for every generated token and every token of a prompt."""
    return (work.sampled + work.prompts) * forward_flops(shape, work.context)


def training_flops(work: Work, shape: ModelShape, config: Config) -> float:
    """Forward passes, and backward ones at twice the work: 6 operations a weight and token.

    Once more forward with gradient checkpointing: 8. Adapters need no gradient of the weights
    that are frozen: once less. A KL term has the reference's forward pass once, and importance
    weights the policy's once before the first update; compiled ones have a backward pass as well.
    """
    times = 2 if config.model.lora_rank else 3
    times += config.model.gradient_checkpointing
    passes = config.optimizer.passes
    trained = work.trained + work.prompts * passes
    untrained = bool(config.loss.kl_weight) + bool(config.loss.importance_cap)
    looks = untrained * (times if config.model.compile else 1) / passes
    return trained * (times + looks) * forward_flops(shape, work.context)


def cost_at_shares(work: Work, shape: ModelShape, config: Config, given: Assumptions) -> Cost:
    """Device-seconds if sampling and training reach the assumed shares of the assumed peak."""
    peak = given.peak_tflops * TERA
    return Cost(
        sampling_s=sampling_flops(work, shape) / (peak * given.sampling_share),
        training_s=training_flops(work, shape, config) / (peak * given.training_share),
    )


def cost_at_rates(work: Work, rates: Rates) -> Cost:
    """Seconds of the machine that the rates were measured on.

    Rates are those of that run's lengths and batches: longer completions look back on more.
    """
    return Cost(
        sampling_s=work.sampled / rates.sampled_per_s,
        training_s=work.trained / rates.trained_per_s,
        rest_s=work.rollouts * rates.rest_s,
    )


def devices_needed(config: Config, shape: ModelShape, device_gib: float) -> Devices:
    """The fewest devices of so many GiB for a fully sharded trainer, as `Devices` says."""
    each = micro_batch_bytes(config, shape)
    state = sharded_bytes(config, shape)
    room = device_gib * GIB - each
    return Devices(math.ceil(state / room) if room > 0 else None, state, each)


def read_rates(root: Path, shape: ModelShape) -> Rates:
    """The rates that a run of the same model measured, over all of its steps.

    Raises `RunDirectoryError` if `root` is not a run directory, `ConfigError` if its model has
    another number of weights, or if it has no step that trained on something.
    """
    run = RunDirectory.open(root)
    environment = run.read_environment()
    weights = environment.get("weights")
    if weights != shape.num_weights:
        raise ConfigError(
            f"--rates {root}: a run of another model ({weights} weights, and {shape.num_weights} "
            "here); give a run of the same model"
        )
    metrics = {int(row["step"] or 0): row for row in run.read_metrics()}
    times = run.read_seconds()
    both = [step for step in metrics if step in times]

    def tokens(name: str) -> float:
        return math.fsum(metrics[step].get(name) or 0.0 for step in both)

    def seconds(name: str) -> float:
        return math.fsum(times[step].get(name, 0.0) for step in both)

    sampling, updating = seconds("sampling"), seconds("updating")
    sampled, trained = tokens("tokens/step"), tokens("fate/gradient_tokens")
    if not min(sampling, updating, sampled, trained) > 0:
        raise ConfigError(f"--rates {root}: no step of it trained on anything; give another run")
    whole = math.fsum(value for step in both for value in times[step].values())
    rollouts = math.fsum(
        count or 0.0
        for step in both
        for name, count in metrics[step].items()
        if name.startswith("verdict/")
    )
    return Rates(
        run=str(root),
        steps=len(both),
        device=str(environment.get("device", "unknown device")),
        sampled_per_s=sampled / sampling,
        trained_per_s=trained / updating,
        rest_s=max(0.0, whole - sampling - updating) / rollouts,
        length_tokens=sampled / rollouts,
    )
