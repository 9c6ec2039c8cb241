"""Problem to prompt: the token ids a problem becomes under one template, and text back again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from srpo.config import PromptConfig
from srpo.errors import ConfigError, first_line
from srpo.types import Problem, Sample

# The template of DeepSeek-R1-Zero (arXiv 2501.12948, table 1), thinking already opened.
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant "
    "solves it. The assistant first thinks about the reasoning process in the mind and then "
    "provides the user with the answer. The reasoning process and answer are enclosed within "
    "<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process "
    "here </think> <answer> answer here </answer>. User: {question} Assistant: <think>"
)
# Tokens that end an assistant's turn in chat templates, beside the tokenizer's own EOS.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
ANY_QUESTION = "What is 1 + 1?"  # to see what a template makes of one; some fail on an empty one
NO_THINKING = re.compile(r"<think>\s*</think>\s*\Z")
MEND_TEMPLATE = 'mend it (chat_template), or set prompt.template to "r1-zero" or "plain"'


def question_of(problem: Problem, config: PromptConfig) -> str:
    """The statement, and the instruction of its domain after it: what a user would say."""
    math, code = config.math_instruction, config.code_instruction
    instruction = math if problem.domain == "math" else code
    return f"{problem.statement}\n{instruction}" if instruction else problem.statement


class Prompter:
    """Prompts and texts under one tokenizer and one template. Same problem, same prompt."""

    def __init__(
        self,
        tokenizer: Any,
        config: PromptConfig,
        stop_ids: Sequence[int] = (),
        pad_ids: Sequence[int] = (),
    ) -> None:
        """`tokenizer` is a fast tokenizer of transformers; `stop_ids` end an answer as well.

        Ids that the tokenizer does not have end nothing. `pad_ids` are what the model's configs
        name for padding: only told of. Raises `ConfigError` if the chat template is asked for and
        the tokenizer has none, if it fails or leaves the question out, or if it closes a thinking
        that is required.
        """
        if config.template == "chat" and not tokenizer.chat_template:
            raise ConfigError(
                'prompt.template is "chat", and the tokenizer has no chat template; '
                'set prompt.template to "r1-zero" or "plain"'
            )
        self._tokenizer = tokenizer
        self._config = config
        self._known_ids = frozenset(tokenizer.get_vocab().values())
        own = self._stop_ids()
        known = (token for token in stop_ids if token in self._known_ids)
        self.stop_ids = tuple(dict.fromkeys((*own, *known)))
        prompt = self._any_prompt()
        # True if prompts already open <think>, so that completions begin inside the thinking
        self.opens_thinking = prompt.endswith("<think>")
        self.notes = (  # what a person should know of the tokenizer
            *self._said_of_stops(own, stop_ids),
            *self._said_of_padding(pad_ids),
            *self._said_of_thinking(prompt),
        )

    def text_of(self, problem: Problem) -> str:
        """The whole prompt as text."""
        return self._wrap(question_of(problem, self._config))

    def prompt_of(self, problem: Problem) -> tuple[int, ...]:
        """The token ids of the prompt."""
        # a chat template writes its own special tokens; plain text gets the tokenizer's
        special = self._config.template != "chat"
        return tuple(self._tokenizer.encode(self.text_of(problem), add_special_tokens=special))

    def tokens_of(self, text: str) -> tuple[int, ...]:
        """Token ids of a text that goes on after a prompt, such as the beginning of an answer."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def describe_stops(self) -> str:
        """The tokens that end an answer, as a person reads them."""
        return " and ".join(self._tokenizer.convert_ids_to_tokens(list(self.stop_ids)))

    def completion_text(self, sample: Sample) -> str:
        """The completion as text, without its stop token."""
        tokens: Sequence[int] = sample.tokens
        if sample.stop_reason == "stop":
            tokens = tokens[:-1]
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _wrap(self, question: str) -> str:
        if self._config.template == "plain":
            return question
        if self._config.template == "r1-zero":
            return R1_ZERO.format(question=question)
        messages = [{"role": "user", "content": question}]
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # noqa: BLE001 - a template is a program; it may raise anything
            raise ConfigError(
                f"the tokenizer's chat template fails: {first_line(error)}; {MEND_TEMPLATE}"
            ) from None
        return text

    def _any_prompt(self) -> str:
        """A prompt, without white space at its end. Raises `ConfigError` if it is none."""
        text = self._wrap(ANY_QUESTION).rstrip()
        if not text:
            raise ConfigError(f"the tokenizer's chat template writes nothing; {MEND_TEMPLATE}")
        if ANY_QUESTION not in text:
            raise ConfigError(
                f"the tokenizer's chat template leaves out what the user says; {MEND_TEMPLATE}"
            )
        return text

    def _said_of_stops(self, own: Sequence[int], stop_ids: Sequence[int]) -> Iterator[str]:
        more = [token for token in self.stop_ids if token not in own]
        if more:
            yield (
                f"the tokenizer ends an answer with {self._named(own)}, the model's config with "
                f"{self._named(more)}: either one ends it here"
            )
        unknown = [token for token in dict.fromkeys(stop_ids) if token not in self._known_ids]
        if unknown:
            yield (
                f"the model's config ends an answer with {self._named(unknown)} (eos_token_id), "
                "which the tokenizer does not have: ignored here"
            )

    def _said_of_padding(self, pad_ids: Sequence[int]) -> Iterator[str]:
        """Traps of other trainers, which leave out of the loss whatever has the pad token's id."""
        own = self._tokenizer.pad_token_id
        others = [token for token in dict.fromkeys(pad_ids) if token != own]
        if own is None:
            said = "the tokenizer has no pad token"
        elif others:
            config = self._named(others)
            said = f"the tokenizer pads with {self._named([own])}, the model's config with {config}"
        elif own in self.stop_ids:
            said = f"{self._named([own])} ends an answer and is the pad token too"
        else:
            return
        yield (
            f"{said}: nothing has to be changed, since srpo knows padding by its place, never "
            "trains on it, and always trains on the end of an answer"
        )

    def _said_of_thinking(self, prompt: str) -> Iterator[str]:
        """Raises `ConfigError` if the prompt leaves no room for the thinking that is required."""
        if self._config.template == "chat" and self.opens_thinking:
            yield (
                "the chat template opens <think> itself: a completion begins inside the thinking, "
                "and its answer is what comes after </think>"
            )
        if not NO_THINKING.search(prompt):
            return
        if self._config.thinking == "required":
            raise ConfigError(
                'prompt.thinking is "required", and the chat template ends the thinking before a '
                "completion begins (<think></think>), so that none can be well formed; set "
                'prompt.thinking to "optional", or take a template that leaves it open'
            )
        yield (
            "the chat template ends the thinking before a completion begins (<think></think>): "
            "the model answers without it; take a template that leaves it open if it should think"
        )

    def _named(self, tokens: Sequence[int]) -> str:
        known = self._known_ids
        names = (
            self._tokenizer.convert_ids_to_tokens(t) if t in known else f"token {t}" for t in tokens
        )
        return " or ".join(names)

    def _stop_ids(self) -> tuple[int, ...]:
        ids = [self._tokenizer.eos_token_id]
        template = self._tokenizer.chat_template if self._config.template == "chat" else None
        vocabulary = self._tokenizer.get_vocab()
        ids += [vocabulary[t] for t in TURN_ENDS if template and t in vocabulary and t in template]
        return tuple(ids)
