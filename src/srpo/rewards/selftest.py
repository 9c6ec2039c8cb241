"""`srpo judge --selftest`: the known exploits, run on this machine, and what of them holds.

Three parts: the attacks and the plain programs of `exploits`, on the sandbox in force; answers
that freeze or fool math graders; and what graders in use were found to get wrong.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from srpo.errors import SandboxError
from srpo.rewards.exploits import Trial, load_attacks, load_plain
from srpo.rewards.exploits.bait import Bait
from srpo.rewards.exploits.holding import Holding, hold_all, promised
from srpo.rewards.selftest_answers import hold_answers, hold_parts
from srpo.sandbox import Limits
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.strengths import Wanted

Tell = Callable[[str], None]
_LIMITS = Limits(timeout_s=2.0)
_MATH_TIMEOUT_S = 2.0
_WIDTH = 100
_KINDS = {
    "forge": "forge a verdict",
    "steal": "steal the expected output or another program",
    "leak": "read the machine's files",
    "escape": "get out of the sandbox",
    "persist": "leave something for the next program",
    "dos": "take time, memory or disk without end",
    "crash": "crash the interpreter",
    "infra": "pass for a failure of the sandbox",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the table.

    >>> part = Part("read files", (Holding("b08", ()), Holding("b09", ("leaked",))))
    >>> part.num_held
    1
    """

    what: str
    holdings: tuple[Holding, ...]

    @property
    def num_held(self) -> int:
        """How many went as they must."""
        return sum(holding.held for holding in self.holdings)


def run(
    strength: Wanted = "auto",
    workers: int = 0,
    allow_unsafe: bool = False,
    tell: Tell = lambda text: None,
    trials: Sequence[Trial] | None = None,
) -> int:
    """Try everything with the strength in force; `tell` gets the text to print, in pieces.

    `workers`: how many programs at a time; 0 means one for each core and one more. `trials`: the
    programs; None means all that are known. Returns 0 if all held, else 1, also if no sandbox can
    be had. With `allow_unsafe`, where nothing else is possible, the attacks are left out, as they
    would do harm, and the result is 1.
    """
    start_s = time.monotonic()
    sandbox = LocalSandbox(1, strength, allow_unsafe=allow_unsafe)
    try:
        sentence, found = sandbox.describe(), sandbox.strength
    except SandboxError as error:
        tell(f"No sandbox: {error}")
        return 1
    finally:
        sandbox.close()
    tell(sentence)
    known = (*load_attacks(), *load_plain()) if trials is None else tuple(trials)
    safe = [trial for trial in known if trial.benign or found != "none"]
    tell(f"Trying {len(safe)} programs; {len(known)} take a minute or so.")
    with Bait() as bait:
        holdings = hold_all(
            safe,
            lambda: LocalSandbox(1, strength, allow_unsafe=allow_unsafe),
            _LIMITS,
            threads=workers or (os.cpu_count() or 1) + 1,  # many only wait for their time-outs
        )
        traces = Holding("traces on this machine", tuple(bait.traces()))
    answers = Part("answers that hang or fool math graders", _off_main_thread(hold_answers))
    others = Part("what other graders get wrong", hold_parts())
    of_kinds = _by_kind(safe, holdings)
    parts = (*of_kinds, Part("leave no trace on this machine", (traces,)), answers, others)
    tell(_table(parts))
    for holding in (h for part in parts for h in part.holdings if not h.held):
        beyond = holding.name not in {trial.name for trial in promised(safe, found)}
        note = f" (more than {found} promises)" if beyond and holding.name in holdings else ""
        tell(f"NOT HELD  {holding.name}{note}: {'; '.join(holding.broken)}")
    tell(_headline(known, holdings, (*answers.holdings, *others.holdings), found, start_s))
    all_held = all(holding.held for part in parts for holding in part.holdings)
    return 0 if all_held and len(safe) == len(known) else 1


def _headline(
    known: Sequence[Trial],
    holdings: dict[str, Holding],
    checks: Sequence[Holding],
    strength: str,
    start_s: float,
) -> str:
    held = {name for name, holding in holdings.items() if holding.held}
    attacks = [trial for trial in known if not trial.benign]
    plain = [trial for trial in known if trial.benign]
    return (
        f"{sum(trial.name in held for trial in attacks)} of {len(attacks)} attacks held, "
        f"{sum(trial.name in held for trial in plain)} of {len(plain)} plain programs accepted, "
        f"{sum(check.held for check in checks)} of {len(checks)} answers judged right, "
        f"strength {strength}, {time.monotonic() - start_s:.0f} s"
    )


def _by_kind(trials: Sequence[Trial], holdings: dict[str, Holding]) -> list[Part]:
    parts = [
        Part(what, tuple(holdings[trial.name] for trial in trials if trial.kind == kind))
        for kind, what in (*_KINDS.items(), ("", "plain programs, which must pass"))
    ]
    return [part for part in parts if part.holdings]


def _off_main_thread(work: Callable[[float], tuple[Holding, ...]]) -> tuple[Holding, ...]:
    """Run it where time-outs by signals do not work."""
    results: list[tuple[Holding, ...]] = []
    thread = threading.Thread(target=lambda: results.append(work(_MATH_TIMEOUT_S)))
    thread.start()
    thread.join()
    return results[0] if results else (Holding("math", ("the check itself failed",)),)


def _table(parts: Sequence[Part]) -> str:
    table = Table(box=None, pad_edge=False)
    table.add_column("Programs and answers that")
    table.add_column("held", justify="right")
    table.add_column("of", justify="right")
    table.add_column("slowest", justify="right")
    for part in parts:
        slowest_s = max(holding.seconds for holding in part.holdings)
        table.add_row(part.what, str(part.num_held), str(len(part.holdings)), f"{slowest_s:.1f} s")
    console = Console(file=io.StringIO(), width=_WIDTH, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")
