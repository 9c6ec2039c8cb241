"""A config for problems of one's own: sets from files, stages that fit what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srpo.errors import ConfigError
from srpo.problems import read_problems
from srpo.types import Domain

HELD_OUT_SHARE = 0.1  # of each domain's problems
MOST_HELD_OUT = 64


def use_problem_files(data: dict[str, Any], files: Sequence[Path]) -> list[str]:
    """Replace a config's sets by the problems of `files`, one set a domain; returns notes.

    `data` is a config as read from TOML; it is changed in place. A tenth of each domain's
    problems, at most 64, is held out for evaluation. Sets that the files do not fill are taken
    out of the stages, and a stage left without any is taken out: both are said in the notes.

    Raises `ProblemFileError` for files that cannot be used, `ConfigError` if no stage is left.
    """
    counts: dict[Domain, int] = {}
    # bad rows stop the run, or are skipped, as the sets say when they are read for good
    for problem in read_problems(files, bad_rows="skip").problems:
        counts[problem.domain] = counts.get(problem.domain, 0) + 1
    data["sets"] = {
        domain: {
            "files": [str(file) for file in files],
            "domain": domain,
            "holdout": min(MOST_HELD_OUT, int(count * HELD_OUT_SHARE)),
        }
        for domain, count in sorted(counts.items())
    }
    shared = data.get("every_stage", {})
    notes: list[str] = []
    stages: list[dict[str, Any]] = []
    for number, stage in enumerate(data.get("stage", []), start=1):
        wanted = stage.get("sets", shared.get("sets", {}))
        stage["sets"] = {name: weight for name, weight in wanted.items() if name in data["sets"]}
        for name in wanted:
            if name not in data["sets"]:
                notes.append(
                    f"stage {number}: no {name} problems in the files; it goes without them"
                )
        if stage["sets"]:
            stages.append(stage)
        else:
            notes.append(f"stage {number} has no problems and is left out")
    if not stages:
        found = ", ".join(data["sets"])
        raise ConfigError(f"no stage uses what the files hold ({found}); name it in a stage's sets")
    data["stage"] = _without_repeats(stages, notes)
    return notes


def _without_repeats(stages: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Stages that differ in nothing but their name once sets are missing become one, longer."""
    kept: list[dict[str, Any]] = []
    for stage in stages:
        same = kept and _core(kept[-1]) == _core(stage)
        if not same:
            kept.append(stage)
            continue
        for key in ("steps", "epochs"):
            if key in stage:
                kept[-1][key] += stage[key]
        notes.append(f"{stage['name']!r} would only repeat {kept[-1]['name']!r}; they become one")
    return kept


def _core(stage: dict[str, Any]) -> dict[str, Any]:
    ends = {key: key in stage for key in ("steps", "epochs")}
    return {key: value for key, value in stage.items() if key not in ("name", *ends)} | ends
