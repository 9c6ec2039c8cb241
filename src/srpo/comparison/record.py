"""What a comparison's folder says it compares, so that a changed plan is not mixed into it.

OUT/plan.toml          the plan it was begun with, seeds and arms added later included
OUT/arms/ARM.toml      the resolved config of each arm
OUT/source.txt         fingerprint of the srpo that trains the runs (comparison.source)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from srpo.comparison.jobs import check_runs
from srpo.comparison.plan import Comparison, Plan, differing, read_plan
from srpo.comparison.source import check_source, keep_source
from srpo.config.files import dump, load_config
from srpo.errors import ConfigError, RunDirectoryError
from srpo.formats import counted
from srpo.rundir.disk import Disk


def keep_plan(comparison: Comparison, tell: Callable[[str], None]) -> None:
    """Write down what is compared, or check that it is what the folder was begun with.

    Seeds and arms may be added; that is told. Raises `ConfigError` that names whatever else has
    changed, and `RunDirectoryError` if the folder holds other things, runs of another config,
    or those of another srpo.
    """
    kept = comparison.out / "plan.toml"
    if kept.is_file():
        check_source(comparison)
        _check_same(comparison, read_plan(kept), tell)
        check_runs(comparison)
    else:
        _check_free(comparison.out)
    for arm in comparison.arms:
        path = _arm_file(comparison, arm.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not kept.is_file():  # what no plan goes with was left half made
            Disk().write(path, dump(arm.config))
    keep_source(comparison)
    Disk().write(kept, comparison.path.read_text(encoding="utf-8"))


def check_plan(comparison: Comparison) -> None:
    """`keep_plan` without writing anything: only its errors, and not that srpo has changed."""
    kept = comparison.out / "plan.toml"
    if kept.is_file():
        _check_same(comparison, read_plan(kept), lambda _: None)
        check_runs(comparison)
    else:
        _check_free(comparison.out)


def _check_free(out: Path) -> None:
    """Raise `RunDirectoryError` if the folder of a new comparison holds other things.

    What a comparison writes before its plan may be there: it was killed then.
    """
    if out.exists() and not out.is_dir():
        raise RunDirectoryError(f"{out}: is a file; choose another --out")
    before_plan = ("locks", "arms", "source.txt", "plan.toml.partial")
    if out.exists() and any(path.name not in before_plan for path in out.iterdir()):
        raise RunDirectoryError(
            f"{out}: already exists and is not a comparison; choose another --out"
        )


def _check_same(comparison: Comparison, before: Plan, tell: Callable[[str], None]) -> None:
    now = comparison.plan
    changed = [
        f"{name} was {_shown(was)} and is {_shown(is_)}"
        for (name, was), is_ in zip(_fixed(before).items(), _fixed(now).values(), strict=True)
        if was != is_
    ]
    changed += _gone("seed", before.seeds, now.seeds)
    changed += _gone("arm", [a.name for a in before.arm], [a.name for a in now.arm])
    for arm in comparison.arms:
        path = _arm_file(comparison, arm.folder)
        if path.exists():
            differences = differing(load_config(path).config, arm.config)
            changed += [
                f"arm {arm.name!r}: {name} was {_shown(was)} and is {_shown(is_)}"
                for name, (was, is_) in differences.items()
            ]
    if changed:
        more = f" (and {counted(len(changed) - 1, 'more change')})" if len(changed) > 1 else ""
        raise ConfigError(
            f"{comparison.path}: the plan has changed since {comparison.out} was begun: "
            f"{changed[0]}{more}; choose another --out"
        )
    for word, old, new in (
        ("seed", [str(seed) for seed in before.seeds], [str(seed) for seed in now.seeds]),
        ("arm", [a.name for a in before.arm], [a.name for a in now.arm]),
    ):
        added = [name for name in new if name not in old]
        if added:
            tell(f"added since the folder was begun: {word} {', '.join(added)}")


def _fixed(plan: Plan) -> dict[str, object]:
    """What of a plan may not change, beside seeds and arms."""
    return {
        "baseline": plan.baseline or plan.arm[0].name,
        "budget": plan.budget,
        "evaluation": plan.evaluation,
        "learning_rate": plan.learning_rate,
    }


def _gone(word: str, before: Sequence[object], now: Sequence[object]) -> list[str]:
    return [f"{word} {one} is gone" for one in before if one not in now]


def _shown(value: object) -> str:
    if value is None or value == "":
        return "not set"
    fields = getattr(value, "model_dump", None)
    return str(fields(mode="json")) if fields else repr(value)


def _arm_file(comparison: Comparison, folder: str) -> Path:
    return comparison.out / "arms" / f"{folder}.toml"
