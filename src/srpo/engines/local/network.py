"""What the sampler and the trainer need of a model, and its two implementations' shared nouns.

`FusedNetwork` computes Llama-family models through `decoder`; `PlainNetwork` runs any causal LM
of transformers through its own forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import torch
from torch import Tensor

from srpo.types import Datum


@dataclass(frozen=True, slots=True)
class Row:
    """One datum cut for training: the tokens after its shared prefix, and the prefix's number.

    `tokens[0]` is the last token of the prefix's successor: logits of `tokens[i]` predict
    `tokens[i + 1]`, so the whole trained part lies in `tokens[1:]`.
    """

    index: int  # which datum
    datum: Datum
    start: int  # how many tokens of the datum lie in the prefix
    prefix: int  # which prefix of the chunk

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens that go through the model for this row."""
        return self.datum.tokens[self.start :]


class Cache(Protocol):
    """Keys and values of rows that are being decoded."""

    def select(self, rows: Tensor) -> None:
        """Keep only these rows (indices, ascending)."""
        ...

    def replace(self, rows: Tensor, other: Self) -> None:
        """Put the rows of a cache just prefilled in the place of these, if the network `refills`.

        Its prompts are no longer than those of the cache's beginning.
        """
        ...


class Prefixes(Protocol):
    """Shared prompt prefixes of a chunk, computed once; gradients gather here."""

    def backward(self) -> None:
        """Carry the gradients that the rows left on the prefixes back to the weights."""
        ...


# Called with rows [N], places in their drafts [N], and the logits [N, V] that predict them.
Look: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]
CacheT = TypeVar("CacheT", bound=Cache)
PrefixesT = TypeVar("PrefixesT", bound=Prefixes)


class Network(Protocol[CacheT, PrefixesT]):
    """A causal LM as the local engine sees it."""

    shares_prefixes: bool  # whether `prefixes` saves work; else rows carry their whole datum
    # What each row keeps of a column of its prefix, as a share of what a token of its own keeps.
    column_cost: float
    same_without_gradients: bool  # whether `logprobs` is the same to the last bit without them
    note: str  # what a user should know of how the model is computed; often nothing
    refills: bool  # whether new rows can take the place of finished ones in a cache

    def prefill(self, prompts: Sequence[Sequence[int]], n: int, room: int) -> tuple[Tensor, CacheT]:
        """Logits [P * n, V] after each prompt, n rows each; a cache with `room` free columns."""
        ...

    def decode(self, tokens_B: Tensor, cache: CacheT) -> Tensor:
        """Logits [B, V] after one more token for each row of the cache."""
        ...

    def verify(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        drafts: Sequence[Sequence[int]],
        room: int,
        look: Look,
    ) -> CacheT:
        """Run the drafts of all P * n rows after their prompts; `look` sees each place once.

        Returns what `resume` needs. `room` is at least the length of the longest draft.
        """
        ...

    def resume(
        self, contexts: Sequence[Sequence[int]], rows: Tensor, cache: CacheT, room: int
    ) -> tuple[Tensor, CacheT]:
        """Logits after each of `contexts`, a prompt and a start of its draft, and their cache.

        They are those of `rows` (ascending) of the batch that was verified.
        """
        ...

    def prefixes(self, prefixes: Sequence[Sequence[int]]) -> PrefixesT:
        """Run the shared prefixes of a chunk, once each."""
        ...

    def logprobs(self, rows: Sequence[Row], prefixes: PrefixesT) -> Tensor:
        """Logprobs, with gradients, of `tokens[1:]` of each row in turn, as one flat tensor."""
        ...


AnyNetwork: TypeAlias = Network[Any, Any]


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids [B, T] of rows, padded right, and their lengths [B]. T is at least 1."""
    lengths = [len(row) for row in rows]
    ids_BT = torch.zeros(len(rows), max(1, *lengths), dtype=torch.long)
    for i, row in enumerate(rows):
        ids_BT[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return ids_BT.to(device), torch.tensor(lengths, device=device)
