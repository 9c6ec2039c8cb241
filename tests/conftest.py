"""No network (pytest-socket, in pyproject), a clean environment, one thread a process."""

from __future__ import annotations

import gc
import os

from hypothesis import HealthCheck, settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: two threads on two busy cores are far slower
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

# On a busy machine examples take long to make: no finding about the code.
# `make slow` is thorough.
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", BUSY, max_examples=40)
settings.register_profile("thorough", BUSY, max_examples=300)
settings.load_profile("quick")

gc.disable()  # until all is imported: looking through it again and again takes seconds


def pytest_collection_finish() -> None:
    """From here on only what the tests make is looked through."""
    gc.freeze()
    gc.enable()
