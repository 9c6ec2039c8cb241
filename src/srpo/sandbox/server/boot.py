"""Start `srpo.sandbox.server.main` without the rest of srpo, and without any installed package.

Run as a script. The empty packages below stand in for `srpo` and `srpo.sandbox`, whose own
initialisation needs packages that this interpreter is started without.
"""

import os
import sys
import types
from pathlib import Path

# Modules that would do work in each forked child: `random` would draw a new seed, and all others
# only renew locks that a process of one thread does not hold.
os.register_at_fork = lambda **_: None

_sandbox = Path(__file__).resolve().parent.parent
for _name, _folder in (("srpo", _sandbox.parent), ("srpo.sandbox", _sandbox)):
    _package = types.ModuleType(_name)
    _package.__path__ = [str(_folder)]
    sys.modules[_name] = _package

from srpo.sandbox.server.main import serve  # noqa: E402

serve()
