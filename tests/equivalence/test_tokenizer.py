"""The bundled model's tokenizer as transformers reads it, against the one that was learned."""

from __future__ import annotations

import json

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from srpo.embedded import MODEL_DIR


def test_transformers_reads_the_tokenizer_as_it_was_learned() -> None:
    # transformers may put another pre-tokenizer in place of ours: then the pieces differ
    own = Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))
    loaded = AutoTokenizer.from_pretrained(MODEL_DIR)
    text = "<|user|>Compute modulo ten, from left to right: 7 + 2 - 8.<|assistant|><think>7+2=9"
    ids = loaded.encode(text)
    assert ids == own.encode(text).ids
    assert [loaded.decode([i]) for i in ids[-6:]] == ["<think>", "7", "+", "2", "=", "9"]
    assert loaded.decode(ids) == text
    config = json.loads((MODEL_DIR / "config.json").read_text(encoding="utf-8"))
    assert loaded.eos_token_id == config["eos_token_id"] == loaded.get_vocab()["<|end|>"]


def test_it_can_encode_any_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    text = "naïve 漢字 😀 \t√2 ≠ 1.5e-3\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
