"""Start `srpo.sandbox.server` without the rest of srpo, and without any installed package.

Run as a script. The empty packages below stand in for `srpo` and `srpo.sandbox`, whose own
initialisation needs packages that this interpreter is started without.
"""

import sys
import types
from pathlib import Path

_here = Path(__file__).resolve().parent
for _name, _folder in (("srpo", _here.parent), ("srpo.sandbox", _here)):
    _package = types.ModuleType(_name)
    _package.__path__ = [str(_folder)]
    sys.modules[_name] = _package

from srpo.sandbox.server import serve  # noqa: E402

serve()
