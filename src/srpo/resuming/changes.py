"""What has changed since a run was begun: refused or announced, by the name of what it is.

Settings that only say how long, how often, or how fast may change. Whatever decides what is
learned from what may not: the resumed run would be neither the old one nor a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from srpo.errors import ConfigError, RunDirectoryError

# How long a stage or a run goes on, how often it saves and looks, and what it computes with.
MAY_CHANGE = (
    "stage.*.steps",
    "stage.*.epochs",
    "stage.*.plateau_steps",
    "budget.*",
    "checkpoint.*",
    "health.*",
    "evaluation.every_steps",
    "evaluation.every_tokens",
    "verifier.code_workers",
    "model.threads",
    "model.micro_batch_tokens",
    "model.sampler_rows",
    "model.sampler_cache_gib",
    "model.gradient_checkpointing",
    "model.compile",
    "probe.problems",
)
ROUNDING = ("model.*",)  # of those, what may change the last bits of a sum
DRAWING = ("model.sampler_rows",)  # and which completion gets which random number
SHOWN = 4  # names of a long list


def check_settings(
    then: Mapping[str, object],
    now: Mapping[str, object],
    stage: int,
    origin: Callable[[str], str],
) -> list[str]:
    """What to announce of the settings that have changed, all of which may.

    `stage`: that in progress; how long an earlier one was is settled. `origin`: where a setting's
    value of now stands. Raises `ConfigError` with a line for each setting that may not change.
    """
    names = [n for n in [*then, *(n for n in now if n not in then)] if then.get(n) != now.get(n)]
    refused = [n for n in names if not (_may_change(n, stage) or _is_new(n, then))]
    if refused:
        raise ConfigError(
            "\n".join(
                f"{origin(name)}: {name} was {then.get(name)!r} and is {now.get(name)!r}; a run "
                f"that has begun keeps it: begin a new run (may change: {', '.join(MAY_CHANGE)})"
                for name in refused
            )
        )
    said = [
        f"{n} was {'unknown' if _is_new(n, then) else repr(then.get(n))} and is {now.get(n)!r}"
        for n in names
    ]
    if any(_matches(name, pattern) for name in names for pattern in DRAWING):
        said.append("completions are now drawn in another order, so they will differ")
    elif any(_matches(name, pattern) for name in names for pattern in ROUNDING):
        said.append("the model now computes in another order: last bits may differ")
    return said


def check_model(root: str, then: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Raise `RunDirectoryError` if the model or its tokenizer is not that of the beginning."""
    before, found = _files(then), _files(now)
    changed = [n for n in {**before, **found} if before.get(n) != found.get(n)]
    if before and changed:
        raise RunDirectoryError(
            f"{root}: the model is not the one that the run began with ({_some(changed)} changed); "
            "put it back, or begin a new run"
        )


def announced(
    then: Mapping[str, object],
    now: Mapping[str, object],
    code_then: Mapping[str, str],
    code_now: Mapping[str, str],
) -> list[str]:
    """Changes of code, libraries and device, which are gone on with, aloud."""
    said = [
        f"{name} was {then[name]} and is {now[name]}"
        for name in then
        if name in now and name != "model_files" and then[name] != now[name]
    ]
    changed = [n for n in {**code_then, **code_now} if code_then.get(n) != code_now.get(n)]
    if changed:
        said.append(f"srpo itself has changed ({_some(changed)})")
    if said:
        said.append("what follows may differ from what the run would have been")
    return said


def _may_change(name: str, stage: int) -> bool:
    parts = name.split(".")
    if parts[0] == "stage" and parts[1].isdecimal() and int(parts[1]) < stage:
        return False
    return any(_matches(name, pattern) for pattern in MAY_CHANGE)


def _matches(name: str, pattern: str) -> bool:
    """Part by part: a star stands for one part of a dotted name."""
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _is_new(name: str, then: Mapping[str, object]) -> bool:
    """Whether srpo has got the setting since; stages and sets are the user's."""
    return name not in then and name.split(".")[0] not in ("stage", "sets")


def _files(facts: Mapping[str, object]) -> Mapping[str, object]:
    files = facts.get("model_files")
    return files if isinstance(files, Mapping) else {}


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
