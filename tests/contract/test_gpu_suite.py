"""The suite for a GPU runs on few machines; what it calls is called here, on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import test_engine as contract
from tests.engine_promises import Promise, promises
from tests.gpu.test_engine_on_gpu import local_engine


def test_each_test_of_the_contract_is_a_promise() -> None:
    named = {name for name in vars(contract) if name.startswith("test_")}
    assert len(named) >= 11
    assert {promise.test.__name__ for promise in promises()} == named


def test_a_promise_with_values_is_there_once_for_each() -> None:
    bad = [p for p in promises() if p.test.__name__.startswith("test_a_step_whose_gradient")]
    assert [str(p.values["bad"]) for p in bad] == ["nan", "inf", "-inf"]


@pytest.mark.parametrize("promise", promises(), ids=str)
def test_the_promises_can_be_called_with_an_engine(promise: Promise, tmp_path: Path) -> None:
    promise.assert_kept_by(lambda: contract.scripted(tmp_path))


@pytest.mark.parametrize("promise", promises(), ids=str)
def test_the_engine_of_the_gpu_suite_keeps_them_on_the_cpu(
    promise: Promise, tmp_path: Path
) -> None:
    promise.assert_kept_by(lambda: local_engine("llama", tmp_path, "cpu"))
