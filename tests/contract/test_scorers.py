"""Problems that name another package's scorer: its word becomes our verdict, whatever happens.

The package here is a small one of the same shape; the slow tests ask reasoning-gym itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srpo.config import RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.errors import ConfigError
from srpo.rewards import Grader
from srpo.rewards.scorers import ScorerVerifier
from srpo.run.problem_sets import ProblemSets, SplitSet, check_scorers
from srpo.types import Group, Problem, Scorer, Verdict
from tests.factories import math_problem, rollout

PACKAGE = """
import time

class Sums:
    def score_answer(self, answer, entry):
        if answer == "sleep":
            time.sleep(60)
        if answer == "raise":
            raise ValueError(answer)
        if answer == "grow":
            "x" * (8 << 30)
        if answer == "nothing":
            return None
        gold = entry["answer"]
        return 1.0 if answer.strip() == gold else 0.5 if gold in answer else 0.0

class Never:
    def score_answer(self, answer, entry):
        return 0.0

class Runs:
    def score_answer(self, answer, entry):
        return float(eval(answer) == entry["answer"])
"""
FRONT = """
from reasoning_gym.sets import Never, Runs, Sums

def create_dataset(name, size, seed):
    return {"sums": Sums, "never": Never, "runs": Runs}[name]()
"""
SUM = Scorer("sums", '{"answer":"4"}')


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package reasoning_gym, found by this process and by those it starts."""
    (tmp_path / "reasoning_gym").mkdir()
    (tmp_path / "reasoning_gym" / "__init__.py").write_text(FRONT)
    (tmp_path / "reasoning_gym" / "sets.py").write_text(PACKAGE)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def verifier(package: None) -> Iterator[ScorerVerifier]:
    found = ScorerVerifier(timeout_s=0.5)
    yield found
    found.close()


def scored(scorer: Scorer = SUM, id: str = "s1") -> Problem:
    return Problem(id=id, domain="math", statement="2 + 2 =", answer="4", scorer=scorer)


def test_a_score_of_one_is_correct_and_any_other_wrong(verifier: ScorerVerifier) -> None:
    texts = ["4", r"It is \boxed{4}.", r"\boxed{5}", r"\boxed{It is 4}"]
    assert verifier.check([(SUM, text) for text in texts]) == [
        (Verdict.CORRECT, ""),
        (Verdict.CORRECT, ""),
        (Verdict.WRONG, "scored 0"),
        (Verdict.WRONG, "scored 0.5"),
    ]


@pytest.mark.parametrize(
    "text", ["", r"\boxed{}", r"\boxed{4", r"-\boxed{4}", "First I add.\nThen it is 4.", "It is 4."]
)
def test_what_holds_no_answer_is_not_scored(verifier: ScorerVerifier, text: str) -> None:
    assert verifier.check([(SUM, text)])[0][0] is Verdict.NO_ANSWER


def test_an_answer_that_the_scorer_fails_on_is_wrong_and_the_next_is_none_the_worse(
    verifier: ScorerVerifier,
) -> None:
    found = verifier.check([(SUM, text) for text in (r"\boxed{raise}", r"\boxed{nothing}", "4")])
    assert [verdict for verdict, _ in found] == [Verdict.WRONG, Verdict.WRONG, Verdict.CORRECT]
    assert found[0][1] == "the scorer cannot read the answer (ValueError)"


def test_scoring_that_takes_too_long_or_too_much_memory_is_timed_out(
    verifier: ScorerVerifier,
) -> None:
    verifier.check([(SUM, "4")])  # the process has started
    start_s = time.monotonic()
    found = verifier.check([(SUM, r"\boxed{sleep}"), (SUM, r"\boxed{grow}"), (SUM, "4")])
    expected = [Verdict.TIMED_OUT, Verdict.TIMED_OUT, Verdict.CORRECT]
    assert [verdict for verdict, _ in found] == expected
    assert time.monotonic() - start_s < 20  # not the minute that the scorer sleeps


@pytest.mark.parametrize(
    ("scorer", "note"),
    [
        (Scorer("never", '{"answer":"4"}'), "the scorer does not accept the entry's own answer"),
        (
            Scorer("sums", '{"answer":4}'),
            "the scorer fails on the entry's own answer (AttributeError)",
        ),
        (Scorer("sums", '{"answer":null}'), "the scorer cannot read the answer (TypeError)"),
        (Scorer("none", '{"answer":"4"}'), "no such scorer"),
        (Scorer("runs", '{"answer":4}'), "no such scorer"),
    ],
)
def test_trouble_of_the_entry_is_ungradable_and_never_a_wrong_answer(
    verifier: ScorerVerifier, scorer: Scorer, note: str
) -> None:
    assert verifier.check([(scorer, "5")]) == [(Verdict.UNGRADABLE, note)]


def test_a_process_that_cannot_start_is_infra_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srpo.rewards.servers._COMMAND", ["/bin/false"])
    verifier = ScorerVerifier()
    (verdict, note) = verifier.check([(SUM, "4")])[0]
    assert verdict is Verdict.INFRA_ERROR and note.startswith("the scorer server failed")


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        (Scorer("sum", "{}"), "names the data set 'sum': reasoning-gym has no data set of this"),
        (Scorer("runs", "{}"), "names the data set 'runs': its scorer runs answers as Python"),
        (Scorer("sums", "{}", package="no_such"), "the package no_such, which is not installed; "),
    ],
)
def test_a_scorer_that_cannot_be_used_is_named_before_anything_is_trained(
    verifier: ScorerVerifier, scorer: Scorer, said: str
) -> None:
    sets = ProblemSets({"math": SplitSet([scored(), scored(scorer, "s2")])})
    with pytest.raises(ConfigError) as caught:
        check_scorers(sets, verifier.problem_with)
    assert said in str(caught.value) and "problem s2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_problems_without_a_scorer_ask_for_no_package() -> None:
    assert ScorerVerifier().problem_with([math_problem()]) is None


def test_in_one_group_of_problems_each_is_checked_its_own_way(package: None) -> None:
    # 8/2 is 4 as mathematics, and no text that the scorer takes for it
    texts = [r"\boxed{8/2}", r"\boxed{4}"]
    groups = [
        Group(problem, (7,), tuple(rollout(text=text) for text in texts), 0)
        for problem in (scored(), math_problem())
    ]
    with Grader(VerifierConfig()) as grader:
        graded = grader.grade(
            groups, thinking_required=False, prefilled_thinking=False, reward=RewardConfig()
        )
    verdicts = [[r.verdict for r in group.rollouts] for group in graded]
    assert verdicts == [[Verdict.WRONG, Verdict.CORRECT], [Verdict.CORRECT, Verdict.CORRECT]]
    # 1 for correct, .1 for the form
    assert [r.reward for r in graded[0].rollouts] == [0.1, 1.1]


@pytest.mark.slow
def test_reasoning_gyms_own_scorers_give_the_verdicts() -> None:
    verifier = ScorerVerifier()
    entry = '{"answer":"1000","question":"999 + 1 =","metadata":{}}'
    chain = Scorer("chain_sum", entry)
    texts = ["1000", r"\boxed{1,000}", r"\boxed{+1000.0}", r"\boxed{999}", r"\boxed{so 1000}"]
    try:
        assert verifier.problem_with([scored(chain)]) is None
        found = [verdict for verdict, _ in verifier.check([(chain, text) for text in texts])]
    finally:
        verifier.close()
    assert found == [Verdict.CORRECT] * 3 + [Verdict.WRONG] * 2
