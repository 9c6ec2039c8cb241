"""From a problem to token ids, and from a completion back to text."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from transformers import AutoTokenizer

from srpo.config import PromptConfig
from srpo.embedded import MODEL_DIR
from srpo.errors import ConfigError
from srpo.prompts import Prompter
from srpo.types import Sample, StopReason
from tests.factories import code_problem, math_problem


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL_DIR)


@pytest.fixture
def bare(tokenizer: Any) -> Any:
    """The same tokenizer without a chat template."""
    without = copy.deepcopy(tokenizer)
    without.chat_template = None
    return without


def prompter(tokenizer: Any, template: str, **more: str) -> Prompter:
    return Prompter(tokenizer, PromptConfig.model_validate({"template": template, **more}))


def test_the_chat_template_wraps_the_statement(tokenizer: Any) -> None:
    chat = prompter(tokenizer, "chat")
    assert chat.text_of(math_problem("What is 2 + 2?")) == "<|user|>What is 2 + 2?<|assistant|>"
    assert not chat.opens_thinking


def test_special_tokens_of_the_template_are_one_id_each_and_come_once(tokenizer: Any) -> None:
    ids = prompter(tokenizer, "chat").prompt_of(math_problem())
    vocabulary = tokenizer.get_vocab()
    assert (ids[0], ids[-1]) == (vocabulary["<|user|>"], vocabulary["<|assistant|>"])
    assert ids.count(ids[0]) == ids.count(ids[-1]) == 1
    assert tokenizer.decode(ids) == prompter(tokenizer, "chat").text_of(math_problem())


def test_the_same_problem_has_the_same_prompt(tokenizer: Any) -> None:
    chat = prompter(tokenizer, "chat")
    assert chat.prompt_of(math_problem()) == chat.prompt_of(math_problem())


def test_r1_zero_opens_the_thinking_itself(bare: Any) -> None:
    r1_zero = prompter(bare, "r1-zero")
    text = r1_zero.text_of(math_problem("What is {x}?"))
    assert r1_zero.opens_thinking
    assert text.startswith("A conversation between User and Assistant.")
    assert text.endswith("User: What is {x}? Assistant: <think>")


def test_plain_is_the_statement_and_nothing_else(bare: Any) -> None:
    plain = prompter(bare, "plain")
    assert plain.text_of(math_problem("2 + 2 =")) == "2 + 2 ="
    assert not plain.opens_thinking
    assert bare.decode(plain.prompt_of(math_problem("2 + 2 ="))) == "2 + 2 ="


def test_each_domain_has_its_instruction(tokenizer: Any) -> None:
    plain = prompter(tokenizer, "plain", math_instruction="Box it.", code_instruction="Fence it.")
    assert plain.text_of(math_problem("2 + 2?")) == "2 + 2?\nBox it."
    assert plain.text_of(code_problem()) == "Write add(a, b).\nFence it."


def test_a_chat_template_that_opens_the_thinking_is_noticed(tokenizer: Any) -> None:
    opening = copy.deepcopy(tokenizer)
    opening.chat_template += "{% if add_generation_prompt %}<think>\n{% endif %}"
    assert prompter(opening, "chat").opens_thinking


def test_chat_without_a_template_says_what_to_set(bare: Any) -> None:
    with pytest.raises(ConfigError, match=r'set prompt\.template to "r1-zero" or "plain"'):
        prompter(bare, "chat")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no\\nsystem') }}", "fails: no; mend it"),
        ("{% for m in messages %}{{ m }", "fails: unexpected '}'; mend it"),
        ("{{ messages[0]['content'] + 1 }}", "fails: can only concatenate str"),
        ("{# nothing #} ", "writes nothing; mend it"),
        # as of a model that takes pictures: the content is a list of parts
        ("<user>{% for part in messages[0]['content'] %}{{ part.text }}{% endfor %}<assistant>",
         "leaves out what the user says; mend it"),
    ],
)  # fmt: skip
def test_a_chat_template_that_makes_no_prompt_is_refused_with_its_reason(
    tokenizer: Any, template: str, reason: str
) -> None:
    broken = copy.deepcopy(tokenizer)
    broken.chat_template = template
    with pytest.raises(ConfigError) as caught:
        prompter(broken, "chat")
    assert str(caught.value).startswith(f"the tokenizer's chat template {reason}")
    assert str(caught.value).endswith('or set prompt.template to "r1-zero" or "plain"')
    assert "\n" not in str(caught.value)
    assert prompter(broken, "plain").notes == ()


def test_a_chat_template_may_refuse_an_empty_question(tokenizer: Any) -> None:
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = (
        "{% if not messages[0]['content'] %}{{ raise_exception('empty') }}{% endif %}"
        "Q: {{ messages[0]['content'] }} A: <think>"
    )
    chat = prompter(strict, "chat")
    assert chat.opens_thinking
    assert chat.text_of(math_problem("2 + 2?")) == "Q: 2 + 2? A: <think>"


def test_what_a_chat_template_does_with_the_thinking_is_said(tokenizer: Any) -> None:
    other = copy.deepcopy(tokenizer)
    assert prompter(other, "chat").notes == ()
    other.chat_template = tokenizer.chat_template + "<think>\n"
    assert prompter(other, "chat", thinking="required").notes == (
        "the chat template opens <think> itself: a completion begins inside the thinking, and its "
        "answer is what comes after </think>",
    )
    other.chat_template = tokenizer.chat_template + "<think>\n\n</think>\n\n"  # as Qwen3's may
    assert not prompter(other, "chat").opens_thinking
    (said,) = prompter(other, "chat").notes
    assert said.startswith("the chat template ends the thinking before a completion begins")
    with pytest.raises(ConfigError, match=r'none can be well formed; set prompt\.thinking to "opt'):
        prompter(other, "chat", thinking="required")
    assert prompter(other, "plain", thinking="required").notes == ()


def test_a_completion_ends_with_eos_or_what_ends_a_turn_of_the_template(tokenizer: Any) -> None:
    assert prompter(tokenizer, "chat").stop_ids == (tokenizer.eos_token_id,)
    other = copy.deepcopy(tokenizer)
    other.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "<|eot_id|>"]})
    turn_end = other.get_vocab()["<|im_end|>"]
    # known to the vocabulary but not written by the template: no end of a turn
    assert prompter(other, "chat").stop_ids == (other.eos_token_id,)
    other.chat_template = "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
    assert prompter(other, "chat").stop_ids == (other.eos_token_id, turn_end)
    assert prompter(other, "plain").stop_ids == (other.eos_token_id,)


def test_the_text_of_a_completion_drops_the_stop_token_and_nothing_else(tokenizer: Any) -> None:
    chat = prompter(tokenizer, "chat")
    ids = tokenizer.encode("<think>5+6=1</think>\\boxed{1}", add_special_tokens=False)
    user, eos = tokenizer.get_vocab()["<|user|>"], tokenizer.eos_token_id

    def text(tokens: list[int], reason: StopReason) -> str:
        return chat.completion_text(Sample(tuple(tokens), (-0.5,) * len(tokens), reason))

    assert text([*ids, eos], "stop") == "<think>5+6=1</think>\\boxed{1}"
    assert text(ids, "length") == "<think>5+6=1</think>\\boxed{1}"
    # a special token in the middle is part of what the policy wrote
    assert text([*ids, user, eos], "stop") == "<think>5+6=1</think>\\boxed{1}<|user|>"
    assert text([eos], "stop") == ""


@pytest.mark.parametrize(
    "text", [" a b ,  c .", "x = [1,2]\n    return x\n", "ünï 数 🙂", "don 't , stop !"]
)
def test_text_goes_through_the_tokenizer_unchanged(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    sample = Sample(tuple(ids), (-0.5,) * len(ids), "length")
    assert prompter(tokenizer, "chat").completion_text(sample) == text


def test_a_model_that_ends_otherwise_than_its_tokenizer_is_told_of(tokenizer: Any) -> None:
    own = Prompter(tokenizer, PromptConfig()).stop_ids
    assert Prompter(tokenizer, PromptConfig(), own).notes == ()
    other = tokenizer.encode("7")[0]
    prompter = Prompter(tokenizer, PromptConfig(), (other, *own))
    assert prompter.stop_ids == (*own, other)
    ends = tokenizer.convert_ids_to_tokens(list(own))
    assert prompter.describe_stops() == " and ".join([*ends, "7"])
    assert prompter.notes == (
        f"the tokenizer ends an answer with {' or '.join(ends)}, the model's config with 7: "
        "either one ends it here",
    )


@pytest.mark.parametrize("unknown", [768, 10**6, -1])
def test_an_end_that_the_tokenizer_does_not_have_is_ignored_and_told_of(
    tokenizer: Any, unknown: int
) -> None:
    assert max(tokenizer.get_vocab().values()) == 767
    own = tokenizer.eos_token_id
    prompter = Prompter(tokenizer, PromptConfig(), (unknown, own))
    assert prompter.stop_ids == (own,)
    assert prompter.describe_stops() == "<|end|>"
    assert prompter.notes == (
        f"the model's config ends an answer with token {unknown} (eos_token_id), which the "
        "tokenizer does not have: ignored here",
    )


@pytest.mark.parametrize(
    ("own", "in_config", "said"),
    [
        ("<|pad|>", (0,), None),  # <|pad|> is token 0, <|end|> token 1
        ("<|pad|>", (), None),
        (None, (), "the tokenizer has no pad token"),
        ("<|end|>", (), "<|end|> ends an answer and is the pad token too"),
        ("<|pad|>", (0, 1), "the tokenizer pads with <|pad|>, the model's config with <|end|>"),
        ("<|pad|>", (-1,), "the tokenizer pads with <|pad|>, the model's config with token -1"),
    ],
)
def test_a_pad_token_that_trips_others_is_said_to_do_nothing_here(
    tokenizer: Any, own: str | None, in_config: tuple[int, ...], said: str | None
) -> None:
    other = copy.deepcopy(tokenizer)
    other.pad_token = own
    notes = Prompter(other, PromptConfig(), (), in_config).notes
    assert [note.split(": nothing has to be changed")[0] for note in notes] == (
        [said] if said else []
    )
