"""Run all trials as whoever runs this, and print what did not hold: {name: [what, ...]}.

Only the standard library: the interpreter that a plain user may execute need not have more.
Arguments: the strength, and the programs' time limit in seconds.
"""

from __future__ import annotations

import json
import sys
from typing import cast

from srpo.errors import SandboxError
from srpo.rewards.exploits import load_attacks, load_plain
from srpo.rewards.exploits.holding import hold_all
from srpo.sandbox import Limits
from srpo.sandbox.local import LocalSandbox
from srpo.sandbox.strengths import Wanted

THREADS = 3


def main() -> None:
    strength, timeout_s = cast(Wanted, sys.argv[1]), float(sys.argv[2])
    probe = LocalSandbox(1, strength)
    try:
        probe.describe()
    except SandboxError as error:
        sys.stdout.write(json.dumps({"refused": str(error)}))
        return
    finally:
        probe.close()
    holdings = hold_all(
        (*load_attacks(), *load_plain()),
        lambda: LocalSandbox(1, strength),
        Limits(timeout_s=timeout_s),
        THREADS,
    )
    broken = {name: holding.broken for name, holding in holdings.items() if not holding.held}
    sys.stdout.write(json.dumps({"tried": len(holdings), "broken": broken}))


main()
