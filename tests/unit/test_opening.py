"""What a model and its tokenizer say of each other before anything is drawn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from srpo.embedded import MODEL_DIR
from srpo.engines.local.loading import check_vocabulary, model_stops
from srpo.errors import ModelError


def model(config_ends: Any, generation_ends: Any, vocab_size: int = 10) -> Any:
    return SimpleNamespace(
        config=SimpleNamespace(eos_token_id=config_ends, vocab_size=vocab_size),
        generation_config=SimpleNamespace(eos_token_id=generation_ends),
    )


@pytest.mark.parametrize(
    ("in_config", "in_generation", "stops"),
    [
        (7, 7, (7,)),
        (151643, [151645, 151643], (151643, 151645)),  # as Qwen2.5's instruct models
        (None, 5, (5,)),
        (None, None, ()),
    ],
)
def test_the_ends_of_both_configs_count(
    in_config: Any, in_generation: Any, stops: tuple[int, ...]
) -> None:
    assert model_stops(model(in_config, in_generation)) == stops


def test_a_tokenizer_with_ids_beyond_the_model_is_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    highest = max(tokenizer.get_vocab().values())
    check_vocabulary("m", model(0, 0, highest + 1), tokenizer)
    with pytest.raises(ModelError) as caught:
        check_vocabulary("m", model(0, 0, highest), tokenizer)
    assert str(caught.value) == (
        f"--model m: the tokenizer has token {highest}, and the model only {highest}; they do not "
        "belong together"
    )
