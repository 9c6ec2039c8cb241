"""How much memory the local engine needs at its peak, from a model's shape alone.

The counts are those of its code; tests/equivalence/test_memory.py measures three shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from srpo.config import Config
from srpo.engines import MAX_KEPT_LOGITS, MAX_LOGITS
from srpo.errors import ConfigError

GIB = 2**30
FLOAT32 = 4  # bytes
MOMENTS = {"float32": 8, "8bit": 2}  # bytes of a trained weight's two
# Values kept for the backward pass by one layer and token, in units of the model's width and of
# the MLP's: norms, queries, keys, values, attention and its output; gate, up, silu, product.
ACTIVATIONS_WIDTH = 10
ACTIVATIONS_MLP = 4
WEIGHT_GRAPHS = 2  # copies in the compute precision: for shared prefixes, and for a micro-batch
REFERENCE_COPIES = 2  # its weights, and gradients, all zero; it has no optimizer
SMALLEST = 64  # tokens of a micro-batch


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model that memory depends on."""

    num_weights: int
    num_layers: int
    width: int
    mlp_width: int
    kv_width: int  # key-value heads x head size
    vocabulary: int

    @property
    def joined_weights(self) -> int:
        """Of query, key and value, and of gate and up, which are computed as one."""
        qkv = self.width * (self.width + 2 * self.kv_width)
        return self.num_layers * (qkv + 2 * self.width * self.mlp_width)

    def adapter_weights(self, rank: int) -> int:
        """Of adapters beside the seven linear layers of each block."""
        sides = 2 * (2 * self.width) + 2 * (self.width + self.kv_width)
        return rank * self.num_layers * (sides + 3 * (self.width + self.mlp_width))


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Peak memory in bytes, by what it is for. An estimate from shapes, not a measurement."""

    weights: int  # with gradients, moments and copies in the compute precision
    reference: int  # of the KL term; 0: the loss has none
    activations: int
    logits: int
    cache: int

    @property
    def peak(self) -> int:
        """Sampling and training take turns, so the larger of the two counts."""
        return self.weights + self.reference + max(self.activations + self.logits, self.cache)


def estimate_memory(
    config: Config, shape: ModelShape, micro_batch_tokens: int = 0
) -> MemoryEstimate:
    """Peak memory of the local engine for the hungriest stage.

    `micro_batch_tokens` in place of the config's, if it is given. Interpreter and libraries, some
    300 MB, are not in it.
    """
    compute = _compute_bytes(config)
    longest = max(s.max_prompt_tokens + s.max_completion_tokens for s in config.stage)
    tokens = max(micro_batch_tokens or config.model.micro_batch_tokens, longest)
    layer = (ACTIVATIONS_WIDTH * shape.width + ACTIVATIONS_MLP * shape.mlp_width) * compute
    if config.model.gradient_checkpointing:  # the input of each layer, and one layer whole
        per_token = shape.num_layers * shape.width * compute + layer
    else:
        per_token = shape.num_layers * layer
    rows = min(
        config.model.sampler_rows, max(s.problems_per_step * s.group_size for s in config.stage)
    )
    cache = 2 * rows * longest * shape.num_layers * shape.kv_width * compute
    weights = _weights(config, shape)
    if config.model.sampler == "vllm":  # it holds its copy and its cache while training goes on
        untied = shape.num_weights + shape.vocabulary * shape.width
        weights += untied * compute + int(config.model.sampler_cache_gib * GIB)
        cache = 0
    return MemoryEstimate(
        weights=weights,
        reference=shape.num_weights * REFERENCE_COPIES * FLOAT32 if config.loss.kl_weight else 0,
        activations=tokens * per_token,
        logits=_logits(tokens * shape.vocabulary, compute),
        cache=cache,
    )


def _logits(entries: int, compute: int) -> int:
    """Of logits in float32 beside those in a lower precision, and of what is kept of them all."""
    at_once = min(entries, MAX_LOGITS) * (FLOAT32 if compute == FLOAT32 else FLOAT32 + compute)
    return at_once + (entries * compute if entries <= MAX_KEPT_LOGITS else 0)


def _compute_bytes(config: Config) -> int:
    return 2 if config.model.dtype == "bfloat16" else FLOAT32


def _state(config: Config, shape: ModelShape) -> int:
    """Weights, with gradients and moments of those that are trained."""
    each = 2 * FLOAT32 + MOMENTS[config.optimizer.moments]
    if config.model.lora_rank:
        adapters = shape.adapter_weights(config.model.lora_rank)
        return shape.num_weights * _compute_bytes(config) + adapters * each
    return shape.num_weights * each


def _weights(config: Config, shape: ModelShape) -> int:
    compute = _compute_bytes(config)
    if config.model.lora_rank:
        return _state(config, shape) + WEIGHT_GRAPHS * shape.num_weights * compute
    copied = shape.joined_weights if compute == FLOAT32 else shape.num_weights
    embedding = shape.vocabulary * shape.width * FLOAT32  # its gradient, before it is added
    return _state(config, shape) + WEIGHT_GRAPHS * copied * compute + embedding


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
        ("a smaller model.sampler_rows", least.cache > least.activations + least.logits),
        ("model.gradient_checkpointing=true", not config.model.gradient_checkpointing),
        ("model.dtype=bfloat16", config.model.dtype == "float32"),
        ("model.lora_rank=16", not config.model.lora_rank),
        ("optimizer.moments=8bit", config.optimizer.moments == "float32"),
        ("a smaller every_stage.max_completion_tokens", True),
    )
    raise ConfigError(
        f"this needs {_told(needed)}, and there are {_told(memory_bytes)}: try "
        + ", ".join(name for name, is_open in savings if is_open)
    )


def _told(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB" if size_bytes >= GIB else f"{size_bytes / 2**20:.1f} MiB"


def shape_of(name: str) -> ModelShape:
    """The shape of a model, without loading its weights. Raises `ModelError` if there is none."""
    from srpo.engines.local.loading import read_shape

    sizes: Mapping[str, int] = read_shape(name)
    return ModelShape(**sizes)
