"""The embedded model's tokenizer: byte-level BPE, learned from the world's own texts.

Digits and operators always stand alone, so arithmetic is the same wherever it appears; phrases
between them become single tokens. Being byte-level, it can encode any text.
"""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from srpo.embedded.demonstrations import CLEAN, demonstrate
from srpo.embedded.world import LEVELS, draw_task, word
from srpo.types import Domain

VOCAB_SIZE = 768
PAD, EOS, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, EOS, USER, ASSISTANT)
THINKING = ("<think>", "</think>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DOMAINS: tuple[Domain, ...] = ("math", "code")
# a digit; an operator with its spaces; or a phrase up to the next of these, with what leads it
PIECES = Regex(r"\d| ?[+\-*=;] ?|[,.]?[^\d+\-*=;,.\n]+\n?|[,.\n]")


def learn_tokenizer(seed: int, num_texts: int = 12_000) -> PreTrainedTokenizerFast:
    """Learn the tokenizer from `num_texts` statements and answers."""
    rng = random.Random(f"tokenizer/{seed}")
    texts = []
    for _ in range(num_texts // 2):
        task = draw_task(rng, rng.choice(DOMAINS), rng.choice(LEVELS))
        texts += [word(task, rng), demonstrate(task, CLEAN[task.domain], rng)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    core.add_tokens([AddedToken(text, special=False) for text in THINKING])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, pad_token=PAD)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json and its settings, as transformers reads them."""
    tokenizer.save_pretrained(str(folder))
