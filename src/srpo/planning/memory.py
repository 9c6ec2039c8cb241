"""How much memory the local engine needs at its peak, from a model's shape alone.

The counts are those of its code; tests/equivalence/test_memory.py measures three shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

from srpo.config import Config
from srpo.engines.local.limits import (
    MAX_CHOSEN_LOGITS,
    MAX_GRAD_LOGITS,
    MAX_KEPT_LOGITS,
    MAX_LOGITS,
    MAX_MASK,
    PREFILL_TOKENS,
)
from srpo.engines.local.model_shape import ModelShape
from srpo.errors import ConfigError
from srpo.planning.draws import Draw, draws
from srpo.prefixes import longest_prompt

GIB = 2**30
FLOAT32 = 4  # bytes
MOMENTS = {"float32": 8, "8bit": 2}  # bytes of a trained weight's two
MERGED_GRAPHS = 2  # of weights with what adapters add: for shared prefixes, and for a micro-batch
SMALLEST = 64  # tokens of a micro-batch
CUT_LOGIT = 40  # bytes of a logit that autograd passes over: scaled, capped, as logprobs
CHOOSING = 24  # bytes of a logit that a token is chosen by: float32 tables, and one of float64
CHOOSING_NUCLEUS = 44  # and those that are sorted
# On a CPU the C library keeps freed pieces of less than 32 MiB in a heap with holes. Measured, as a
# share of what one layer has in a pass: about so much lies idle there at the peak, with gradient
# checkpointing more (tests/equivalence/test_memory.py).
HEAP_PIECE = 32 * 2**20
HEAP_SHARE, HEAP_SHARE_CHECKPOINTED = 0.9, 1.6


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory in bytes, by what it is for. An estimate from shapes, not a measurement."""

    weights: int  # with gradients, moments and copies in the compute precision
    reference: int  # of the KL term; 0: the loss has none
    activations: int
    logits: int
    cache: int  # while sampling: keys and values, logits, and what prompts take on their way
    idle: int = 0  # of the weights: gradients and copies that are not there while sampling

    @property
    def peak(self) -> int:
        """Sampling and training take turns, so the larger of the two counts."""
        turns = max(self.activations + self.logits, self.cache - self.idle)
        return self.weights + self.reference + turns


def estimate_memory(
    config: Config, shape: ModelShape, micro_batch_tokens: int = 0
) -> MemoryEstimate:
    """Peak memory of the local engine for the hungriest stage.

    `micro_batch_tokens` in place of the config's, if it is given. Every prompt and completion is
    taken as long as it may be, or shorter where that takes more. Interpreter and libraries, some
    300 MB, are not in it.
    """
    micro = micro_batch_tokens or config.model.micro_batch_tokens
    compute = _compute_bytes(config)
    numbers = range(1, len(config.stage) + 1)
    held = max((_held(config, shape, number, micro) for number in numbers), key=sum)
    cache = max(_sampling(config, shape, draw) for draw in draws(config))
    weights = _weights(config, shape)
    if config.model.sampler == "vllm":  # it holds its copy and its cache while training goes on
        untied = shape.num_weights + shape.vocabulary * shape.width
        weights += untied * compute + int(config.model.sampler_cache_gib * GIB)
        cache = 0
    return MemoryEstimate(
        weights=weights,
        reference=_reference(config, shape),
        activations=held[0],
        logits=held[1],
        cache=cache,
        idle=_idle(config, shape),
    )


def _held(config: Config, shape: ModelShape, number: int, micro: int) -> tuple[int, int]:
    """Bytes of activations and of logits that training holds at once beside the weights.

    In stage `number`, from 1. Those of the shared prefixes of a chunk, and of one micro-batch of
    rows on them; learning.py.
    """
    stage = config.stage[number - 1]
    compute, answer = _compute_bytes(config), stage.max_completion_tokens
    prompt = longest_prompt(config, number)
    rows = stage.problems_per_step * stage.group_size
    back = _backwards(shape, compute)
    if shape.plain_kept:
        tokens = max(micro, prompt + answer)
        entries = tokens * shape.vocabulary
        logits = _logits(config, entries, FLOAT32)
        if shape.plain_head:
            logits = min(entries, MAX_GRAD_LOGITS) * CUT_LOGIT
        one = tokens * back + _heap(config, shape, tokens)
        return tokens * shape.plain_kept + max(0, one - logits), logits
    prefixes = min(max(micro, prompt), stage.problems_per_step * prompt)
    column = 2 * shape.kv_width * compute  # a key and a value in one layer
    copies = prompt * column / shape.kept_bytes(compute)  # of a row, in tokens of its own
    most = min(rows, max(1, int(micro / copies)))
    found = []
    for count, length in (  # as many rows as there may be, or as long as they may be
        (most, min(answer, max(1, micro // most))),
        (max(1, min(most, micro // answer)), answer),
    ):
        own = count * length
        mask = _mask(config, shape, own * (prompt + length))
        whole, one = _layers(config, shape, prefixes, own, count * prompt)
        # the backward pass is through with the logits before it comes to a layer
        one += own * back + count * (prompt + length) * column
        one += _heap(config, shape, max(prefixes, own + 2 * int(count * copies)))
        logits = _logits(config, own * shape.vocabulary, compute)
        found.append((whole + mask + max(0, one - logits), logits))
    return max(found, key=sum)


def micro_batch_bytes(config: Config, shape: ModelShape) -> int:
    """Bytes of one micro-batch at least: its rows alone, as long as they may be, without copies."""
    longest = max(
        longest_prompt(config, number) + stage.max_completion_tokens
        for number, stage in enumerate(config.stage, start=1)
    )
    tokens = max(config.model.micro_batch_tokens, longest)
    logits = _logits(config, tokens * shape.vocabulary, _compute_bytes(config))
    return sum(_layers(config, shape, 0, tokens, 0)) + logits


def _mask(config: Config, shape: ModelShape, entries: int) -> int:
    """Bytes of an attention mask of so many entries, or of one for each query head of a key head.

    On a CPU attention in a lower precision has none.
    """
    compute = _compute_bytes(config)
    if compute < FLOAT32 and config.model.device == "cpu":
        return 0
    folded = entries * max(1, shape.query_width // shape.kv_width)
    return (folded if folded <= MAX_MASK else entries) * compute


def _heap(config: Config, shape: ModelShape, tokens: int) -> int:
    """Bytes that lie idle in the C library's heap, where so many tokens pass a layer at once."""
    compute = _compute_bytes(config)
    if config.model.device == "cuda" or tokens * 2 * shape.mlp_width * compute >= HEAP_PIECE:
        return 0
    share = HEAP_SHARE_CHECKPOINTED if config.model.gradient_checkpointing else HEAP_SHARE
    kept = shape.plain_kept // shape.num_layers or shape.kept_bytes(compute)
    return int(share * tokens * (kept + _backwards(shape, compute)))


def _backwards(shape: ModelShape, compute: int) -> int:
    """Bytes of the gradients of one token in the layer that a backward pass is in."""
    return compute * (3 * shape.mlp_width + 2 * shape.width)


def _layers(
    config: Config, shape: ModelShape, prefixes: int, own: int, copied: int
) -> tuple[int, int]:
    """Bytes that all layers keep of tokens and copies of prefixes; and one layer, computed again.

    The second is 0 without gradient checkpointing.
    """
    compute = _compute_bytes(config)
    kept, column = shape.kept_bytes(compute), 2 * shape.kv_width * compute
    if config.model.gradient_checkpointing:
        inputs = (prefixes + own) * shape.width * compute + prefixes * column
        return shape.num_layers * inputs, max(prefixes * kept, own * kept + copied * column)
    return shape.num_layers * ((prefixes + own) * kept + copied * column), 0


def _sampling(config: Config, shape: ModelShape, draw: Draw) -> int:
    """Bytes that are held at once while completions are drawn, beside the weights."""
    compute, prompt, problems = _compute_bytes(config), draw.prompt, draw.problems
    rows = min(config.model.sampler_rows, draw.rows)
    column = 2 * shape.kv_width * compute
    cache = rows * (prompt + draw.completion) * shape.num_layers * column
    if shape.plain_kept:
        passed = min(rows, problems) * prompt  # all prompts of a batch at once
        cache += rows * (prompt + draw.completion) * column  # one layer, as it grows
    else:
        passed = max(rows, min(max(PREFILL_TOKENS, prompt), problems * prompt))
        if rows < draw.rows:
            # others take the place of finished ones, and are prefilled beside them
            cache += rows * prompt * shape.num_layers * column
    passing = passed * (4 * shape.mlp_width + 4 * shape.width + 2 * shape.query_width) * compute
    entries = rows * shape.vocabulary
    each = CHOOSING_NUCLEUS if draw.nucleus else CHOOSING
    choosing = min(entries, max(MAX_CHOSEN_LOGITS, shape.vocabulary)) * each
    logits = entries * (FLOAT32 if compute == FLOAT32 else FLOAT32 + compute)
    return cache + max(passing, logits + choosing)


def _logits(config: Config, entries: int, compute: int) -> int:
    """Of a table of logits, kept whole or there in parts; a GPU has parts of it in float32 too."""
    table = entries if entries <= MAX_KEPT_LOGITS else min(entries, MAX_LOGITS)
    in_parts = config.model.device != "cpu" and compute < FLOAT32
    return table * compute + (min(entries, MAX_LOGITS) * FLOAT32 if in_parts else 0)


def _compute_bytes(config: Config) -> int:
    return 2 if config.model.dtype == "bfloat16" else FLOAT32


def _state(config: Config, shape: ModelShape) -> int:
    """Weights, with gradients and moments of those that are trained."""
    return _model(config, shape, 2 * FLOAT32 + MOMENTS[config.optimizer.moments])


def _model(config: Config, shape: ModelShape, each: int) -> int:
    """Weights with `each` bytes for one that is trained; frozen ones in the compute precision."""
    if not config.model.lora_rank:
        return each * shape.num_weights
    adapters = shape.adapter_weights(config.model.lora_rank)
    return shape.num_weights * _compute_bytes(config) + each * adapters


def _weights(config: Config, shape: ModelShape) -> int:
    compute = _compute_bytes(config)
    embedding = shape.vocabulary * shape.width * FLOAT32  # its gradient, before it is added
    if shape.plain_kept:  # that of the head too; and autocast keeps copies in a lower precision
        copies = 0 if compute == FLOAT32 else shape.num_weights * compute
        return _state(config, shape) + copies + (0 if config.model.lora_rank else 2 * embedding)
    if config.model.lora_rank:
        merged = 2 * shape.linear_weights  # with what adapters add; and joined
        if 2 * shape.width * shape.mlp_width * compute >= HEAP_PIECE:
            merged -= shape.joined_weights  # what is in large pieces is given back at once
        return _state(config, shape) + MERGED_GRAPHS * merged * compute
    # copied for shared prefixes, and for the micro-batches that hang on them: joined ones, or all
    copied = shape.joined_weights if compute == FLOAT32 else shape.num_weights
    return _state(config, shape) + copied * compute + embedding


def _idle(config: Config, shape: ModelShape) -> int:
    """Bytes of `_weights` that are not there while completions are drawn."""
    if config.model.lora_rank or shape.plain_kept:
        return 0
    return (shape.num_weights + shape.vocabulary * shape.width) * FLOAT32  # the gradients


def _reference(config: Config, shape: ModelShape) -> int:
    """Its weights; compiled, gradients as well, all zero. It has no optimizer."""
    if not config.loss.kl_weight:
        return 0
    return _model(config, shape, 2 * FLOAT32 if config.model.compile else FLOAT32)


def sharded_bytes(config: Config, shape: ModelShape) -> int:
    """What a fully sharded trainer divides among its devices, in bytes.

    Weights, gradients and moments, 16 bytes a weight where all are float32; with a KL term the
    reference's weights in the compute precision as well.
    """
    reference = shape.num_weights * _compute_bytes(config) if config.loss.kl_weight else 0
    return _state(config, shape) + reference


def fitting_tokens(config: Config, shape: ModelShape, memory_bytes: int) -> int:
    """The most `model.micro_batch_tokens`, a power of two, whose peak fits in so much memory.

    Raises `ConfigError`, with what would need less, if not even a single row fits.
    """
    best = 0
    tokens = SMALLEST
    while estimate_memory(config, shape, tokens).peak <= memory_bytes and tokens <= 1 << 20:
        best, tokens = tokens, 2 * tokens
    if best:
        return best
    least = estimate_memory(config, shape, SMALLEST)
    needed = least.peak
    savings = (
        (
            "a smaller model.sampler_rows",
            config.model.sampler_rows > 1
            and least.cache - least.idle > least.activations + least.logits,
        ),
        (
            "model.gradient_checkpointing=true",
            not config.model.gradient_checkpointing and not shape.plain_kept,
        ),
        ("model.dtype=bfloat16", config.model.dtype == "float32"),
        ("model.lora_rank=16", not config.model.lora_rank and shape.takes_adapters),
        ("optimizer.moments=8bit", config.optimizer.moments == "float32"),
        ("a smaller every_stage.max_completion_tokens", True),
    )
    raise ConfigError(
        f"this needs at least {_told(needed)}, but only {_told(memory_bytes)} are available: try "
        + ", ".join(name for name, is_open in savings if is_open)
    )


def _told(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / 2**20:.1f} MiB"
