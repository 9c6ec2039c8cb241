"""What `srpo plan` prints: the stages as they will run, memory, and every setting's source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srpo.config import Config
from srpo.config_files import LoadedConfig, settings_of
from srpo.insight.lines import in_steps, short
from srpo.memory import estimate_memory, fitting_tokens, shape_of
from srpo.plan import StageOutline, most_of, outline
from srpo.problem_sets import load_sets

MIB = 2**20


def print_plan(
    loaded: LoadedConfig,
    notes: Sequence[str],
    console: Console | None = None,
    memory_gib: float | None = None,
) -> None:
    """Print the plan of a config, and what fits in so much memory, if it is given.

    Raises `SrpoError` where training would, `ConfigError` if it does not fit.
    """
    console = console or Console(highlight=False)
    config = loaded.config
    sets = load_sets(config)
    for note in [*notes, *sets.notes]:
        console.print(Text(f"* {note}"), soft_wrap=True)
    stages = [outline(stage, sets, config.selection) for stage in config.stage]
    console.print(_stages_table(config, stages))
    for line in _said_of_rounds(config):
        console.print(Text(line), soft_wrap=True)
    held = {name: len(problems) for name, problems in sets.test.items() if problems}
    each = f"; {config.evaluation.samples} samples of each" if held else ""
    console.print(Text(f"held out: {_places(held) or 'none'}{each}"))
    shape = shape_of(config.model.name)
    memory = estimate_memory(config, shape)
    reference = f"reference model {_mib(memory.reference)}; " if memory.reference else ""
    console.print(
        Text(
            f"memory, estimated from shapes: {_mib(memory.peak)} at the peak "
            f"(weights, gradients, Adam and copies {_mib(memory.weights)}; {reference}activations "
            f"{_mib(memory.activations)}; logits {_mib(memory.logits)}; cache while sampling "
            f"{_mib(memory.cache)}); {short(shape.num_weights)} weights"
        ),
        soft_wrap=True,
    )
    if memory_gib is not None:
        fits = fitting_tokens(config, shape, int(memory_gib * 2**30))
        text = f"in {memory_gib:g} GiB: model.micro_batch_tokens up to {fits:,}"
        own = config.model.micro_batch_tokens
        console.print(Text(text + (f" (set to {own:,})" if own > fits else "")), soft_wrap=True)
    console.print()
    console.print(_settings_table(loaded))


def _stages_table(config: Config, stages: Sequence[StageOutline]) -> Table:
    table = _plain_table("stage", "problems", "a step", "an epoch", "steps", "rollouts", "tokens")
    for number, stage in enumerate(stages, start=1):
        most = most_of([stage], config.budget)
        table.add_row(
            f"{number} {stage.name}",
            ", ".join(f"{name} {count}" for name, count in stage.problems.items()),
            f"{_places(stage.places)} x {config.stage[number - 1].group_size} rollouts",
            in_steps(stage.steps_per_epoch),
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
    budget = config.budget
    counts = ((budget.rollouts, "rollouts"), (budget.tokens, "generated tokens"))
    spent = " and ".join(f"{limit:,} {what}" for limit, what in counts if limit)
    if spent:
        yield f"budget: the run ends with the step by which {spent} are spent, if not before"


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


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.0f} MiB"
