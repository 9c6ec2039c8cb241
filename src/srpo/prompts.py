"""Problem to prompt: the token ids a problem becomes under one template, and text back again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from srpo.config import PromptConfig
from srpo.errors import ConfigError
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


def question_of(problem: Problem, config: PromptConfig) -> str:
    """The statement, and the instruction of its domain after it: what a user would say."""
    math, code = config.math_instruction, config.code_instruction
    instruction = math if problem.domain == "math" else code
    return f"{problem.statement}\n{instruction}" if instruction else problem.statement


class Prompter:
    """Prompts and texts under one tokenizer and one template. Same problem, same prompt."""

    def __init__(self, tokenizer: Any, config: PromptConfig, stop_ids: Sequence[int] = ()) -> None:
        """`tokenizer` is a fast tokenizer of transformers; `stop_ids` end an answer as well.

        Raises `ConfigError` if the chat template is asked for and the tokenizer has none.
        """
        if config.template == "chat" and not tokenizer.chat_template:
            raise ConfigError(
                'prompt.template is "chat", and the tokenizer has no chat template; '
                'set prompt.template to "r1-zero" or "plain"'
            )
        self._tokenizer = tokenizer
        self._config = config
        own = self._stop_ids()
        self.stop_ids = tuple(dict.fromkeys((*own, *stop_ids)))
        self.notes = self._notes(own)  # what a person should know of the tokenizer
        # True if prompts already open <think>, so that completions begin inside the thinking
        self.opens_thinking = self._wrap("").rstrip().endswith("<think>")

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
        text: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return text

    def _notes(self, own: Sequence[int]) -> tuple[str, ...]:
        named = self._tokenizer.convert_ids_to_tokens
        more = [token for token in self.stop_ids if token not in own]
        if not more:
            return ()
        return (
            f"the tokenizer ends an answer with {' or '.join(named(list(own)))}, the model's "
            f"config with {' or '.join(named(more))}: either one ends it here",
        )

    def _stop_ids(self) -> tuple[int, ...]:
        ids = [self._tokenizer.eos_token_id]
        template = self._tokenizer.chat_template if self._config.template == "chat" else None
        vocabulary = self._tokenizer.get_vocab()
        ids += [vocabulary[t] for t in TURN_ENDS if template and t in vocabulary and t in template]
        return tuple(ids)
