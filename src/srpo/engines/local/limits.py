"""How much the local engine holds at once. A plan of memory counts by the same numbers."""

MAX_LOGITS = 1 << 25  # entries of a [tokens, vocabulary] table that may exist at once
MAX_CHOSEN_LOGITS = MAX_LOGITS // 16  # of rows that a token is chosen for at once
MAX_GRAD_LOGITS = MAX_LOGITS // 4  # where autograd itself passes over a table, several times
CACHED_LOGITS = 1 << 18  # in float32: of a table, so many at a time stay in a processor's cache
MAX_KEPT_LOGITS = 4 * MAX_LOGITS  # in the compute precision, from the forward to the backward pass
MAX_MASK = 1 << 25  # entries of an attention mask that has rows for each query head of a key head
PREFILL_TOKENS = 4096  # of prompts that go through the layers at once, padding counted
VERIFY_TOKENS = 4096  # of drafts that are verified at once, with all that goes with them
