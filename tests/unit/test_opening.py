"""What a model and its tokenizer say of each other before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import AutoTokenizer, PreTrainedConfig

from srpo.config import Config
from srpo.embedded import MODEL_DIR
from srpo.engines.local import loading
from srpo.engines.local.loading import check_vocabulary, find_model
from srpo.engines.local.opening import longest_drawn
from srpo.errors import ModelError


def model(vocab_size: int) -> Any:
    return SimpleNamespace(config=PreTrainedConfig(vocab_size=vocab_size))


def test_a_tokenizer_with_ids_beyond_the_model_is_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    highest = max(tokenizer.get_vocab().values())
    check_vocabulary("m", model(highest + 1), tokenizer)
    with pytest.raises(ModelError) as caught:
        check_vocabulary("m", model(highest), tokenizer)
    assert str(caught.value) == (
        f"--model m: the tokenizer has token {highest}, and the model only {highest}; they do not "
        "belong together"
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Exception | None], list[str]]]:
    """Sets what asking the hub raises; returns the names it was asked for."""

    def answers(error: Exception | None) -> list[str]:
        asked: list[str] = []

        def model_info(_: Any, name: str, timeout: float) -> None:
            assert timeout <= 10
            asked.append(name)
            if error is not None:
                raise error

        monkeypatch.setattr(HfApi, "model_info", model_info)
        return asked

    loading._ask_hub.cache_clear()
    yield answers
    loading._ask_hub.cache_clear()


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-0.5B", "gpt2", "a-b/c_d.e-1.7B"])
def test_a_name_of_the_hub_is_one_with_a_point_in_it_too(
    name: str, hub: Callable[[Exception | None], list[str]]
) -> None:
    asked = hub(None)
    assert (find_model(name), find_model(name)) == (name, name)
    assert asked == [name]


@pytest.mark.parametrize("name", ["./Qwen2.5", "~/m", "/m", "a/b/c", "m/model.safetensors"])
def test_what_can_only_be_a_path_is_not_asked_for(
    name: str, hub: Callable[[Exception | None], list[str]]
) -> None:
    asked = hub(None)
    with pytest.raises(ModelError, match=f"{name}: no such folder"):
        find_model(name)
    assert not asked


@pytest.mark.parametrize("name", ["", "  "])
def test_no_name_is_not_the_folder_that_one_is_in(name: str) -> None:
    with pytest.raises(ModelError, match='--model is empty; give "embedded", a folder, or a hub'):
        find_model(name)


@pytest.mark.parametrize(
    "name",
    [
        "Qwen/Qwen2.5-0.5B/",
        "https://huggingface.co/Qwen/Qwen2.5-0.5B",
        "https://huggingface.co/Qwen/Qwen2.5-0.5B/tree/main",
        "hf.co/Qwen/Qwen2.5-0.5B?x=1",
    ],
)
def test_an_address_of_the_hub_is_answered_with_the_name_to_write(
    name: str, hub: Callable[[Exception | None], list[str]]
) -> None:
    asked = hub(None)
    with pytest.raises(ModelError, match=r"no such folder; .* write Qwen/Qwen2\.5-0\.5B$"):
        find_model(name)
    assert not asked


def test_without_a_network_the_way_out_is_named(
    hub: Callable[[Exception | None], list[str]],
) -> None:
    hub(ConnectionError("Name or service not known"))
    with pytest.raises(ModelError, match=r"no such folder here.*cannot be asked.*hf download a/b "):
        find_model("a/b")


def test_a_model_that_the_hub_does_not_have(hub: Callable[[Exception | None], list[str]]) -> None:
    response: Any = SimpleNamespace(headers={}, request=None)
    hub(RepositoryNotFoundError("404", response=response))
    with pytest.raises(ModelError, match=r"a/b: .*the hub has no model of this name"):
        find_model("a/b")


def test_the_longest_draw_has_room_for_own_answers_and_for_held_out_problems() -> None:
    def longest(*lengths: tuple[int, int], prefixes: bool = False) -> int:
        stages = [
            {"name": f"s{n}", "sets": {"m": 1}, "steps": 1,
             "max_prompt_tokens": prompt, "max_completion_tokens": completion}
            for n, (prompt, completion) in enumerate(lengths)
        ]  # fmt: skip
        sets = {"m": {"generate": "math", "count": 9}}
        return longest_drawn(
            Config.model_validate({"sets": sets, "stage": stages, "reuse": {"prefixes": prefixes}})
        )

    assert longest((20, 100)) == 120
    # with three quarters of 99 tokens of an own answer: 20 + 74 + 100
    assert longest((20, 100), prefixes=True) == 194
    # the second stage begins with answers of the first: 60 + 74 + 100 beside 20 + 74 + 100
    assert longest((20, 100), (60, 100), prefixes=True) == 234
    # problems that the first stage held out are answered as in the last: 50 + 100
    assert longest((50, 10), (20, 100)) == 150
