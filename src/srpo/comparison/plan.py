"""What is to be compared: a plan in TOML -> arms with one config each, all checked.

A plan is closed: an unknown name is an error. Arms share problems, model, evaluation and budget;
whatever an arm sets beyond that is what the comparison is about. Every mistake is a `ConfigError`
of one line, found before anything runs or is written.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, Strict, ValidationError, model_validator

from srpo.config import Config, LearningRate
from srpo.config.base import NotNegative, Positive, Section
from srpo.config.files import DEMO, Setting, flat, load_config, settings_of
from srpo.config.mistakes import Place, dotted, explain
from srpo.errors import ConfigError
from srpo.run.problem_sets import used_sets
from srpo.rundir import RunDirectory

NO_END = 10**9  # epochs that no budget lasts for
PLAN_WORDS = {  # settings that the plan decides, and what to do instead
    "budget": "write it in [budget]",
    "seed": "write it in seeds",
    "algorithm": "write it in [[arm]]",
    "evaluation.every_steps": "write it in [evaluation]",
    "evaluation.every_tokens": "write it in [evaluation]",
    "evaluation.test": "test problems are evaluated once; the budget says when",
    "selection.idle_epochs": "a compared run ends with its budget; take it out",
    "model.threads": "a compared run has one; give --cores",
    "verifier.code_workers": "a compared run has one; give --cores",
}

Seed = Annotated[NotNegative, Strict()]  # in a list nothing else refuses `true` and "1"
Rate = Annotated[LearningRate, Strict(), Field(gt=0)]
Share = Annotated[float, Strict(), Field(gt=0, le=1)]
LONGEST_NAME = 100  # letters; a folder is called after it


class ArmPlan(Section):
    """One way to train."""

    name: str = Field(
        min_length=1, max_length=LONGEST_NAME, description="shown in tables and figures"
    )
    algorithm: str | None = Field(None, description="a preset; none: what the base says")
    settings: dict[str, Any] = Field({}, description="settings of this arm, by dotted name")

    @model_validator(mode="after")
    def _one_line(self) -> Self:
        if not self.name.isprintable():
            raise ValueError(
                f"the name {self.name!r} must be a single line of printable characters"
            )
        return self


class BudgetPlan(Section):
    """What every run may spend. A run ends when all that is given here is spent."""

    rollouts: NotNegative = Field(0, description="rollouts drawn for training; 0: not counted")
    tokens: NotNegative = Field(0, description="tokens generated in training; 0: not counted")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.rollouts and not self.tokens:
            raise ValueError("give rollouts, tokens or both")
        return self


class EvaluationPlan(Section):
    """Validation along the way, and where accuracy is looked at."""

    every_tokens: NotNegative = Field(
        0, description="tokens generated in training between validations; 0: count steps"
    )
    every_steps: NotNegative = Field(
        0, description="training steps between validations; 0: count tokens"
    )
    budgets_tokens: tuple[Positive, ...] = Field(
        (), description="accuracy is shown at these as well as at the whole budget"
    )
    targets: tuple[Share, ...] = Field((), description="accuracy to reach in every domain at once")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.every_tokens) == bool(self.every_steps):
            raise ValueError("give either every_tokens or every_steps")
        _once(self.budgets_tokens, "budgets_tokens", "is listed twice")
        _once(self.targets, "targets", "is listed twice")
        return self


class RatePlan(Section):
    """How each arm gets its learning rate: by runs of their own on the validation split."""

    values: tuple[Rate, ...] = Field(min_length=1, description="rates to try")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="seeds of these runs alone")
    budget_share: Share = Field(1.0, description="of the budget, for each of these runs")


class Plan(Section):
    """The whole plan."""

    name: str = Field(min_length=1, description="what the comparison is called")
    base: str = Field("demo", description='a config file, relative to the plan; or "demo"')
    out: str = Field("", description="folder of the comparison; empty: runs/compare-NAME")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="one run per arm and seed")
    baseline: str = Field("", description="arm of the paired differences; empty: the first")
    budget: BudgetPlan
    evaluation: EvaluationPlan
    learning_rate: RatePlan | None = None
    settings: dict[str, Any] = Field({}, description="settings of all arms, by dotted name")
    arm: tuple[ArmPlan, ...] = Field(description="the arms")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [arm.name for arm in self.arm]
        if len(names) < 2:
            raise ValueError("a comparison needs at least two [[arm]]")
        rates = self.learning_rate or RatePlan(values=(1.0,), seeds=(0,))
        _once(names, "arm", "is listed twice; arms need names of their own")
        _once(
            [folder_name(name) for name in names],
            "arm",
            "would be the folder of two arms; rename one",
        )
        _once(self.seeds, "seeds", "is listed twice")
        _once(rates.seeds, "learning_rate.seeds", "is listed twice")
        _once([f"{rate:g}" for rate in rates.values], "learning_rate.values", "is listed twice")
        shared = sorted(set(rates.seeds) & set(self.seeds)) if self.learning_rate else []
        if shared:
            raise ValueError(
                f"seed {shared[0]} is in learning_rate.seeds and in seeds; rates are chosen with "
                "seeds of their own"
            )
        beyond = [b for b in self.evaluation.budgets_tokens if b > self.budget.tokens > 0]
        if beyond:
            raise ValueError(
                f"evaluation.budgets_tokens: {beyond[0]} is more than budget.tokens, "
                f"{self.budget.tokens}"
            )
        if self.baseline and self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is not an arm (arms: {', '.join(names)})")
        return self


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm, ready to run: its config lacks only seed and, where they are tried, the rate."""

    name: str
    folder: str  # name of its folder
    config: Config


@dataclass(frozen=True, slots=True)
class Comparison:
    """A plan that can be run."""

    plan: Plan
    path: Path  # of the plan
    out: Path
    arms: tuple[Arm, ...]

    @property
    def baseline(self) -> Arm:
        """The arm of the paired differences."""
        name = self.plan.baseline or self.plan.arm[0].name
        return next(arm for arm in self.arms if arm.name == name)


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises `ConfigError` with one line a mistake."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such plan")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        return Plan.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, Plan, lambda loc: Place(str(path), dotted(loc)))) from None


def load_comparison(path: Path, out: Path | None = None) -> Comparison:
    """Read a plan, and resolve and check the config of every arm; nothing is written.

    `out` takes the place of the plan's. Raises `ConfigError` with one line a mistake.
    """
    plan = read_plan(path)
    base = DEMO if plan.base == "demo" else path.parent / plan.base
    if not base.is_file():
        raise ConfigError(f"{path}: base: {base}: no such config file")
    _refuse_plan_wide(plan, path)
    arms = tuple(_arm(plan, one, base, path) for one in plan.arm)
    _refuse_unequal(arms, path)
    folder = out or Path(plan.out or Path("runs") / f"compare-{folder_name(plan.name)}")
    return Comparison(plan, path, folder, arms)


def folder_name(name: str) -> str:
    """A name as that of a folder: small letters, digits, dots, and hyphens for all else.

    >>> folder_name("SRPO + pilot (4)")
    'srpo-pilot-4'
    """
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "arm"


def differing(config: Config, other: Config) -> dict[str, tuple[object, object]]:
    """Settings with other values: name -> (value in `config`, value in `other`); None: not set."""
    ours, theirs = settings_of(config), settings_of(other)
    names = [*ours, *(name for name in theirs if name not in ours)]
    return {
        name: (ours.get(name), theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    }


def _arm(plan: Plan, arm: ArmPlan, base: Path, path: Path) -> Arm:
    where = f"{path}: arm {arm.name!r}"
    own = list(flat(arm.settings))
    _refuse_of_arm(own, plan, where)
    flags = [
        Setting(name, f"settings {name} =", value) for name, value in (*flat(plan.settings), *own)
    ]
    if arm.algorithm is not None:
        flags.append(Setting("algorithm", "algorithm", arm.algorithm))
    try:
        config = load_config(base, flags).config
    except ConfigError as error:
        lines = str(error).splitlines()
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from None
    _check_splits(config, where)
    _check_measured(config, where)
    return Arm(arm.name, folder_name(arm.name), _for_comparison(config, plan))


def _for_comparison(config: Config, plan: Plan) -> Config:
    """The config with the plan's budget as its only end, its evaluations, and one thread."""
    last = config.stage[-1].model_copy(
        update={"steps": None, "epochs": NO_END, "plateau_steps": None}
    )
    evaluation = {
        "every_steps": plan.evaluation.every_steps,
        "every_tokens": plan.evaluation.every_tokens,
        # a run goes on until its rollouts are spent too; the test is for equal tokens
        "test": "at-token-budget" if plan.budget.tokens else "last",
    }
    return config.model_copy(
        update={
            "stage": (*config.stage[:-1], last),
            "budget": config.budget.model_copy(update=plan.budget.model_dump()),
            "evaluation": config.evaluation.model_copy(update=evaluation),
            "selection": config.selection.model_copy(update={"idle_epochs": NO_END}),
            "model": config.model.model_copy(update={"threads": 1}),
            "verifier": config.verifier.model_copy(update={"code_workers": 1}),
        }
    )


def _once(values: Sequence[object], where: str, what: str) -> None:
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{where}: {value} {what}")


def _starts(name: str, *sections: str) -> bool:
    return any(f"{name}.".startswith(f"{section}.") for section in sections)


def _refuse_plan_wide(plan: Plan, path: Path) -> None:
    """Settings of all arms that the plan has words of its own for."""
    for name, _ in flat(plan.settings):
        for section, instead in PLAN_WORDS.items():
            if _starts(name, section):
                raise ConfigError(f"{path}: settings {name}: {instead}")
        if name.endswith(".learning_rate") and plan.learning_rate is not None:
            raise ConfigError(f"{path}: settings {name}: [learning_rate] chooses it; take it out")


def _refuse_of_arm(own: Sequence[tuple[str, object]], plan: Plan, where: str) -> None:
    """Settings that would make an arm another comparison."""
    for name, _ in own:
        if _starts(name, "budget"):
            raise ConfigError(f"{where} differs in budget: it sets {name}; take it out")
        if _starts(name, "seed", "evaluation", "sets", "model", "prompt", "verifier"):
            raise ConfigError(f"{where} sets {name}, which must be equal for all arms; take it out")
        if name.endswith(".learning_rate") and plan.learning_rate is not None:
            raise ConfigError(f"{where} sets {name}, which [learning_rate] chooses; take it out")
        for section, instead in PLAN_WORDS.items():
            if _starts(name, section):
                raise ConfigError(f"{where}: settings {name}: {instead}")


def _check_splits(config: Config, where: str) -> None:
    """Test and validation problems, each of their own, for every set that is trained on."""
    for name in sorted(used_sets(config)):
        for split, key in (("test", "holdout"), ("validation", "validation")):
            if not getattr(config.sets[name], key):
                raise ConfigError(
                    f"{where}: sets.{name}.{key} is 0; a comparison needs {split} problems "
                    f'(settings = {{ "sets.{name}.{key}" = 160 }})'
                )


def _check_measured(config: Config, where: str) -> None:
    """What a run would find out only at its beginning, or not before its end."""
    if not config.evaluation.samples:
        raise ConfigError(f"{where}: evaluation.samples is 0: nothing would be measured")
    history = config.selection.history
    if history and not RunDirectory(Path(history)).ledger.is_file():
        raise ConfigError(f"{where}: selection.history: {history} is not a run directory")


def _refuse_unequal(arms: Sequence[Arm], path: Path) -> None:
    """What would make evaluations, or tokens, mean another thing in some arm."""
    first = arms[0].config.stage[-1].max_completion_tokens
    trained = set(used_sets(arms[0].config))
    for arm in arms:
        for name in sorted(trained.symmetric_difference(used_sets(arm.config))):
            with_it, without = (arms[0], arm) if name in trained else (arm, arms[0])
            raise ConfigError(
                f"{path}: arm {without.name!r} never trains on the set {name}, and arm "
                f"{with_it.name!r} does: they would be measured by other problems"
            )
        last = arm.config.stage[-1].max_completion_tokens
        longest = max(stage.max_completion_tokens for stage in arm.config.stage)
        if last != first or longest > first:
            found = last if last != first else longest
            raise ConfigError(
                f"{path}: arm {arm.name!r} differs in budget: max_completion_tokens is {found}, "
                f"and {first} in arm {arms[0].name!r}"
            )
