"""What `srpo plan` prints: stages as they will run, memory, cost, and every setting's source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srpo.config import Config
from srpo.config.files import LoadedConfig, settings_of
from srpo.engines.local.model_shape import ModelShape
from srpo.formats import budget_text, counted, short
from srpo.insight.cost_view import cost_lines, mib
from srpo.planning.cost import Assumptions, read_rates
from srpo.planning.known_models import context_for_planning, shape_for_planning
from srpo.planning.memory import GIB, MemoryEstimate, estimate_memory, fitting_tokens
from srpo.planning.plan import StageOutline, count_problems, most_of, outline
from srpo.run.probing import check_rates
from srpo.run.problem_sets import room_for_prompts
from srpo.selection import RULES


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a plan besides the config.

    >>> Question(memory_gib=24.0).assumed
    {}
    """

    memory_gib: float | None = None  # what fits in it?
    assumed: Mapping[str, int] = field(default_factory=dict)  # set -> problems, if files lack
    assumptions: Assumptions = field(default_factory=Assumptions)
    rates: Path | None = None  # a run directory whose rates are taken


def print_plan(
    loaded: LoadedConfig,
    notes: Sequence[str],
    console: Console | None = None,
    question: Question | None = None,
) -> None:
    """Print the plan of a config: its stages, memory, cost, settings, and what fits.

    Problem files that are not here, and a well-known model that cannot be read, are assumed and
    said to be. Raises `SrpoError` where training would for anything else, `ConfigError` if it
    does not fit in the memory that is asked about.
    """
    console = console or Console(highlight=False)
    question = question or Question()
    config = loaded.config
    check_rates(config)
    counts = count_problems(config, question.assumed)
    shape, said_of_shape = shape_for_planning(config.model.name)
    context = list(_said_of_context(config))
    _check_path(config, shape)
    rates = read_rates(question.rates, shape) if question.rates else None

    def say(*lines: str) -> None:
        for line in lines:
            console.print(Text(line), soft_wrap=True)

    say(*(f"* {note}" for note in [*notes, *counts.notes, said_of_shape] if note))
    stages = [outline(stage, counts.train, config.selection) for stage in config.stage]
    console.print(_stages_table(config, stages))
    say(*_said_of_rounds(config), *_said_of_epochs(config, stages), *context)
    held = {name: count for name, count in counts.test.items() if count}
    each = f"; {config.evaluation.samples} samples of each" if held else ""
    say(f"held out: {_places(held) or 'none'}{each}")
    say(_memory_line(estimate_memory(config, shape), shape))
    say(*cost_lines(config, shape, stages, question.assumptions, rates))
    if question.memory_gib is not None:
        fits = fitting_tokens(config, shape, int(question.memory_gib * GIB))
        text = f"in {question.memory_gib:g} GiB: model.micro_batch_tokens up to {fits:,}"
        own = config.model.micro_batch_tokens
        say(text + (f" (set to {own:,})" if own > fits else ""))
    console.print()
    console.print(_settings_table(loaded))


def _check_path(config: Config, shape: ModelShape) -> None:
    """Raise `ModelError` for what only models that srpo computes itself have."""
    if shape.plain_kept:
        from srpo.engines.local.shapes import check_plain

        check_plain(config, shape.model_type, takes_adapters=shape.takes_adapters)


def _memory_line(memory: MemoryEstimate, shape: ModelShape) -> str:
    reference = f"reference model {mib(memory.reference)}; " if memory.reference else ""
    return (
        f"memory, estimated from shapes: {mib(memory.peak)} at the peak on one device, which is "
        f"all that srpo's own engine runs on (weights, gradients, Adam and copies "
        f"{mib(memory.weights)}; {reference}activations {mib(memory.activations)}; logits "
        f"{mib(memory.logits)}; cache while sampling {mib(memory.cache)}); "
        f"{short(shape.num_weights)} weights"
    )


def _stages_table(config: Config, stages: Sequence[StageOutline]) -> Table:
    table = _plain_table("stage", "problems", "a step", "an epoch", "steps", "rollouts", "tokens")
    for number, stage in enumerate(stages, start=1):
        most = most_of([stage], config.budget)
        table.add_row(
            f"{number} {stage.name}",
            ", ".join(f"{name} {count}" for name, count in stage.problems.items()),
            f"{_places(stage.places)} x {config.stage[number - 1].group_size} rollouts",
            counted(stage.steps_per_epoch, "step"),
            f"<= {stage.steps}",
            f"<= {short(most.rollouts)}",
            f"<= {short(most.tokens)}",
        )
    most = most_of(stages, config.budget)
    steps = sum(stage.steps for stage in stages)
    table.add_row(
        "all", "", "", "", f"<= {steps}", f"<= {short(most.rollouts)}", f"<= {short(most.tokens)}"
    )
    return table


def _said_of_rounds(config: Config) -> Iterator[str]:
    """What the table's bounds depend on besides the stages."""
    if config.selection.refills:
        yield (
            f"refills: up to {config.selection.refills} a step, in place of groups all correct or "
            "all wrong; the bounds have every one of them"
        )
    spent = budget_text(config.budget.rollouts, config.budget.tokens)
    if spent:
        yield f"budget: the run ends with the step by which {spent} are spent, if not before"


def _said_of_epochs(config: Config, stages: Sequence[StageOutline]) -> Iterator[str]:
    """The stages that end before a rule that decides after whole passes has decided anything."""
    rule = config.selection.rule
    waits = RULES[rule].takes_out and RULES[rule].passes
    for number, stage in enumerate(stages, start=1):
        if waits and stage.steps < stage.steps_per_epoch:
            yield (
                f"stage {number} ends within its first epoch of "
                f"{counted(stage.steps_per_epoch, 'step')}: "
                f"{rule} decides nothing in it; give it more steps, or fewer problems"
            )


def _said_of_context(config: Config) -> Iterator[str]:
    """The stages whose prompts the model leaves less room than they are allowed.

    Raises `ConfigError` if it leaves none.
    """
    tokens = context_for_planning(config.model.name)
    if tokens is None:
        return
    for number, stage in enumerate(config.stage, start=1):
        room = room_for_prompts(config, number, tokens)
        if room < stage.max_prompt_tokens:
            yield (
                f"stage {number} can have prompts of {room:,} tokens at most, not "
                f"{stage.max_prompt_tokens:,}: the model is made for {tokens:,} with the "
                "completion; training refuses longer ones"
            )


def _settings_table(loaded: LoadedConfig) -> Table:
    table = _plain_table()
    table.add_column("setting", no_wrap=True)  # so that it can be copied to a --set
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True)
    for name, value in settings_of(loaded.config).items():
        table.add_row(name, _shown(value), loaded.sources[name])
    return table


def _plain_table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _places(counts: dict[str, int]) -> str:
    return " + ".join(f"{count} {name}" for name, count in counts.items())


def _shown(value: object) -> str:
    return "not set" if value is None else repr(value) if isinstance(value, str) else str(value)
