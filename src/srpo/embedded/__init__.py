"""The embedded default: a tiny language model and a world of generated problems.

`world` makes problems, `demonstrations` writes the texts that `pretrain` teaches the base model
with, and `model/` holds the result. It is a scale model of the paper's setting with the conflict
built in on purpose; docs/scale-model.md says what it can show and what it cannot.
"""

from pathlib import Path

MODEL_DIR = Path(__file__).parent / "model"
