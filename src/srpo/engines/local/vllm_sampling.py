"""Drawing completions with vLLM, in this process: a second copy of the weights, kept in step."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from srpo.engines import Drafts, check_drafts
from srpo.engines.local.adapters import has_adapters, merged_state
from srpo.errors import ModelError, first_line
from srpo.rollouts import derive_seed
from srpo.types import Sample, Sampling

HEAD = "lm_head.weight"
BATCHED_TOKENS = 8192  # of prompts that are read at once
SETTINGS = {  # of vLLM, which reads them from the environment as it is imported
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the weights go over within the process
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


class VllmSampler:
    """Samples of a model that is trained beside it, through vLLM.

    Weights that changed are handed over before the next draw, the output head of tied embeddings
    among them: vLLM keeps a head of its own, which a reload by the checkpoint's names would leave
    as it was. One at a time in a process: closing one takes what all of them share with it.
    """

    def __init__(
        self, model: Any, dtype: torch.dtype, *, rows: int, longest: int, cache_gib: float
    ) -> None:
        """`rows` are drawn side by side; `longest`: prompt and completion, in tokens.

        `cache_gib` is the memory for keys and values. Raises `ModelError` if vLLM is not
        installed, or does not take the model.
        """
        self._model = model
        self._stale = True  # it is opened with weights of no meaning
        try:
            self._llm = _open(model, dtype, rows=rows, longest=longest, cache_gib=cache_gib)
            self.sample([[0]], 1, Sampling(max_tokens=1, stop_ids=(), seed=0))
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 - vLLM raises all kinds; each ends the run
            raise ModelError(
                f"model.sampler is vllm, which does not take this: {first_line(error)}"
            ) from None

    def weights_changed(self) -> None:
        """The next draw takes the weights over first."""
        self._stale = True

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """See `Engine.sample`. Raises `ValueError` for what vLLM cannot do exactly.

        That is to verify drafts or to make them, and to give logprobs of the whole distribution
        where only a part of it is drawn from (top_p).
        """
        _check(how, drafts, len(prompts), n)
        if not prompts or not n:
            return [[] for _ in prompts]
        if self._stale:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": self._weights()})
            self._stale = False
        # What a cache of prompts holds depends on earlier calls, and with it the rounding.
        self._llm.reset_prefix_cache()
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts],
            [_params(how, n, derive_seed(how.seed, "prompt", i)) for i in range(len(prompts))],
            use_tqdm=False,
        )
        return [[_sample(each) for each in output.outputs] for output in outputs]

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        state = merged_state(self._model) if has_adapters(self._model) else self._model.state_dict()
        yield from state.items()
        if HEAD not in state:
            yield HEAD, self._model.get_output_embeddings().weight.detach()


def _open(model: Any, dtype: torch.dtype, *, rows: int, longest: int, cache_gib: float) -> Any:
    os.environ.update(SETTINGS)
    set_num_threads = torch.set_num_threads
    try:
        from vllm import LLM
    except ImportError as error:
        if error.name != "vllm":
            raise ModelError(f"model.sampler is vllm, which cannot be imported: {error}") from None
        raise ModelError(
            "model.sampler is vllm, which is not installed: pip install 'srpo[vllm]' (on a CPU see "
            "docs/vllm.md), or set it to own"
        ) from None
    gc.collect()  # an earlier one that nobody has any more must not be closed after this is open
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        try:
            return LLM(
                model=folder,
                load_format="dummy",  # the first draw brings the weights
                skip_tokenizer_init=True,
                dtype=str(dtype).removeprefix("torch."),
                # compiling would hold its own copies of the weights, which a reload does not reach
                enforce_eager=True,
                max_model_len=longest,
                max_num_seqs=rows,
                # a prompt that comes in parts cannot be drawn from with a seed on a CPU
                enable_chunked_prefill=False,
                max_num_batched_tokens=max(longest, BATCHED_TOKENS),
                kv_cache_memory_bytes=int(cache_gib * 2**30),
                logprobs_mode="processed_logprobs",  # after the temperature
                generation_config="vllm",  # nothing from a file of the model
                runner="generate",
                hf_overrides={
                    "architectures": [type(model).__name__],
                    "tie_word_embeddings": False,
                },
                disable_log_stats=True,
            )
        finally:
            torch.set_num_threads = set_num_threads  # vLLM puts a function there that does nothing


def _check(how: Sampling, drafts: Drafts | None, num_prompts: int, n: int) -> None:
    check_drafts([()] * num_prompts if drafts is None else drafts, num_prompts, n)
    if how.draft_top_k or any(draft is not None for some in drafts or () for draft in some):
        raise ValueError("vLLM neither makes nor verifies drafts")
    if how.top_p < 1.0:
        raise ValueError("vLLM gives no logprobs of the whole distribution where top_p is below 1")


def _params(how: Sampling, n: int, seed: int) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        n=n,
        seed=seed,
        temperature=how.temperature,
        max_tokens=how.max_tokens,
        stop_token_ids=list(how.stop_ids),
        ignore_eos=True,  # only the ids that were asked for end a completion
        logprobs=0,  # of the drawn token alone
        detokenize=False,
    )


def _sample(output: Any) -> Sample:
    tokens = tuple(output.token_ids)
    logprobs = tuple(
        float(found[token].logprob) for token, found in zip(tokens, output.logprobs, strict=True)
    )
    stopped = output.finish_reason == "stop"
    return Sample(tokens=tokens, logprobs=logprobs, stop_reason="stop" if stopped else "length")
