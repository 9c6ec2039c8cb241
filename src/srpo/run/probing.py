"""A probe before anything is trained: some groups are drawn and graded as in the first steps.

What would waste a run is named with what to change, and a run in which nothing could be learned
does not begin. Ours; the traps are those that the trainers of base models fell into.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from srpo.batching import with_stage_advantages
from srpo.config import Config, StageConfig
from srpo.errors import ConfigError
from srpo.formats import counted
from srpo.rollouts import derive_seed
from srpo.run.figures import count_outcomes, count_verdicts, domain_figures
from srpo.run.problem_sets import ProblemSets
from srpo.types import Group, Outcome, Problem, Verdict

MANY = 0.5  # of the completions: no longer an exception
SOME = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """What one set of problems is probed with: the first stage that trains on it."""

    set_name: str
    number: int  # of the stage, from 1
    stage: StageConfig
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Probed:
    """A part, and what was drawn for it: graded, with advantages."""

    part: Part
    groups: tuple[Group, ...]


Draw = Callable[[Part, int], Sequence[Group]]  # a part and a seed -> graded groups


def parts_of(config: Config, sets: ProblemSets) -> list[Part]:
    """So many problems of each set as `probe.problems` says, drawn by the run's seed."""
    parts: dict[str, Part] = {}
    for number, stage in enumerate(config.stage, start=1):
        for name in stage.drawn:
            if name not in parts:
                rng = random.Random(derive_seed(config.seed, "probe", name))
                problems = sets.by_name[name].train
                drawn = tuple(rng.sample(problems, min(config.probe.problems, len(problems))))
                parts[name] = Part(name, number, stage, drawn)
    return list(parts.values())


def probe(config: Config, sets: ProblemSets, draw: Draw) -> list[Probed]:
    """Draw for every set, and give the advantages that training would have. Empty: not wanted."""
    if not config.probe.problems:
        return []
    probed = []
    for part in parts_of(config, sets):
        groups = draw(part, derive_seed(config.seed, "probe", "draw", part.set_name))
        graded = (with_stage_advantages(config.loss, part.stage, group) for group in groups)
        probed.append(Probed(part, tuple(graded)))
    return probed


def check_rates(config: Config) -> None:
    """Raise `ConfigError` if no stage would change a weight."""
    if not any(stage.learning_rate for stage in config.stage):
        raise ConfigError(
            "learning_rate is 0 in every stage, so that nothing can be learned; set "
            "every_stage.learning_rate above 0"
        )


def facts_of_probe(
    probed: Sequence[Probed], stops: str, *, opens_thinking: bool = False
) -> dict[str, object]:
    """What environment.json keeps of it: tokens by domain, and what was said.

    Raises `ConfigError` as `findings` does.
    """
    tokens: dict[str, int] = {}
    for group in (group for each in probed for group in each.groups):
        domain = group.problem.domain
        tokens[domain] = tokens.get(domain, 0) + group.num_tokens
    return {"tokens": tokens, "said": list(findings(probed, stops, opens_thinking=opens_thinking))}


def findings(
    probed: Sequence[Probed], stops: str, *, opens_thinking: bool = False
) -> Iterator[str]:
    """A sentence on each set, and one on each thing to change.

    `stops`: tokens that end an answer; `opens_thinking`: prompts end with <think>. Raises
    `ConfigError` if not one group of any set had a signal.
    """
    for each in probed:
        yield _summary(each)
    warned = [text for each in probed for text in _warnings(each, stops, opens_thinking)]
    if probed and not any(group.has_signal for each in probed for group in each.groups):
        raise ConfigError(
            f"{_refusal(probed)}; {' '.join(warned) or 'more problems, or other ones, may help.'} "
            "To train anyway: --set probe.problems=0"
        )
    yield from warned


def _summary(each: Probed) -> str:
    figures = domain_figures(each.groups)
    outcomes = count_outcomes(each.groups)
    told = (
        (Outcome.ALL_CORRECT, "solved by every rollout"),
        (Outcome.MIXED, "by some"),
        (Outcome.ALL_WRONG, "by none"),
    )
    counts = [f"{outcomes[outcome]} {words}" for outcome, words in told]
    if outcomes[Outcome.UNGRADABLE]:
        counts.append(f"{outcomes[Outcome.UNGRADABLE]} not gradable")
    solved = "-" if figures.pass_rate is None else f"{figures.pass_rate:.2f}"
    return (
        f"probe of {each.part.set_name}: solved {solved}; "
        f"of {counted(figures.groups, 'problem')}, {', '.join(counts)}; "
        f"cut off {figures.truncated_frac:.0%}, {figures.length_tokens:.0f} tokens on average"
    )


def _refusal(probed: Sequence[Probed]) -> str:
    groups = [group for each in probed for group in each.groups]
    rollouts = sum(len(group.rollouts) for group in groups)
    counts = [f"{count} {name}" for name, count in count_verdicts(groups).items() if count]
    return (
        f"probe: nothing can be learned here: rewards differ in none of "
        f"{counted(len(groups), 'group')} ({counted(rollouts, 'rollout')}: {', '.join(counts)})"
    )


def _warnings(each: Probed, stops: str, opens_thinking: bool) -> Iterator[str]:
    """What to change, with the share that says so."""
    part, groups = each.part, each.groups
    counts = count_verdicts(groups)
    total = sum(counts.values())
    if not total:
        return
    share = {verdict: counts[verdict] / total for verdict in Verdict}
    if share[Verdict.TRUNCATED] > SOME:
        yield (
            f"{part.set_name}: {share[Verdict.TRUNCATED]:.0%} of the completions were cut off: "
            f"raise stage.{part.number}.max_completion_tokens "
            f"({part.stage.max_completion_tokens})"
            + (f", or see whether the model can end at all: {stops} end an answer."
               if share[Verdict.TRUNCATED] > MANY else ".")
        )  # fmt: skip
    if share[Verdict.BAD_FORMAT] > MANY:
        why = (
            "prompts end with <think>, and completions do not close it once; take a chat template "
            'that opens none, or set prompt.template to "plain".'
            if opens_thinking
            else 'the model does not know the format; set prompt.template to "r1-zero" or '
            'prompt.thinking to "optional".'
        )
        yield (
            f"{part.set_name}: {share[Verdict.BAD_FORMAT]:.0%} of the completions are badly "
            f"formed: {why}"
        )
    if share[Verdict.NO_ANSWER] > MANY:
        where = "\\boxed{}" if part.problems[0].domain == "math" else "a ```python block"
        yield (
            f"{part.set_name}: {share[Verdict.NO_ANSWER]:.0%} of the completions have no answer in "
            f"{where}: ask for it in prompt.{part.problems[0].domain}_instruction, or take a model "
            "that does as it is asked."
        )
    lost = sum(share[verdict] for verdict in Verdict if not verdict.gradable)
    if lost > SOME:
        yield (
            f"{part.set_name}: {lost:.0%} of the completions could not be graded: see srpo judge "
            "--selftest, and the problems' answers and tests."
        )
    yield from _spread(each)


def _spread(each: Probed) -> Iterator[str]:
    """Whether the problems are all too easy or all too hard for this model."""
    outcomes = count_outcomes(each.groups)
    gradable = len(each.groups) - outcomes[Outcome.UNGRADABLE]
    if gradable and outcomes[Outcome.ALL_CORRECT] == gradable:
        yield f"{each.part.set_name}: every problem is solved already: take harder ones."
    elif gradable and outcomes[Outcome.ALL_WRONG] == gradable:
        yield (
            f"{each.part.set_name}: no problem was solved once in {each.part.stage.group_size} "
            "rollouts: take easier ones, or a larger group_size."
        )
