"""Seam 1: an engine turns token ids into token ids, and advantages into better weights.

An engine knows no text, no tokenizer, no reward and no group. It sums the loss over tokens; the
algorithm folds its averaging into the advantages, so the result does not depend on how an
engine cuts a batch. The shape is that of the Tinker API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from srpo.config import Config
from srpo.types import Adam, Clip, Datum, Draft, Sample, Sampling

Drafts: TypeAlias = Sequence[Sequence[Draft | None]]  # of each prompt, for its completions in turn
# A draft notes the fewest likely tokens that reach this mass together (at most draft_top_k): what
# is left is what a verification loses at a place, and most places need one or two tokens.
DRAFT_MASS = 0.9999


def check_drafts(drafts: Drafts, num_prompts: int, n: int) -> None:
    """Raises `ValueError` unless there is one list a prompt, and no list longer than `n`."""
    if len(drafts) != num_prompts:
        raise ValueError(f"drafts for {len(drafts)} prompts, and {num_prompts} prompts")
    most = max((len(of_prompt) for of_prompt in drafts), default=0)
    if most > n:
        raise ValueError(f"{most} drafts for {n} completions of a prompt")


class Engine(Protocol):
    """Five verbs. One conformance suite (tests/contract/test_engine.py) holds for every engine."""

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """Draw `n` completions of each prompt from the newest weights, in order of the prompts.

        Same weights, prompts, `how` (its seed included) and drafts: same samples.

        `drafts` has one list a prompt, of at most `n`; the i-th draft is for the i-th completion.
        A draft's tokens are verified in one pass and taken over up to the first that is rejected;
        there one is drawn from what the draft left over, and drawing goes on from it. At lenience
        1 the samples are exact draws from the newest weights, if each draft was a draw from what
        it notes, under another seed, and is used once. Raises `ValueError` for more drafts than
        completions.
        """
        ...

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        """Add the gradient of the clipped objective, summed over all trained tokens of `data`.

        Returns, for each datum, the logprob of every token under the current weights (0.0 at
        entry 0 and wherever the mask is 0). Empty `data` adds nothing.
        """
        ...

    def optim_step(self, how: Adam) -> dict[str, float]:
        """Apply one AdamW step with the gradient added so far, and clear it.

        Returns figures about the step, at least `grad_norm` (before clipping). If the gradient,
        or a logprob of a trained token since the last step, is not finite, nothing changes but
        that the gradient is cleared, and `grad_norm` is NaN or infinite.
        """
        ...

    def save(self, name: str) -> str:
        """Write weights and optimizer into a folder `name`; returns what `load` accepts.

        The folder is new or empty, and whoever gives the name sees to it that one that is half
        written counts for nothing (`resuming.checkpoints.write_checkpoint`).
        """
        ...

    def load(self, ref: str) -> None:
        """Restore weights and optimizer from a reference returned by `save`."""
        ...


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that is ready to be trained, whichever engine runs it."""

    engine: Engine
    tokenizer: Any  # a fast tokenizer of transformers
    checkpoint_bytes: int  # size of one checkpoint
    facts: Mapping[str, object]  # for environment.json: versions, device, size
    stop_ids: tuple[int, ...] = ()  # tokens that end an answer by the model's own config
    pad_ids: tuple[int, ...] = ()  # tokens for padding by the model's own config
    context_tokens: int | None = None  # prompt and completion at most; None: no limit is known
    notes: tuple[str, ...] = ()  # what a user should know of it, told as a run begins


ModelOpener = Callable[[Config, Path], OpenModel]  # config, where the engine saves -> the model
