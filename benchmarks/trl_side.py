"""TRL's GRPOTrainer as the other side of the comparison, set up for the CPU as well as it goes.

TRL is an extra of the benchmarks (`pip install srpo[bench]`), never a dependency of srpo.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.measuring import cpu_seconds
from benchmarks.workload import CLIP, LEARNING_RATE, StepCost, StepSize, Work, exact_match


class Ledger:
    """What TRL's steps took. It reads the clock where TRL passes by."""

    def __init__(self) -> None:
        self.started = 0.0
        self.sampling = 0.0
        self.lengths: list[int] = []
        self.steps: list[StepCost] = []

    def start(self) -> None:
        """A step begins here."""
        self.lengths = []
        self.started = cpu_seconds()

    def finish(self) -> None:
        """The step is over."""
        total = cpu_seconds() - self.started
        mean = sum(self.lengths) / len(self.lengths)
        self.steps.append(StepCost(self.sampling, total - self.sampling, mean, len(self.lengths)))


def run_trl(
    work: Work, micro_batch: int, num_steps: int, between: Callable[[int], object]
) -> list[StepCost]:
    """`num_steps` steps of GRPOTrainer; after each, off its clock, `between(step)` is called.

    `micro_batch` is the number of completions that go through the model at once in the update.
    """
    from transformers import PrinterCallback, TrainerCallback
    from trl import GRPOTrainer

    ledger = Ledger()

    class InTurn(TrainerCallback):  # type: ignore[misc]
        """Stops TRL's clock after each step, lets the other side go, and starts it again."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ledger.start()

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            ledger.finish()
            between(state.global_step - 1)
            ledger.start()

    def reward(
        completions: Sequence[str], answer: Sequence[str], completion_ids: Any, **_: Any
    ) -> list[float]:
        ledger.lengths += [len(ids) for ids in completion_ids]
        return [exact_match(text, gold) for text, gold in zip(completions, answer, strict=True)]

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = GRPOTrainer(
            model=work.model(),
            args=_settings(folder, work.size, micro_batch, num_steps),
            reward_funcs=reward,
            train_dataset=_dataset(work, num_steps),
            processing_class=work.tokenizer,
            callbacks=[InTurn()],
        )
        trainer.remove_callback(PrinterCallback)
        _time_sampling(trainer, ledger)
        trainer.train()
    return ledger.steps


def _settings(folder: str, size: StepSize, micro_batch: int, num_steps: int) -> Any:
    """The same method without what costs time and is not asked for."""
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=size.dtype == torch.bfloat16,  # autocast, over weights in float32
        fp16=False,
        gradient_checkpointing=False,
        disable_dropout=True,
        beta=0.0,
        num_iterations=1,
        loss_type="dapo",
        epsilon=CLIP.low,
        epsilon_high=CLIP.high,
        temperature=1.0,
        num_generations=size.group_size,
        max_completion_length=size.max_tokens,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=size.problems * size.group_size // micro_batch,
        max_steps=num_steps,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        max_grad_norm=1.0,
        shuffle_dataset=False,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _dataset(work: Work, num_steps: int) -> Any:
    """The prompts as text, in the order of the steps. Raises if TRL would see other token ids."""
    from datasets import Dataset

    problems = [problem for step in work.steps[:num_steps] for problem in step]
    texts = [work.prompter.text_of(problem) for problem in problems]
    for text, problem in zip(texts, problems, strict=True):
        if tuple(work.tokenizer(text=text)["input_ids"]) != work.prompter.prompt_of(problem):
            raise RuntimeError(f"TRL would tokenize another prompt for {problem.id}")
    return Dataset.from_dict({"prompt": texts, "answer": [p.answer for p in problems]})


def _time_sampling(trainer: Any, ledger: Ledger) -> None:
    """Have the trainer's `_generate` (prompts to completions as text) write down its time."""
    generate = trainer._generate

    def timed(*args: Any, **more: Any) -> Any:
        started = cpu_seconds()
        made = generate(*args, **more)
        ledger.sampling = cpu_seconds() - started
        return made

    trainer._generate = timed
