"""The lines of `srpo plan` on devices, work, hours, and what each of them stands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from srpo.config import Config
from srpo.engines.local.model_shape import ModelShape
from srpo.formats import counted, short
from srpo.planning.cost import (
    Assumptions,
    Cost,
    Devices,
    Rates,
    Work,
    cost_at_rates,
    cost_at_shares,
    devices_needed,
    sampling_flops,
    training_flops,
    work_of,
)
from srpo.planning.memory import GIB
from srpo.planning.plan import StageOutline

HOUR_S, DAY_S = 3600, 86_400
MIB = 2**20


def cost_lines(
    config: Config,
    shape: ModelShape,
    stages: Sequence[StageOutline],
    given: Assumptions,
    rates: Rates | None = None,
) -> Iterator[str]:
    """Devices, work and cost, a line each: by measured rates if there are some, else by assumed."""
    devices = devices_needed(config, shape, given.device_gib)
    yield _devices_line(devices, given.device_gib)
    work = work_of(config, stages, given.length_share)
    yield _work_line(work, given.length_share)
    if rates is not None:
        yield _measured_line(cost_at_rates(work, rates), rates)
        return
    flops = sampling_flops(work, shape), training_flops(work, shape, config)
    cost = cost_at_shares(work, shape, config, given)
    yield _assumed_line(cost, flops, given)
    if devices.count:
        each = (
            "1 device" if devices.count == 1 else f"each of {devices.count} devices, shared evenly"
        )
        yield f"time: {_span(cost.total_s / devices.count)} on {each}, under the same assumptions"


def _devices_line(devices: Devices, device_gib: float) -> str:
    each = f"{_size(devices.each_bytes)} of activations and logits on each"
    asked = f"devices, of {device_gib:g} GiB (--memory):"
    if devices.count is None:
        return f"{asked} no number is enough for a micro-batch: {each}"
    state = f"{_size(devices.state_bytes)} of weights, gradients and moments"
    if devices.count == 1:
        return f"{asked} at least 1 ({state}, {each})"
    return (
        f"{asked} at least {devices.count}, if fully sharded ({state} divided, {each}); srpo has "
        "no engine for more than one yet"
    )


def _work_line(work: Work, length_share: float) -> str:
    lengths = (
        "every completion as long as it may be"
        if length_share == 1
        else f"completions of {length_share:g} of the longest allowed, assumed"
    )
    return (
        f"tokens, at most: {short(work.sampled)} sampled, {short(work.trained)} trained on, "
        f"{short(work.prompts)} of prompts ({lengths}; --length-share)"
    )


def _assumed_line(cost: Cost, flops: tuple[float, float], given: Assumptions) -> str:
    return (
        f"cost, at most: {_hours(cost.total_s)} GPU-hours (sampling {_hours(cost.sampling_s)}, "
        f"{flops[0]:.1e} operations; training {_hours(cost.training_s)}, {flops[1]:.1e}). Rates "
        f"assumed, none measured: {given.sampling_share:g} of a peak of {given.peak_tflops:g} "
        f"TFLOP/s in sampling, {given.training_share:g} in training (--sampling-share, "
        "--peak-tflops, --training-share; 989 is the vendor's for an H100 in bfloat16). "
        "--rates RUN takes those that a run measured"
    )


def _measured_line(cost: Cost, rates: Rates) -> str:
    return (
        f"cost, at most: {_hours(cost.total_s)} hours of the machine of {rates.run}, "
        f"{_span(cost.total_s)} (sampling {_hours(cost.sampling_s)}, training "
        f"{_hours(cost.training_s)}, the rest {_hours(cost.rest_s)}). Rates measured there, on "
        f"{rates.device}, {counted(rates.steps, 'step')}: {short(rates.sampled_per_s)} tokens a "
        f"second sampled, {short(rates.trained_per_s)} trained; completions had "
        f"{rates.length_tokens:,.0f} tokens, and longer ones are slower"
    )


def _size(size_bytes: int) -> str:
    """GiB, or MiB below one."""
    gib = size_bytes / GIB
    return f"{gib:,.0f} GiB" if gib >= 9.95 else f"{gib:.1f} GiB" if gib >= 1 else mib(size_bytes)


def mib(size_bytes: int) -> str:
    """Such as `1,024 MiB`."""
    return f"{size_bytes / MIB:,.0f} MiB"


def _hours(seconds: float) -> str:
    hours = seconds / HOUR_S
    return short(hours) if hours >= 9.95 else f"{hours:.1f}" if hours >= 0.05 else "under 0.1"


def _span(seconds: float) -> str:
    """Such as `13 minutes`, `20 hours`, `161 days`."""
    for size, name in ((DAY_S, "days"), (HOUR_S, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:,.0f} seconds"
