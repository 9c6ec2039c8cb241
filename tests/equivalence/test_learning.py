"""The training half of the local engine against plain Python: loss, cuts, and sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from srpo.engines.local.learning import Chunk, accumulate, clipped_loss, plan
from srpo.engines.local.network import Look, Row
from srpo.types import Clip, Datum

CLIP = Clip(low=0.2, high=0.28)


def plain_loss(new: Sequence[float], old: Sequence[float], advantages: Sequence[float]) -> float:
    """The same sum, one token after the other."""
    total = 0.0
    for logprob, sampled, advantage in zip(new, old, advantages, strict=True):
        ratio = math.exp(logprob - sampled)
        clipped = min(max(ratio, 0.8), 1.28)
        total -= min(ratio * advantage, clipped * advantage)
    return total


# --- the loss ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.2, 1.0, -1.2),  # inside the region
        (1.5, 1.0, -1.28),  # above it, already pushed up: cut off at 1.28
        (1.5, -1.0, 1.5),  # above it and to be pushed down: the worse of both counts
        (0.5, 1.0, -0.5),  # below it and to be pushed up
        (0.5, -1.0, 0.8),  # below it, already pushed down: cut off at 0.8
        (3.0, 0.0, 0.0),
    ],
)
def test_the_clipped_objective_of_one_token(ratio: float, advantage: float, loss: float) -> None:
    new, old, advantages = torch.tensor([[math.log(ratio)], [0.0], [advantage]])
    assert clipped_loss(new, old, advantages, CLIP).item() == pytest.approx(loss, rel=1e-6)


tokens = st.tuples(st.floats(-4.0, 0.0), st.floats(-4.0, 0.0), st.floats(-2.0, 2.0))


@given(st.lists(tokens, max_size=20))
def test_the_loss_is_the_plain_sum(found: list[tuple[float, float, float]]) -> None:
    columns = [[row[i] for row in found] for i in range(3)]
    new, old, advantages = (torch.tensor(column, dtype=torch.float64) for column in columns)
    loss = clipped_loss(new, old, advantages, CLIP).item()
    assert loss == pytest.approx(plain_loss(*columns), rel=1e-9, abs=1e-12)


def test_the_gradient_is_minus_ratio_times_advantage_and_zero_where_it_is_cut_off() -> None:
    # d/d logprob of -(ratio * A) is -(ratio * A); ratios 1.5 and 0.5
    ratios = torch.tensor([1.5, 1.5, 0.5, 0.5])
    new = ratios.log().requires_grad_()
    loss = clipped_loss(new, torch.zeros(4), torch.tensor([1.0, -1.0, 1.0, -1.0]), CLIP)
    loss.backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([0.0, 1.5, -0.5, 0.0])


@given(st.lists(tokens, min_size=1, max_size=8), st.floats(0.1, 10.0))
def test_the_loss_grows_with_the_advantages(
    found: list[tuple[float, float, float]], factor: float
) -> None:
    new, old, advantages = torch.tensor(found, dtype=torch.float64).unbind(dim=1)
    once = clipped_loss(new, old, advantages, CLIP).item()
    scaled = clipped_loss(new, old, advantages * factor, CLIP).item()
    assert scaled == pytest.approx(factor * once, rel=1e-9, abs=1e-9)


# --- the cut ------------------------------------------------------------------------------------


def datum(prompt: Sequence[int], completion: Sequence[int], advantage: float = 1.0) -> Datum:
    before, count = len(prompt), len(completion)
    return Datum(
        tokens=(*prompt, *completion),
        mask=(0.0,) * before + (1.0,) * count,
        sampler_logprobs=(0.0,) * before + (-1.0,) * count,
        advantages=(0.0,) * before + (advantage,) * count,
    )


def test_rows_of_one_prompt_hang_on_one_prefix_without_its_last_token() -> None:
    # prompt 7 8 9: the prefix is 7 8, and 9 goes with each row, as its output predicts the first
    data = [datum((7, 8, 9), (1, 2)), datum((7, 8, 9), (3,))]
    (chunk,) = plan(data, 100, share=True)
    assert chunk.prefixes == ((7, 8),)
    rows = [row for batch in chunk.micro_batches for row in batch]
    assert [(row.index, row.tokens, row.prefix) for row in rows] == [
        (1, (9, 3), 0),  # the shorter one first
        (0, (9, 1, 2), 0),
    ]


def test_rows_share_a_micro_batch_while_a_twentieth_of_it_at_most_is_padding() -> None:
    # 20 rows of 10 tokens and one of 11 pad 20 of 231, too many; with 21 of 22 and one of 23,
    # 21 of 506
    def sizes(short: int, count: int, long: int) -> list[int]:
        data = [datum((7, 8), [1] * (short - 1))] * count + [datum((7, 8), [1] * (long - 1))]
        (chunk,) = plan(data, 10_000, share=True)
        return [len(batch) for batch in chunk.micro_batches]

    assert sizes(10, 20, 11) == [20, 1]
    assert sizes(22, 21, 23) == [22]


def test_without_sharing_each_row_carries_its_whole_datum() -> None:
    (chunk,) = plan([datum((7, 8, 9), (1, 2))], 100, share=False)
    assert chunk.prefixes == ((),)
    assert [row.tokens for row in chunk.micro_batches[0]] == [(7, 8, 9, 1, 2)]


def test_what_has_no_trained_token_is_left_out() -> None:
    prompt_only = Datum((7, 8), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    assert list(plan([], 10, share=True)) == []
    assert list(plan([prompt_only], 10, share=True)) == []


lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12)


def padded(rows: Sequence[Sequence[int]]) -> int:
    return len(rows) * max(len(row) for row in rows)


@given(lengths, st.integers(1, 40), st.booleans())
def test_no_cut_is_larger_than_allowed_and_none_is_lost(
    found: list[tuple[int, int]], max_tokens: int, share: bool
) -> None:
    data = [datum(range(before), range(count)) for before, count in found]
    chunks: list[Chunk] = list(plan(data, max_tokens, share=share))
    seen = []
    for chunk in chunks:
        assert len(chunk.prefixes) == 1 or padded(chunk.prefixes) <= max_tokens
        for rows in chunk.micro_batches:
            size = padded([row.tokens for row in rows])
            assert len(rows) == 1 or size <= max_tokens
            assert size - sum(len(row.tokens) for row in rows) <= 0.05 * size
            for row in rows:
                assert chunk.prefixes[row.prefix] + row.tokens == row.datum.tokens
                seen.append(row.index)
    assert sorted(seen) == list(range(len(data)))


# --- the sum ------------------------------------------------------------------------------------


class NoPrefixes:
    """Nothing is shared."""

    def backward(self) -> None:
        """Nothing to carry back."""


class Bigrams:
    """A network whose next token depends on the last one alone, by a table of scores."""

    note = ""
    refills = False

    def __init__(
        self, *, shares_prefixes: bool = False, same_without_gradients: bool = True
    ) -> None:
        self.shares_prefixes = shares_prefixes
        self.same_without_gradients = same_without_gradients
        self.column_cost = 0.0
        self.with_gradients: list[bool] = []  # each pass, in turn
        self.scores = torch.randn(8, 8, generator=torch.Generator().manual_seed(3)).requires_grad_()

    def prefill(
        self, prompts: Sequence[Sequence[int]], n: int, room: int
    ) -> tuple[Tensor, NoPrefixes]:
        """Never sampled from."""
        raise NotImplementedError

    def decode(self, tokens_B: Tensor, cache: NoPrefixes) -> Tensor:
        """Never sampled from."""
        raise NotImplementedError

    def verify(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        drafts: Sequence[Sequence[int]],
        room: int,
        look: Look,
    ) -> NoPrefixes:
        """Not used in training."""
        raise NotImplementedError

    def resume(
        self, contexts: Sequence[Sequence[int]], rows: Tensor, cache: NoPrefixes, room: int
    ) -> tuple[Tensor, NoPrefixes]:
        """Not used in training."""
        raise NotImplementedError

    def prefixes(self, prefixes: Sequence[Sequence[int]]) -> NoPrefixes:
        """Nothing to run ahead."""
        self.with_gradients.append(torch.is_grad_enabled())
        return NoPrefixes()

    def logprobs(self, rows: Sequence[Row], prefixes: NoPrefixes) -> Tensor:
        """Logprobs of the tokens after the first of each row."""
        self.with_gradients.append(torch.is_grad_enabled())
        pairs = [
            (before, after, row.datum.temperature)
            for row in rows
            for before, after in zip(row.tokens[:-1], row.tokens[1:], strict=True)
        ]
        table = [torch.log_softmax(self.scores[b] / t, dim=0)[a] for b, a, t in pairs]
        return torch.stack(table)

    def gradient(self, data: Sequence[Datum], max_tokens: int = 1000) -> Tensor:
        """The gradient that `accumulate` leaves."""
        self.scores.grad = None
        accumulate(self, data, CLIP, max_tokens)
        return torch.zeros(8, 8) if self.scores.grad is None else self.scores.grad


DATA = [
    datum((7, 6), (1, 2, 3), 0.5),
    datum((7, 6), (1, 5), -1.0),
    datum((4,), (2, 2, 2, 0), 0.25),
    datum((4, 3, 3), (0,), 2.0),
]


def test_new_logprobs_come_back_in_the_order_of_the_data_and_zero_where_not_trained() -> None:
    network = Bigrams()
    table = torch.log_softmax(network.scores.detach(), dim=1)
    found = accumulate(network, DATA, CLIP, max_tokens=6)
    for row, before in zip(zip(DATA, found, strict=True), (2, 2, 1, 3), strict=True):
        one, logprobs = row
        assert logprobs[:before] == [0.0] * before
        expected = [
            table[one.tokens[i - 1], one.tokens[i]].item() for i in range(before, len(one.tokens))
        ]
        assert logprobs[before:] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_that_of_the_sum_over_all_tokens() -> None:
    network = Bigrams()
    parts = [network.gradient([one]) for one in DATA]
    torch.testing.assert_close(network.gradient(DATA), torch.stack(parts).sum(dim=0))


@pytest.mark.parametrize("max_tokens", [1, 4, 7, 12, 1000])
@pytest.mark.parametrize("shares_prefixes", [False, True])
def test_the_gradient_does_not_depend_on_the_cut(max_tokens: int, shares_prefixes: bool) -> None:
    network = Bigrams(shares_prefixes=shares_prefixes)
    torch.testing.assert_close(
        network.gradient(DATA, max_tokens), Bigrams().gradient(DATA), rtol=1e-5, atol=1e-7
    )


def test_a_gap_in_the_mask_is_neither_trained_nor_reported() -> None:
    # two turns of the policy, 1 2 and 5; between them 6 6, which another one wrote
    tokens = (7, 1, 2, 6, 6, 5)
    mask = (0.0, 1.0, 1.0, 0.0, 0.0, 1.0)
    two_turns = Datum(tokens, mask, (0.0, -1.0, -1.0, 9.0, -99.0, -1.0), mask)
    parts = [
        Datum(tokens, alone, (-1.0,) * 6, alone)
        for alone in ((0.0, 1.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    ]
    network = Bigrams()
    torch.testing.assert_close(network.gradient([two_turns]), network.gradient(parts))
    (logprobs,) = accumulate(network, [two_turns], CLIP, 1000)
    assert [value == 0.0 for value in logprobs] == [True, False, False, True, True, False]


@pytest.mark.parametrize("sampled", [-math.inf, math.inf, 80.0, -300.0])
def test_what_is_not_trained_may_carry_any_sampler_logprob(sampled: float) -> None:
    one = DATA[0]
    odd = Datum(one.tokens, one.mask, (sampled, sampled, *one.sampler_logprobs[2:]), one.advantages)
    network = Bigrams()
    torch.testing.assert_close(network.gradient([odd]), network.gradient([one]))


def test_a_warmer_policy_has_a_flatter_gradient() -> None:
    one = DATA[0]
    warm = Datum(one.tokens, one.mask, one.sampler_logprobs, one.advantages, temperature=2.0)
    network = Bigrams()
    (logprobs,) = accumulate(network, [warm], CLIP, 1000)
    scores = network.scores.detach()[6] / 2.0
    assert logprobs[2] == pytest.approx((scores[1] - torch.logsumexp(scores, dim=0)).item())


def test_no_data_leave_no_gradient() -> None:
    network = Bigrams()
    assert accumulate(network, [], CLIP, 1000) == []
    assert network.scores.grad is None


ZEROS = [datum((7, 6), (1, 2, 3), 0.0), datum((4,), (2, 2), 0.0)]


def test_what_has_no_advantage_costs_no_backward_pass() -> None:
    network = Bigrams()
    found = accumulate(network, ZEROS, CLIP, 1000)
    # one chunk; rows of 4 and 2 tokens go by themselves, since 2 of 8 would be padding
    assert network.with_gradients == [False, False, False]
    assert network.scores.grad is None
    ones = [datum(d.tokens[:n], d.tokens[n:]) for d, n in zip(ZEROS, (2, 1), strict=True)]
    assert found == accumulate(Bigrams(), ones, CLIP, 1000)


def test_beside_what_has_an_advantage_prefixes_are_run_with_gradients() -> None:
    network = Bigrams()
    accumulate(network, [*ZEROS, datum((5,), (1, 2, 3, 4, 5, 6, 7, 1), 2.0)], CLIP, 1000)
    # its row is the longest, and so the last
    assert network.with_gradients == [True, False, False, True]


def test_where_logprobs_would_round_otherwise_every_pass_has_gradients_of_zero() -> None:
    network = Bigrams(same_without_gradients=False)
    accumulate(network, ZEROS, CLIP, 1000)
    assert network.with_gradients == [True, True, True]
    assert network.scores.grad is not None and not network.scores.grad.any()
