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

from srpo.types import Adam, Clip, Datum, Sample, Sampling, StopReason

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
        self._moments: dict[str, tuple[float, float]] = {}
        self._num_steps = 0
        for prompt in self._script:
            self._learn_script(prompt)

    def sample(self, prompts: Sequence[Sequence[int]], n: int, how: Sampling) -> list[list[Sample]]:
        """See `Engine.sample`. Raises `KeyError` for a prompt without script or default."""
        rng = random.Random(how.seed)
        drawn = []
        for prompt in prompts:
            self._learn_script(tuple(prompt))
            drawn.append([self._draw(tuple(prompt), how, rng) for _ in range(n)])
        return drawn

    def forward_backward(self, data: Sequence[Datum], clip: Clip) -> list[list[float]]:
        """See `Engine.forward_backward`. Tokens that no script knows have logprob -inf."""
        return [self._accumulate(datum, clip) for datum in data]

    def optim_step(self, how: Adam) -> dict[str, float]:
        """See `Engine.optim_step`: AdamW (arXiv 1711.05101) on every score with a gradient."""
        norm = math.sqrt(
            math.fsum(g * g for scores in self._gradient.values() for g in scores.values())
        )
        limit = how.max_grad_norm or math.inf
        scale = min(1.0, limit / norm) if norm else 1.0
        self._num_steps += 1
        for context, gradients in self._gradient.items():
            for token, gradient in gradients.items():
                self._step_score(context, token, gradient * scale, how)
        self._gradient = {}
        return {"grad_norm": norm}

    def save(self, name: str) -> str:
        """See `Engine.save`: one JSON file in a folder of its own."""
        state = {
            "scores": [[list(context), scores] for context, scores in self._scores.items()],
            "moments": self._moments,
            "num_steps": self._num_steps,
        }
        target = self._folder / name
        target.mkdir(parents=True, exist_ok=True)
        aside = target / "policy.partial"
        aside.write_text(json.dumps(state), encoding="utf-8")
        aside.replace(target / "policy.json")
        return str(target)

    def load(self, ref: str) -> None:
        """See `Engine.load`."""
        state = json.loads((Path(ref) / "policy.json").read_text(encoding="utf-8"))
        self._scores = {
            tuple(context): {int(token): score for token, score in scores.items()}
            for context, scores in state["scores"]
        }
        self._moments = {key: (first, second) for key, (first, second) in state["moments"].items()}
        self._num_steps = state["num_steps"]
        self._gradient = {}

    def _learn_script(self, prompt: Tokens) -> None:
        """Enter a prompt's completions, scored so that each is played equally often."""
        if prompt in self._scores:
            return
        completions = self._script.get(prompt, self._default)
        if not completions:
            raise KeyError(f"no script for prompt {prompt}")
        counts: dict[Tokens, dict[int, int]] = {}
        for completion in completions:
            for i, token in enumerate(completion):
                here = counts.setdefault(prompt + completion[:i], {})
                here[token] = here.get(token, 0) + 1
        for context, tokens in counts.items():
            self._scores[context] = {token: math.log(count) for token, count in tokens.items()}

    def _logprobs(self, context: Tokens, temperature: float) -> dict[int, float]:
        scores = {t: score / temperature for t, score in self._scores.get(context, {}).items()}
        if not scores:
            return {}
        top = max(scores.values())
        total = top + math.log(math.fsum(math.exp(score - top) for score in scores.values()))
        return {token: score - total for token, score in scores.items()}

    def _draw(self, prompt: Tokens, how: Sampling, rng: random.Random) -> Sample:
        tokens: list[int] = []
        logprobs: list[float] = []
        reason: StopReason = "length"
        while len(tokens) < how.max_tokens:
            options = self._logprobs(prompt + tuple(tokens), how.temperature or 1.0)
            if not options:
                raise ValueError(f"a scripted completion ends without a stop token: {tokens}")
            token = _choose(options, how, rng)
            tokens.append(token)
            logprobs.append(options[token])
            if token in how.stop_ids:
                reason = "stop"
                break
        return Sample(tuple(tokens), tuple(logprobs), reason)

    def _accumulate(self, datum: Datum, clip: Clip) -> list[float]:
        """Add one datum's gradient; the derivation is that of softmax: indicator minus prob."""
        new = [0.0] * len(datum.tokens)
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
        key = f"{','.join(map(str, context))}>{token}"
        first, second = self._moments.get(key, (0.0, 0.0))
        first = how.betas[0] * first + (1 - how.betas[0]) * gradient
        second = how.betas[1] * second + (1 - how.betas[1]) * gradient * gradient
        self._moments[key] = (first, second)
        mean = first / (1 - how.betas[0] ** self._num_steps)
        spread = math.sqrt(second / (1 - how.betas[1] ** self._num_steps))
        score = self._scores[context][token] * (1 - how.lr * how.weight_decay)
        self._scores[context][token] = score - how.lr * mean / (spread + how.eps)


def _choose(options: Mapping[int, float], how: Sampling, rng: random.Random) -> int:
    ordered = sorted(options, key=lambda token: (-options[token], token))
    if how.temperature == 0:
        return ordered[0]
    kept, reached = [], 0.0
    for token in ordered:
        kept.append(token)
        reached += math.exp(options[token])
        if reached >= how.top_p:
            break
    return rng.choices(kept, [math.exp(options[token]) for token in kept])[0]
