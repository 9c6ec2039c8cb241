"""`srpo judge`: its options become a config, and its two ways of working are started."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from srpo.config.verifier import LONGEST_TIMEOUT_S, Strength, VerifierConfig
from srpo.errors import ConfigError
from srpo.insight.judge_view import judge_file

CASES_AT_ONCE = 10  # a program may take as long as so many tests, and never less than 20 s
STRENGTHS = get_args(Strength)


def run_judge(
    file: Path,
    tell: Callable[[str], None],
    *,
    out: Path,
    workers: int,
    timeout: float | None,
    strength: str,
    allow_unsafe: bool,
) -> int:
    """Judge a file of rows; see `judge_file`. Raises ConfigError for a wrong option."""
    data: dict[str, object] = {
        "code_workers": workers,
        "strength": _checked(strength),
        "allow_unsafe": allow_unsafe,
    }
    if timeout is not None:
        if not 0 < timeout <= LONGEST_TIMEOUT_S:
            longest = f"{LONGEST_TIMEOUT_S:,.0f}"
            raise ConfigError(f"--timeout {timeout}: give seconds, more than 0, at most {longest}")
        data |= {"code_timeout_s": timeout, "math_timeout_s": timeout}
        longest_s = max(20.0, CASES_AT_ONCE * timeout)
        data["code_program_timeout_s"] = min(longest_s, LONGEST_TIMEOUT_S)
    return judge_file(file, out, VerifierConfig.model_validate(data), tell=tell)


def run_selftest(
    tell: Callable[[str], None],
    *,
    workers: int,
    strength: str,
    allow_unsafe: bool,
    **others: object,
) -> int:
    """Try the known exploits on this machine and say what holds; 0 if all do, else 1."""
    from srpo.rewards.exploits.selftest import run

    return run(strength=_checked(strength), workers=workers, allow_unsafe=allow_unsafe, tell=tell)


def _checked(strength: str) -> Strength:
    for known in STRENGTHS:
        if strength == known:
            return known  # type: ignore[no-any-return]  # one of the type's own values
    near = difflib.get_close_matches(strength, STRENGTHS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(STRENGTHS)}"
    raise ConfigError(f"--strength {strength}: no such strength; {hint}")
