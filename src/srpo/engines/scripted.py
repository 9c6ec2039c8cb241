"""An engine that plays back scripted completions, and learns: pure Python, no model, no torch.

Its policy is a table: for every sequence of tokens so far, a score for each next token that the
script knows there, turned into probabilities by softmax. A fresh engine plays each scripted
completion of a prompt equally often; training moves the scores as it would move a model's. It
stands in for a model wherever the loop, not the language, is of interest.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from srpo.engines import DRAFT_MASS, Drafts, check_drafts
from srpo.types import Adam, Clip, Datum, Draft, Sample, Sampling, StopReason

Tokens = tuple[int, ...]
Table = dict[Tokens, dict[int, float]]


class ScriptedEngine:
    """The five verbs on a table of scores. `folder` is where `save` writes."""

    def __init__(
        self,
        script: Mapping[Tokens, Sequence[Tokens]],
        folder: Path,
        default: Sequence[Tokens] = (),
    ) -> None:
        """`script`: prompt -> completions, stop token included; `default`: for other prompts."""
        self._script = {prompt: tuple(completions) for prompt, completions in script.items()}
        self._default = tuple(default)
        self._folder = folder
        self._scores: Table = {}
        self._gradient: Table = {}
        self._moments: dict[tuple[Tokens, int], tuple[float, float]] = {}  # of trained scores
        self._known: set[Tokens] = set()  # prompts whose completions are in the table
        self._num_steps = 0
        self._finite = True  # all logprobs of trained tokens since the last step
        for prompt in self._script:
            self._learn_script(prompt)

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        n: int,
        how: Sampling,
        drafts: Drafts | None = None,
    ) -> list[list[Sample]]:
        """See `Engine.sample`. Raises `KeyError` for a prompt without script or default."""
        drafts = [()] * len(prompts) if drafts is None else drafts
        check_drafts(drafts, len(prompts), n)
        rng = random.Random(how.seed)
        drawn = []
        for prompt, given in zip(prompts, drafts, strict=True):
            self._learn_script(tuple(prompt))
            of_each = [*given, *[None] * (n - len(given))]
            drawn.append([self._draw(tuple(prompt), how, draft, rng) for draft in of_each])
        return drawn

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        """See `Engine.forward_backward`. Tokens that no script knows have logprob -inf."""
        logprobs = [self._accumulate(datum, clip) for datum in data]
        self._finite &= all(math.isfinite(x) for row in logprobs for x in row)
        return logprobs

    def optim_step(self, how: Adam) -> dict[str, float]:
        """See `Engine.optim_step`: AdamW (arXiv 1711.05101) on every score with a gradient."""
        norm = math.sqrt(
            math.fsum(g * g for scores in self._gradient.values() for g in scores.values())
        )
        finite, self._finite = self._finite and math.isfinite(norm), True
        if not finite:
            self._gradient = {}
            return {"grad_norm": math.nan}
        limit = how.max_grad_norm or math.inf
        scale = min(1.0, limit / norm) if norm else 1.0
        self._num_steps += 1
        for context, gradients in self._gradient.items():
            for token, gradient in gradients.items():
                self._step_score(context, token, gradient * scale, how)
        self._gradient = {}
        return {"grad_norm": norm}

    def save(self, name: str) -> str:
        """See `Engine.save`: one JSON file in a folder of its own, with what training changed."""
        trained = [
            [list(context), token, self._scores[context][token], *moments]
            for (context, token), moments in self._moments.items()
        ]
        target = self._folder / name
        target.mkdir(parents=True, exist_ok=True)
        state = {"trained": trained, "num_steps": self._num_steps}
        (target / "policy.json").write_text(json.dumps(state), encoding="utf-8")
        return str(target)

    def load(self, ref: str) -> None:
        """See `Engine.load`."""
        state = json.loads((Path(ref) / "policy.json").read_text(encoding="utf-8"))
        self._scores, self._moments, self._known = {}, {}, set()
        for context, token, score, first, second in state["trained"]:
            self._scores.setdefault(tuple(context), {})[token] = score
            self._moments[tuple(context), token] = (first, second)
        self._num_steps = state["num_steps"]
        self._gradient, self._finite = {}, True

    def _learn_script(self, prompt: Tokens) -> None:
        """Enter a prompt's completions, scored so that each is played equally often."""
        if prompt in self._known:
            return
        self._known.add(prompt)
        completions = self._script.get(prompt, self._default)
        if not completions:
            raise KeyError(f"no script for prompt {prompt}")
        counts: dict[Tokens, dict[int, int]] = {}
        for completion in completions:
            for i, token in enumerate(completion):
                here = counts.setdefault(prompt + completion[:i], {})
                here[token] = here.get(token, 0) + 1
        for context, tokens in counts.items():
            trained = self._scores.get(context, {})  # loaded, before its prompt was met
            fresh = {token: math.log(count) for token, count in tokens.items()}
            self._scores[context] = fresh | trained

    def _logprobs(self, context: Tokens, temperature: float) -> dict[int, float]:
        scores = {t: score / temperature for t, score in self._scores.get(context, {}).items()}
        if not scores:
            return {}
        top = max(scores.values())
        total = top + math.log(math.fsum(math.exp(score - top) for score in scores.values()))
        return {token: score - total for token, score in scores.items()}

    def _draw(
        self, prompt: Tokens, how: Sampling, draft: Draft | None, rng: random.Random
    ) -> Sample:
        tokens: list[int] = []
        logprobs: list[float] = []
        noted: list[dict[int, float]] = []
        num_reused, verifying = 0, draft is not None
        while len(tokens) < how.max_tokens and not (tokens and tokens[-1] in how.stop_ids):
            options = self._logprobs(prompt + tuple(tokens), how.temperature or 1.0)
            if not options:
                raise ValueError(f"a scripted completion ends without a stop token: {tokens}")
            probs = _proposal(options, how)
            if draft is not None and verifying and len(tokens) < len(draft.tokens):
                token, verifying = _verify(probs, draft, len(tokens), how.lenience, rng)
                num_reused += verifying
            else:
                token = _choose(probs, rng)
            tokens.append(token)
            logprobs.append(options[token])
            noted.append(_likeliest(probs, how.draft_top_k))
        reason: StopReason = "stop" if tokens[-1] in how.stop_ids else "length"
        made = _as_draft(tokens, noted) if how.draft_top_k else None
        return Sample(tuple(tokens), tuple(logprobs), reason, num_reused, made)

    def _accumulate(self, datum: Datum, clip: Clip) -> list[float]:
        """Add one datum's gradient; the derivation is that of softmax: indicator minus prob."""
        new = [0.0] * len(datum.tokens)
        prompt = datum.tokens[: next((i for i, value in enumerate(datum.mask) if value), 0)]
        if self._script.get(prompt, self._default):
            self._learn_script(
                prompt
            )  # this engine may not have sampled it: a reference never does
        for i, token in enumerate(datum.tokens):
            if not datum.mask[i]:
                continue
            context = datum.tokens[:i]
            options = self._logprobs(context, datum.temperature)
            new[i] = options.get(token, -math.inf)
            ratio = math.exp(new[i] - datum.sampler_logprobs[i])
            advantage = datum.advantages[i] * datum.mask[i]
            clipped = min(max(ratio, 1.0 - clip.low), 1.0 + clip.high)
            if token not in options or clipped * advantage < ratio * advantage:
                continue  # the clipped branch is the smaller one: no gradient
            weight = -advantage * ratio / datum.temperature
            gradient = self._gradient.setdefault(context, {})
            for other, logprob in options.items():
                direction = (1.0 if other == token else 0.0) - math.exp(logprob)
                gradient[other] = gradient.get(other, 0.0) + weight * direction
        return new

    def _step_score(self, context: Tokens, token: int, gradient: float, how: Adam) -> None:
        first, second = self._moments.get((context, token), (0.0, 0.0))
        first = how.betas[0] * first + (1 - how.betas[0]) * gradient
        second = how.betas[1] * second + (1 - how.betas[1]) * gradient * gradient
        self._moments[context, token] = (first, second)
        mean = first / (1 - how.betas[0] ** self._num_steps)
        spread = math.sqrt(second / (1 - how.betas[1] ** self._num_steps))
        score = self._scores[context][token] * (1 - how.lr * how.weight_decay)
        self._scores[context][token] = score - how.lr * mean / (spread + how.eps)


def _proposal(options: Mapping[int, float], how: Sampling) -> dict[int, float]:
    """What a token is drawn from: weights, likeliest first, after temperature 0 and top-p."""
    ordered = sorted(options, key=lambda token: (-options[token], token))
    if how.temperature == 0:
        return {ordered[0]: 1.0}
    kept, reached = {}, 0.0
    for token in ordered:
        kept[token] = math.exp(options[token])
        reached += kept[token]
        if reached >= how.top_p:
            break
    return kept


def _choose(probs: Mapping[int, float], rng: random.Random) -> int:
    return rng.choices(list(probs), list(probs.values()))[0]


def _verify(
    probs: Mapping[int, float], draft: Draft, place: int, lenience: float, rng: random.Random
) -> tuple[int, bool]:
    """The token at a place, and whether it is the draft's (as in arXiv 2211.17192).

    The draft's token x is taken over with probability min(1, lenience * p(x) / q(x)), p now and
    q then, if q notes it, else never. In its stead a token is drawn from what is left of p: in
    proportion to p(z) - min(q(z), lenience * p(z)), q(z) = 0 where it is not noted. At lenience 1
    (and below) token for token this is a draw from p, whatever q is and whatever it notes.
    Nothing left: possible by rounding only, as q is then p; the token is drawn from p.
    """
    total = math.fsum(probs.values())
    new = {token: weight / total for token, weight in probs.items()}
    noted = zip(draft.top_ids[place], draft.top_logprobs[place], strict=True)
    old = {token: math.exp(logprob) for token, logprob in noted}
    token = draft.tokens[place]
    if rng.random() * old.get(token, math.inf) < lenience * new.get(token, 0.0):
        return token, True
    left = {z: max(0.0, p - min(old.get(z, 0.0), lenience * p)) for z, p in new.items()}
    return _choose(left if any(left.values()) else new, rng), False


def _likeliest(probs: Mapping[int, float], k: int) -> dict[int, float]:
    """The fewest likely tokens that reach DRAFT_MASS, at most `k`, with their logprobs."""
    total, reached = math.fsum(probs.values()), 0.0
    noted: dict[int, float] = {}
    for token, weight in probs.items():
        if len(noted) == k or reached >= DRAFT_MASS:
            break
        noted[token] = math.log(weight / total)
        reached += weight / total
    return noted


def _as_draft(tokens: Sequence[int], noted: Sequence[Mapping[int, float]]) -> Draft:
    ids = tuple(tuple(row) for row in noted)
    return Draft(tuple(tokens), ids, tuple(tuple(row.values()) for row in noted))
