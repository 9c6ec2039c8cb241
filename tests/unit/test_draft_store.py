"""The store of drafts: the newest of each problem, each given out once, restored exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from srpo.drafts import DraftStore
from srpo.types import Draft, Group
from tests.factories import group, math_problem


def draft(*tokens: int) -> Draft:
    """A draft that notes two tokens at its first place and one at every other."""
    rest = len(tokens) - 1
    return Draft(
        tokens,
        ((tokens[0], 99), *((token,) for token in tokens[1:])),
        ((-0.1, -2.5), *((-0.25,),) * rest),
    )


def with_drafts(problem_id: str, *drafts: Draft, prompt: tuple[int, ...] = (7, 8)) -> Group:
    made = group([0.0] * len(drafts), math_problem(id=problem_id))
    rollouts = tuple(replace(r, draft=d) for r, d in zip(made.rollouts, drafts, strict=True))
    return replace(made, prompt=prompt, rollouts=rollouts)


def empty(problem_id: str, prompt: tuple[int, ...] = (7, 8)) -> Group:
    """A group to be drawn, by the policy after the one that drew the drafts."""
    return Group(math_problem(id=problem_id), prompt, (), 1)


def test_each_draft_is_given_out_once() -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2), draft(3, 2), draft(4, 2))])
    assert store.take(empty("a"), 2) == [draft(1, 2), draft(3, 2)]
    assert store.take(empty("a"), 2) == [draft(4, 2)]
    assert store.take(empty("a"), 2) == []
    assert store.take(empty("b"), 2) == []


def test_the_newest_group_of_a_problem_takes_the_place_of_the_older() -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2))])
    store.remember([with_drafts("a", draft(5, 2))])
    assert store.take(empty("a"), 9) == [draft(5, 2)]


def test_drafts_of_another_prompt_are_not_given_out() -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2))])
    assert store.take(empty("a", prompt=(7, 9)), 1) == []
    assert store.take(replace(empty("a"), prefix=(8,)), 1) == []
    assert store.take(empty("a"), 1) == [draft(1, 2)]


def test_the_policy_that_drew_them_gets_no_drafts() -> None:
    # it would take all of them over, and its second group would be its first
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2))])
    assert store.take(replace(empty("a"), policy_version=0), 1) == []
    assert store.take(empty("a"), 1) == [draft(1, 2)]


def test_a_problem_whose_drafts_are_all_given_out_is_forgotten() -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2)), with_drafts("b", draft(1, 2), draft(3, 2))])
    for problem_id in ("a", "b"):
        store.take(empty(problem_id), 1)
    assert len(store) == 1


def test_what_began_with_a_prefix_is_not_remembered() -> None:
    store = DraftStore()
    store.remember([replace(with_drafts("a", draft(1, 2)), prefix=(8,))])
    assert len(store) == 0


def test_restored_it_gives_out_the_same(tmp_path: Path) -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2), draft(3, 4, 2)), with_drafts("b", draft(5, 2))])
    store.take(empty("a"), 1)
    store.save(tmp_path)
    restored = DraftStore()
    restored.load(tmp_path)
    for problem_id in ("a", "b"):
        taken = store.take(empty(problem_id), 9)
        assert restored.take(replace(empty(problem_id), policy_version=0), 9) == []
        assert restored.take(empty(problem_id), 9) == taken != []


def test_large_ids_and_exact_logprobs_survive(tmp_path: Path) -> None:
    # 1/3 has no exact float32, 0.25 has: both come back as they were, and so do 17-bit ids
    store = DraftStore()
    exact = Draft((151_000, 2), ((151_000, 70_000), (2,)), ((-1 / 3, -2.0), (-0.25,)))
    store.remember([with_drafts("a", exact), with_drafts("b", draft(5, 2))])
    store.save(tmp_path)
    store.load(tmp_path)
    assert store.take(empty("a"), 1) == [exact]
    assert store.take(empty("b"), 1) == [draft(5, 2)]


def test_a_store_without_drafts_and_a_folder_without_a_file_know_nothing(tmp_path: Path) -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2))])
    store.load(tmp_path)
    assert len(store) == 0
    store.save(tmp_path)
    store.load(tmp_path)
    assert len(store) == 0


def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    store = DraftStore()
    store.remember([with_drafts("a", draft(1, 2))])
    store.save(tmp_path)
    path = tmp_path / "drafts.safetensors"
    arrays = load_file(path)
    arrays["draft_tokens"] = arrays["draft_tokens"][:-1]
    save_file(arrays, path, metadata={"problems": '["a"]'})
    with pytest.raises(ValueError, match="1 values for lengths that sum to 2"):
        DraftStore().load(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"drafts\.safetensors: "):
        DraftStore().load(tmp_path)
