"""The next resampling for a person, before it happens."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from srpo.config import Config
from srpo.formats import short
from srpo.history import EpochSoFar, Forecast, Ledger, SetSoFar, forecast
from srpo.insight.ledger_view import table_of
from srpo.selection import RULES
from srpo.selection.shares import places


def print_preview(ledger: Ledger, config: Config, console: Console | None = None) -> None:
    """What history resampling would do to every set of the stage if its epoch ended now."""
    console = console or Console(highlight=False)
    epoch = ledger.newest_epoch()
    if epoch is None:
        console.print(
            Text("No step has been recorded yet, so there is nothing to look ahead from.")
        )
        return
    sets = sets_of(epoch, config)
    told = forecasts(sets, epoch.stage, config)
    console.print(Text(f"Epoch {epoch.epoch}, stage {epoch.stage}, after step {epoch.last_step}."))
    console.print(Text(rule_text(config.selection.rule)), soft_wrap=True)
    if epoch.resampled:
        console.print(Text("This epoch has ended and was resampled; the next has not begun."))
        return
    console.print()
    numbers = ("in play", "drawn", "drops", "come back", "tokens", "saved")
    table = table_of((), ("set",), numbers)
    for so_far, of_set in zip(sets, told, strict=True):
        counts = (so_far.in_play, so_far.drawn, of_set.drops, of_set.comes_back)
        spent = (short(so_far.tokens), short(of_set.saved_tokens))
        table.add_row(so_far.set_name, *(f"{count:,}" for count in counts), *spent)
    console.print(table)
    console.print()
    console.print(Text(summary(sets, told)), soft_wrap=True)
    if epoch.shared and len(sets) > 1:
        text = f"{epoch.shared:,} problems of the run are in several sets and count in each."
        console.print(Text(text), soft_wrap=True)


def rule_text(rule: str) -> str:
    """What the run's own rule makes of it, in one sentence.

    >>> rule_text("uniform").startswith("The run's rule is uniform: resampling is off")
    True
    """
    if rule == "resampling":
        return "The run's rule is resampling: this is what the end of the epoch will do."
    if not RULES[rule].takes_out:
        return (
            f"The run's rule is {rule}: resampling is off and nothing is dropped. This is what "
            "resampling would do."
        )
    return (
        f"The run's rule is {rule}, which decides in its own way. This is what resampling would do."
    )


def sets_of(epoch: EpochSoFar, config: Config) -> list[SetSoFar]:
    """The sets that the epoch's stage draws from."""
    drawn = config.stage[epoch.stage - 1].drawn
    return [so_far for so_far in epoch.sets if so_far.set_name in drawn]


def forecasts(sets: Sequence[SetSoFar], stage: int, config: Config) -> list[Forecast]:
    """The forecast of every set, with the floor that selection would give it."""
    settings = config.stage[stage - 1]
    shares = places(settings.drawn, settings.problems_per_step)
    floor = config.selection.floor
    return [forecast(so_far, floor or shares[so_far.set_name]) for so_far in sets]


def summary(sets: Sequence[SetSoFar], told: Sequence[Forecast]) -> str:
    """All sets together, in one sentence.

    >>> math = SetSoFar("math", 100, dropped=0, drawn=100, all_correct=25, tokens=1_000,
    ...     solved_tokens=200)
    >>> summary([math], [forecast(math, floor=1)])[:50]
    'It drops 25 of 100, saves about 20 % of tokens (an'
    """
    drops, in_play = sum(t.drops for t in told), sum(t.in_play for t in told)
    tokens, saved = sum(s.tokens for s in sets), sum(t.saved_tokens for t in told)
    drawn, back = sum(s.drawn for s in sets), sum(t.comes_back for t in told)
    share = f"about {100 * saved / tokens:.0f} %" if tokens else "nothing"
    text = (
        f"It drops {drops:,} of {in_play:,}, saves {share} of tokens (an estimate: what these "
        f"problems took of the {short(tokens)} tokens generated in this epoch)."
    )
    if drawn < in_play:
        text += f" So far {drawn:,} of {in_play:,} were drawn in it; the rest would stay."
    if back:
        text += f" {back:,} come back, because their set would fall below its floor."
    return text
