"""The soft penalty for completions that come near their length limit."""

from __future__ import annotations


def overlong_penalty(length_tokens: int, max_tokens: int, buffer_tokens: int) -> float:
    """DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), from 0 down to -1.

    With L_max = `max_tokens` and L_cache = `buffer_tokens`: 0 up to L_max - L_cache tokens, then
    (L_max - L_cache - length) / L_cache, and -1 from L_max on. A buffer of 0 tokens punishes
    only what is longer than `max_tokens`. Raises ValueError for a buffer below 0 or larger than
    `max_tokens`.

    >>> [overlong_penalty(n, 100, 20) for n in (80, 90, 100, 120)]
    [0.0, -0.5, -1.0, -1.0]
    """
    if not 0 <= buffer_tokens <= max_tokens:
        raise ValueError(f"a buffer of {buffer_tokens} tokens does not fit in {max_tokens}")
    start = max_tokens - buffer_tokens
    if length_tokens <= start:
        return 0.0
    if length_tokens >= max_tokens:
        return -1.0
    return (start - length_tokens) / buffer_tokens
