"""One update on the scripted engine: who is trained on, averaged over what, in which parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from srpo.account import fate_of
from srpo.batching import with_stage_advantages
from srpo.engines.scripted import ScriptedEngine
from srpo.run.health import DriftedError
from srpo.run.recording import Update
from srpo.run.session import Session
from srpo.run.stepping import update
from srpo.run.watcher import Silent
from srpo.types import Clip, Datum, Group, Rollout, Verdict
from tests.factories import math_problem, rollout
from tests.short_runs import config_of

FIRST, SECOND = (7, 8), (9,)
# two completions of each prompt, equally likely; the second one's last token is certain
SCRIPT: dict[tuple[int, ...], list[tuple[int, ...]]] = {
    FIRST: [(10,), (11, 12)],
    SECOND: [(13,), (14,)],
}
HALF = math.log(0.5)


class Recording(ScriptedEngine):
    """Keeps the data that it was given, call by call."""

    def __init__(self, folder: Path) -> None:
        super().__init__(SCRIPT, folder)
        self.given: list[list[Datum]] = []

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        self.given.append(list(data))
        return super().forward_backward(data, clip)


def session(folder: Path, engine: Recording | None = None, **changes: Any) -> Session:
    """A session as far as an update needs one; its rate is 0, so that gradients stay the same."""
    stage = {"max_completion_tokens": 10, "learning_rate": 0.0, **changes.pop("stage", {})}
    nothing = cast(Any, None)
    return Session(
        config=config_of(folder, stage=stage, **changes),
        run=nothing,
        sets=nothing,
        tokenizer=nothing,
        prompter=nothing,
        engine=engine or Recording(folder),
        grader=nothing,
        ledger=nothing,
        watcher=Silent(),
    )


def drawn(tokens: tuple[int, ...], verdict: Verdict, reward: float | None) -> Rollout:
    logprobs = (HALF,) + (0.0,) * (len(tokens) - 1)
    return replace(rollout(verdict, reward=reward, tokens=tokens), sampler_logprobs=logprobs)


def mixed() -> Group:
    """Advantages +1 on one token and -1 on two."""
    rollouts = (drawn((10,), Verdict.CORRECT, 1.0), drawn((11, 12), Verdict.WRONG, 0.0))
    return Group(math_problem(id="m1"), FIRST, rollouts, policy_version=0)


def all_wrong() -> Group:
    """Wrong, both of them, and the second is longer than it should be: +1 and -1 if trained on."""
    rollouts = (drawn((13,), Verdict.WRONG, 0.0), drawn((14,), Verdict.WRONG, -1.0))
    return Group(math_problem(id="m2"), SECOND, rollouts, policy_version=0)


def updated(s: Session, *groups: Group) -> Update:
    stage = s.config.stage[0]
    return update(
        s, stage, [with_stage_advantages(s.config.loss, stage, group) for group in groups]
    )


# --- the gradient of one update -------------------------------------------------------------------
# A token with the probability 1/2 and an advantage A has the gradient -A/2 on its own score and
# +A/2 on the other one's. So +a and -b on the two choices of a prompt give -(a+b)/2 and +(a+b)/2.


@pytest.mark.parametrize(
    ("average", "over", "first", "second"),
    [
        # 3 + 2 tokens: a = b = 1/5 in both groups; of the mixed group alone 1/3
        ("token", "all", 1 / 5, 1 / 5),
        ("token", "mixed", 1 / 3, 0),
        # 4 answers: a = 1/4, b = 1/4 / 2 tokens; second group 1/4 and 1/4. Mixed: 1/2 and 1/4
        ("answer", "all", (1 / 4 + 1 / 8) / 2, 1 / 4),
        ("answer", "mixed", (1 / 2 + 1 / 4) / 2, 0),
        # 4 answers, or 2, of 10 tokens at most
        ("constant", "all", 1 / 40, 1 / 40),
        ("constant", "mixed", 1 / 20, 0),
    ],
)
def test_the_gradient_is_that_of_the_average_worked_out_by_hand(
    tmp_path: Path, average: str, over: str, first: float, second: float
) -> None:
    s = session(tmp_path, loss={"average": average, "average_over": over})
    done = updated(s, mixed(), all_wrong())
    assert done.grad_norm == pytest.approx(math.sqrt(2 * first**2 + 2 * second**2), rel=1e-5)
    assert done.logprob_gap == pytest.approx(0.0)


def test_without_the_spread_advantages_and_gradient_are_half_as_large(tmp_path: Path) -> None:
    # rewards 1 and 0: +1/2 and -1/2, over 3 tokens: a = b = 1/6
    done = updated(session(tmp_path, loss={"scale_by_std": False}), mixed())
    assert done.grad_norm == pytest.approx(math.sqrt(2) / 6)


@pytest.mark.parametrize(("passes", "updates"), [(1, 1), (3, 3)])
def test_each_pass_is_one_update_more_on_the_same_data(
    tmp_path: Path, passes: int, updates: int
) -> None:
    engine = Recording(tmp_path)
    s = session(tmp_path, engine, optimizer={"passes": passes})
    assert updated(s, mixed(), all_wrong()).grad_norm == pytest.approx(2 / 5, rel=1e-5)
    assert s.state.policy_version == len(engine.given) == updates
    assert all(data == engine.given[0] for data in engine.given)


def test_minibatches_are_averaged_each_over_its_own_groups(tmp_path: Path) -> None:
    # the mixed group alone: 3 tokens, a = b = 1/3; the other alone: 2 tokens, a = b = 1/2; the
    # norm that is told is the mean of sqrt(2)/3 and sqrt(2)/2
    engine = Recording(tmp_path)
    s = session(tmp_path, engine, optimizer={"minibatches": 2, "passes": 2})
    norm = updated(s, mixed(), all_wrong()).grad_norm
    assert norm == pytest.approx(math.sqrt(2) * (1 / 3 + 1 / 2) / 2, rel=1e-5)
    assert s.state.policy_version == 4
    prompts = [{datum.tokens[:1] for datum in data} for data in engine.given]
    assert prompts == [{(7,)}, {(9,)}, {(7,)}, {(9,)}]


def test_a_part_with_nothing_to_train_on_is_no_update(tmp_path: Path) -> None:
    loss, engine = {"average_over": "mixed"}, Recording(tmp_path)
    s = session(tmp_path, engine, loss=loss, optimizer={"minibatches": 2})
    assert updated(s, mixed(), all_wrong()).grad_norm == pytest.approx(math.sqrt(2) / 3, rel=1e-5)
    assert s.state.policy_version == 1
    assert updated(s, all_wrong()).grad_norm is None
    assert (s.state.policy_version, len(engine.given)) == (1, 1)
    assert s.events == [("no_signal", "step 1: no group had a signal; no update")]


def drawn_by_another(group: Group, first_logprob: float) -> Group:
    """The group as if a sampler that differs had drawn it: its logprob of each first token."""
    rollouts = (
        replace(r, sampler_logprobs=(first_logprob, *r.sampler_logprobs[1:]))
        for r in group.rollouts
    )
    return replace(group, rollouts=tuple(rollouts))


@pytest.mark.parametrize(
    ("cap", "weight", "at_cap"),
    [
        # the sampler's 1/4 for the trainer's 1/2: a weight of 2 on 2 of 3 tokens, or of the cap
        (3.0, 2.0, 0.0),
        (1.5, 1.5, 2 / 3),
    ],
)
def test_importance_weights_make_up_for_a_sampler_that_differs(
    tmp_path: Path, cap: float, weight: float, at_cap: float
) -> None:
    # unweighted a = b = 1/3; the answer's certain second token has no gradient
    engine = Recording(tmp_path)
    loss, health = {"importance_cap": cap}, {"max_logprob_gap": 0}
    s = session(tmp_path, engine, loss=loss, health=health, optimizer={"passes": 2})
    done = updated(s, drawn_by_another(mixed(), 2 * HALF))
    assert done.grad_norm == pytest.approx(weight * math.sqrt(2) / 3, rel=1e-5)
    assert done.importance_capped_frac == pytest.approx(at_cap)
    assert done.logprob_gap == pytest.approx(-HALF)  # of what was drawn, not of what was corrected
    asked, *trained = engine.given
    assert [datum.advantages for datum in asked] == [(0.0,) * 3, (0.0,) * 4]
    assert len(trained) == 2 and trained[0] == trained[1]


def test_importance_weights_go_with_the_minibatch_of_their_groups(tmp_path: Path) -> None:
    engine = Recording(tmp_path)
    s = session(tmp_path, engine, loss={"importance_cap": 2}, optimizer={"minibatches": 2})
    norm = updated(s, mixed(), all_wrong()).grad_norm
    assert norm == pytest.approx(math.sqrt(2) * (1 / 3 + 1 / 2) / 2, rel=1e-5)  # all weights are 1
    prompts = [[datum.tokens[:1] for datum in data] for data in engine.given]
    assert prompts == [[(7,), (7,), (9,), (9,)], [(7,), (7,)], [(9,), (9,)]]


def test_a_sampler_that_is_too_far_off_stops_the_run_before_any_weight(tmp_path: Path) -> None:
    class Run:
        def write_fault(self, step: int, groups: Sequence[Group]) -> Path:
            return tmp_path / "fault"

    engine = Recording(tmp_path)
    s = session(tmp_path, engine, loss={"importance_cap": 2})
    s.run = cast(Any, Run())
    with pytest.raises(DriftedError, match=r"disagree by 0\.462 nats"):  # ln 2 on 2 of 3 tokens
        updated(s, drawn_by_another(mixed(), 2 * HALF))
    assert s.state.policy_version == 0


def test_the_reference_is_asked_about_the_groups_that_are_trained_on_and_no_others(
    tmp_path: Path,
) -> None:
    # policy and reference are the same, so the KL term is zero and the gradient is as without
    s = session(tmp_path, loss={"average_over": "mixed", "kl_weight": 0.5})
    s.reference = reference = Recording(tmp_path)
    assert updated(s, mixed(), all_wrong()).grad_norm == pytest.approx(math.sqrt(2) / 3, rel=1e-5)
    assert [[datum.tokens for datum in data] for data in reference.given] == [
        [(7, 8, 10), (7, 8, 11, 12)]
    ]


# --- who gets an advantage ------------------------------------------------------------------------

RIGHT = drawn((10,), Verdict.CORRECT, 1.0)
CUT = replace(drawn((10,), Verdict.TRUNCATED, 0.0), stop_reason="length")
BAD = drawn((10,), Verdict.WRONG, 0.0)
SOFT = {"reward": {"overlong": "soft"}}
FIGURES = {"G": "gradient", "T": "truncated", "S": "subset"}


@pytest.mark.parametrize(
    ("loss", "stage", "expected", "fates"),
    [
        # rewards 1, 1, 0 (cut), 0: mean 1/2, std 1/2
        ({}, {}, [1, 1, 0, -1], "GGTG"),
        ({"mask_truncated": False}, {}, [1, 1, -1, -1], "GGGG"),
        ({}, SOFT, [1, 1, -1, -1], "GGGG"),
        # of 1, 1, 0: mean 2/3, std .4714
        ({"count_truncated": False}, {}, [0.7071, 0.7071, 0, -1.4142], "GGTG"),
        ({"count_truncated": False, "mask_truncated": False}, {}, [0.7071, 0.7071, 0, -1.4142],
         "GGTG"),
        # one right and one wrong answer vary most; the wrong one was not cut
        ({"subset": 2}, {}, [1, 0, 0, -1], "GSSG"),
        ({"subset": 2, "mask_truncated": False}, {}, [1, 0, 0, -1], "GSSG"),
        # of three: masked, the cut one makes room; else one right and two that are not: mean 1/3
        ({"subset": 3}, {}, [0.7071, 0.7071, 0, -1.4142], "GGSG"),
        ({"subset": 3, "count_truncated": False}, {}, [0.7071, 0.7071, 0, -1.4142], "GGSG"),
        ({"subset": 3, "mask_truncated": False}, {}, [1.4142, 0, -0.7071, -0.7071], "GSGG"),
        ({"subset": 3}, SOFT, [1.4142, 0, -0.7071, -0.7071], "GSGG"),
        # differences instead of units of the spread
        ({"scale_by_std": False, "subset": 3}, {}, [0.3333, 0.3333, 0, -0.6667], "GGSG"),
        # a mixed group is the same whatever becomes of the others
        ({"average_over": "mixed"}, {}, [1, 1, 0, -1], "GGTG"),
    ],
)  # fmt: skip
def test_advantages_and_fates_are_those_worked_out_by_hand(
    tmp_path: Path,
    loss: dict[str, Any],
    stage: dict[str, Any],
    expected: list[float],
    fates: str,
) -> None:
    s = session(tmp_path, loss=loss, stage=stage)
    group = Group(math_problem(), FIRST, (RIGHT, RIGHT, CUT, BAD), policy_version=0)
    found = with_stage_advantages(s.config.loss, s.config.stage[0], group)
    assert [round(r.advantage, 4) for r in found.rollouts] == expected
    assert [fate_of(r, found).value for r in found.rollouts] == [FIGURES[f] for f in fates]


@pytest.mark.parametrize("verdict", [Verdict.CORRECT, Verdict.WRONG])
@pytest.mark.parametrize("subset", [0, 2])
def test_groups_that_are_left_out_of_the_average_have_no_advantage_at_all(
    tmp_path: Path, verdict: Verdict, subset: int
) -> None:
    rollouts = tuple(drawn((10,), verdict, reward) for reward in (0.9, 0.5, 0.1))
    group = Group(math_problem(), FIRST, rollouts, policy_version=0)
    for over, has_signal in (("all", True), ("mixed", False)):
        s = session(tmp_path, loss={"average_over": over, "subset": subset})
        found = with_stage_advantages(s.config.loss, s.config.stage[0], group)
        assert found.has_signal == has_signal
    assert {fate_of(r, found).value for r in found.rollouts} == {f"all_{verdict}"}
