"""Checkpoints of models: there and back where files name weights otherwise, or not there at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from srpo.engines.local.engine import LocalEngine
from srpo.errors import FaultError, ModelError
from srpo.resuming.checkpoints import remove_old, write_checkpoint
from srpo.run.state import RunState
from srpo.rundir import RunDirectory
from srpo.types import Adam, Clip, Datum
from tests.models import MODELS, SIZES, model_of

DATUM = Datum(
    tokens=(5, 6, 7, 8),
    mask=(0.0, 0.0, 1.0, 1.0),
    sampler_logprobs=(0.0, 0.0, -3.0, -3.0),
    advantages=(0.0, 0.0, 0.5, 0.5),
)


def engine_of(kind: str, folder: Path, seed: int) -> LocalEngine:
    return LocalEngine(model_of(kind, MODELS[kind], seed), folder)


def update(engine: LocalEngine) -> None:
    engine.forward_backward([DATUM], Clip())
    engine.optim_step(Adam(lr=1e-2))


@pytest.mark.parametrize("kind", MODELS)
def test_an_engine_that_was_loaded_goes_on_as_the_one_that_was_saved(
    kind: str, tmp_path: Path
) -> None:
    first, other = engine_of(kind, tmp_path, seed=1), engine_of(kind, tmp_path, seed=2)
    update(first)
    other.load(first.save("one"))
    for engine in (first, other):
        update(engine)
    weights = dict(other.model.named_parameters())
    for name, weight in first.model.named_parameters():
        assert torch.equal(weight, weights[name]), name


def test_a_file_may_name_weights_otherwise_than_the_module(tmp_path: Path) -> None:
    engine = engine_of("mixtral", tmp_path, seed=1)
    saved = load_file(Path(engine.save("one")) / "model.safetensors")
    assert set(saved) - set(engine.model.state_dict())  # or the test above would prove nothing


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    saved = engine_of("llama", tmp_path, seed=1).save("one")
    with pytest.raises(ModelError, match="one: weights of another model"):
        engine_of("gpt_neox", tmp_path, seed=1).load(saved)


def test_a_checkpoint_with_more_layers_is_refused(tmp_path: Path) -> None:
    saved = engine_of("llama", tmp_path, seed=1).save("one")
    engine = LocalEngine(model_of("llama", {**SIZES, "num_hidden_layers": 1}), tmp_path)
    with pytest.raises(ModelError, match=r"weights of another model: the files hold 9 tensors"):
        engine.load(saved)


class FullDisk:
    """A tokenizer for which there is no room any more beside the weights."""

    def save_pretrained(self, folder: str) -> None:
        raise OSError(errno.ENOSPC, "full")


class Killed(BaseException):
    """The end of a process that cleans nothing up."""


def test_a_disk_that_fills_up_while_a_model_is_saved_keeps_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(tmp_path / "run", "", {})
    engine = engine_of("llama", run.checkpoints, seed=1)
    update(engine)
    with pytest.raises(FaultError, match="full"):  # after the engine's files
        write_checkpoint(run, engine, FullDisk(), RunState(step=1))
    assert list(run.checkpoints.iterdir()) == []

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("srpo.engines.local.engine.save_file", full)  # between the engine's files
    with pytest.raises(FaultError, match="full"):
        write_checkpoint(run, engine, FullDisk(), RunState(step=1))
    assert list(run.checkpoints.iterdir()) == []


def test_what_a_killed_save_left_of_a_model_is_found_by_its_name_and_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(tmp_path / "run", "", {})
    left: list[str] = []

    def killed(*_: object) -> None:
        left.extend(sorted(path.name for path in run.checkpoints.iterdir()))
        raise Killed

    monkeypatch.setattr("srpo.engines.local.engine.save_file", killed)
    with pytest.raises(Killed):
        write_checkpoint(run, engine_of("llama", run.checkpoints, seed=1), None, RunState(step=1))
    assert left == [".step_000001.partial"]  # and nothing beside it, that nobody would look for
    for name in left:
        (run.checkpoints / name).mkdir()
    remove_old(run, 1)
    assert list(run.checkpoints.iterdir()) == []
