"""The problems that a run still has in play, as a file for this or another trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from srpo.config import Config
from srpo.errors import ProblemFileError
from srpo.history import Ledger
from srpo.problems.exports import VERL_UNKNOWN, Format, export_problems, verl_grading
from srpo.prompts import question_of
from srpo.run.problem_sets import load_sets
from srpo.types import Problem


def export_kept(ledger: Ledger, config: Config, path: Path, form: Format) -> list[str]:
    """Write the problems that are not dropped to a new file; returns what there is to say.

    The ledger has no answers and no tests: they are read again from what the run's `config`
    names, and known by their content. Raises `ProblemFileError` if some are not there any more,
    if none is kept, or if the file exists or cannot be written.
    """
    kept = list(ledger.kept())
    if not kept:
        raise ProblemFileError(f"{ledger.path}: no problem is kept, so there is none to export")
    known = _by_id(config)
    missing = [problem_id for problem_id in kept if problem_id not in known]
    if missing:
        raise ProblemFileError(
            f"{len(missing):,} of {len(kept):,} kept problems are not in the run's problem sets "
            f"any more (the first: {missing[0]}); put back the files that its config.toml names"
        )
    problems = [known[problem_id] for problem_id in kept]
    questions = {p.id: question_of(p, config.prompt) for p in problems}
    export_problems(path, problems, questions, form)
    total = ledger.count_problems()
    said = [f"{path}: {len(kept):,} kept problems of {total:,}, in the format of {form}"]
    if form == "verl":
        odd = sum(verl_grading(p)[0] == VERL_UNKNOWN for p in problems)
        if odd:
            said.append(
                f"of these, {odd:,} with tests that verl's own graders do not run: data_source is "
                f"{VERL_UNKNOWN}, for which verl needs a custom reward function"
            )
    return said


def _by_id(config: Config) -> dict[str, Problem]:
    def unchecked(_: Iterable[str]) -> Mapping[str, str]:
        return {}  # they were checked when the run began

    sets = load_sets(config, unchecked)
    return {problem.id: problem for problems in sets.train.values() for problem in problems}
