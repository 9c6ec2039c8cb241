"""srpo: train language models to reason, by two-staged history-resampling policy optimization.

The method is SRPO, arXiv 2504.14286. Importing this package loads neither torch nor
transformers; `srpo.train` does when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from srpo.trainer import Run, train

__all__ = ["Run", "__version__", "train"]


def __getattr__(name: str) -> object:
    """Load the trainer only when it is asked for."""
    if name in ("train", "Run"):
        import srpo.trainer

        return getattr(srpo.trainer, name)
    raise AttributeError(f"module 'srpo' has no attribute {name!r}")
