"""The nouns of srpo. Plain frozen values: no behaviour beyond reading their own fields.

Letters in names: P problems in a step, G rollouts per group, B rollouts in a (micro-)batch,
T tokens, V vocabulary. Everything here can be imported without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Domain: TypeAlias = Literal["math", "code"]
StopReason: TypeAlias = Literal["stop", "length"]
Split: TypeAlias = Literal["test", "validation"]  # of the problems that are never trained on


class Verdict(StrEnum):
    """What the verifier found. The verdict comes first; numbers are computed from it.

    UNGRADABLE (the problem itself cannot be checked) and INFRA_ERROR (the check could not be
    made) say nothing about the answer: they give no reward and leave group statistics alone.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    BAD_FORMAT = "bad_format"
    TRUNCATED = "truncated"
    TIMED_OUT = "timed_out"
    UNGRADABLE = "ungradable"
    INFRA_ERROR = "infra_error"

    @property
    def gradable(self) -> bool:
        """True if the verdict says something about the answer."""
        return self not in (Verdict.UNGRADABLE, Verdict.INFRA_ERROR)


class Outcome(StrEnum):
    """What a problem's rollouts came to, by the accuracy verdict alone.

    UNGRADABLE: not one rollout could be graded.
    """

    ALL_CORRECT = "all_correct"
    MIXED = "mixed"
    ALL_WRONG = "all_wrong"
    UNGRADABLE = "ungradable"


class Fate(StrEnum):
    """What became of a generated token; each has exactly one.

    AT_MEAN: the group's answers differ, and this rollout's advantage is zero all the same.
    UNGRADABLE: no reward, whether the problem or the check was at fault.
    """

    GRADIENT = "gradient"
    ALL_CORRECT = "all_correct"
    ALL_WRONG = "all_wrong"
    AT_MEAN = "at_mean"
    TRUNCATED = "truncated"
    UNGRADABLE = "ungradable"
    SUBSET = "subset"
    REUSED = "reused"
    EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class FunctionCase:
    """Call `function(*args)` in the program and expect a plain value.

    >>> FunctionCase(function="add", args=(1, 2), expected=3)
    FunctionCase(function='add', args=(1, 2), expected=3)
    """

    function: str
    args: tuple[Json, ...]
    expected: Json


@dataclass(frozen=True, slots=True)
class StdioCase:
    r"""Run the program with `stdin` and expect `stdout`, as its checker compares outputs.

    >>> StdioCase(stdin="1 2\n", stdout="3\n").checker
    'lines'
    """

    stdin: str
    stdout: str
    checker: str = "lines"  # a name that srpo.rewards.code.output knows


@dataclass(frozen=True, slots=True)
class AssertCase:
    """Execute `setup` and `tests`, which assert something about the program.

    If they define `check` and there is an entry point, `check(entry point)` is called. What
    neither defines, and the entry point, is looked up in the program.

    >>> AssertCase("assert add(1, 2) == 3").entry_point
    ''
    """

    tests: str  # trusted Python; raising means failed
    setup: str = ""  # trusted Python before it: imports, helpers, or HumanEval's prompt
    entry_point: str = ""  # the function under test


CodeCase: TypeAlias = FunctionCase | StdioCase | AssertCase


@dataclass(frozen=True, slots=True)
class Scorer:
    """Another package's own check of answers: which data set, and the entry that it made.

    >>> Scorer(dataset="chain_sum", entry='{"answer": "4", "metadata": {}}').package
    'reasoning_gym'
    """

    dataset: str  # the package's name of it
    entry: str  # JSON of an object: what the scorer is given beside the answer
    package: str = "reasoning_gym"  # the only one so far


@dataclass(frozen=True, slots=True)
class Problem:
    """One item to solve, with what is needed to check an answer.

    >>> Problem(id="5f3a", domain="math", statement="What is 2 + 2?", answer="4").level is None
    True
    """

    id: str  # content hash: equal content, equal id (problems.content_id)
    domain: Domain
    statement: str
    answer: str | None = None  # the gold answer of a math problem
    tests: tuple[CodeCase, ...] = ()  # the tests of a code problem, at least one
    source: str = ""  # the file or generator it came from
    level: int | None = None  # difficulty as its author labelled it; higher is harder
    name: str = ""  # the `id` its author gave it, if any
    scorer: Scorer | None = (
        None  # math: who checks answers in place of the comparison with `answer`
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What selection asks for: so many fresh rollouts of a problem, and why.

    >>> p = Problem(id="5f3a", domain="math", statement="2 + 2?", answer="4")
    >>> Request(p, count=8, why="its turn").count
    8
    """

    problem: Problem
    count: int  # >= 1
    why: str  # a few words, kept in the ledger
    prefix: tuple[int, ...] = ()  # the start of an own answer, to go on from


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an engine draws completions.

    Temperature 0 means greedy (logprobs are then those at temperature 1). `top_p` 1.0 means the
    whole distribution. Logprobs are those of softmax(logits / temperature), before any top-p cut.

    >>> Sampling(max_tokens=64, stop_ids=(2,), seed=7).temperature
    1.0
    """

    max_tokens: int  # >= 1; a completion that reaches it stops with reason "length"
    stop_ids: tuple[int, ...]  # a completion ends with the first of these, which it includes
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    draft_top_k: int = 0  # how many likely tokens a draft notes at each place; 0: make no drafts
    lenience: float = 1.0  # of verifying drafts; above 1 more is taken over, and it is biased


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion as an engine drew it.

    >>> Sample(tokens=(5, 2), logprobs=(-0.1, -0.7), stop_reason="stop").tokens[-1]
    2
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]  # of each token, under the policy that drew it
    stop_reason: StopReason
    num_reused: int = 0  # leading tokens taken over from a draft: verified, not generated
    draft: Draft | None = None  # the same tokens as a draft for later; None unless asked for


@dataclass(frozen=True, slots=True)
class Draft:
    """An earlier completion, and at each place what it was drawn from: its likeliest tokens.

    Which tokens are noted at a place follows from the distribution there, never from the token
    that was drawn: a token outside them can be the drawn one, and is then never taken over.
    Logprobs are those of the distribution drawn from, so they sum to less than one, or to one.

    >>> Draft(tokens=(5, 2), top_ids=((5, 6), (2,)), top_logprobs=((-0.2, -2.0), (0.0,))).tokens
    (5, 2)
    """

    tokens: tuple[int, ...]
    top_ids: tuple[tuple[int, ...], ...]  # one row a token, likeliest first, at most k entries
    top_logprobs: tuple[tuple[float, ...], ...]  # of top_ids, all finite


@dataclass(frozen=True, slots=True)
class Datum:
    """One row to train on. `mask`, `sampler_logprobs`, `advantages` have one entry a token.

    The entry at i belongs to the prediction of token i from the tokens before it, so entry 0
    is never trained on (its mask must be 0). The loss is summed over tokens; any averaging is
    already in the advantages.

    >>> Datum((1, 5, 2), (0.0, 1.0, 1.0), (0.0, -0.1, -0.7), (0.0, 0.5, 0.5)).num_trained
    2
    """

    tokens: tuple[int, ...]
    mask: tuple[float, ...]  # 1.0 where the token is trained on, else 0.0
    sampler_logprobs: tuple[float, ...]
    advantages: tuple[float, ...]
    temperature: float = 1.0  # the policy is softmax(logits / temperature), as it was sampled

    @property
    def num_trained(self) -> int:
        """Number of tokens that are trained on."""
        return sum(1 for value in self.mask if value)


@dataclass(frozen=True, slots=True)
class Clip:
    """The trust region of the policy ratio: [1 - low, 1 + high].

    >>> Clip().high
    0.28
    """

    low: float = 0.20
    high: float = 0.28


@dataclass(frozen=True, slots=True)
class Adam:
    """One AdamW step. `max_grad_norm` 0 means no clipping.

    >>> Adam(lr=1e-6).betas
    (0.9, 0.95)
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion of one problem, from drawing to advantage. Later fields fill in later.

    >>> r = Rollout(tokens=(5, 2), text="4", sampler_logprobs=(-0.1, -0.7), stop_reason="stop")
    >>> r.verdict is None and r.reward is None
    True
    """

    tokens: tuple[int, ...]
    text: str  # the completion as text, without the stop token; a view, the tokens are the record
    sampler_logprobs: tuple[float, ...]
    stop_reason: StopReason
    verdict: Verdict | None = None  # None until graded
    passed_frac: float | None = None  # code: cases known to pass / all cases; a lower bound
    failed_case: int | None = None  # code: the first case that failed, from 0
    thinks: bool = False  # True if the completion holds a thinking part that is not blank
    parts: dict[str, float] = field(default_factory=dict)  # what was measured, without weights
    reward_parts: dict[str, float] = field(default_factory=dict)  # weighted; they sum to reward
    reward: float | None = None  # None if not gradable
    advantage: float = 0.0
    note: str = ""  # why this verdict, in a few words; may be empty
    num_reused: int = 0  # leading tokens taken over from a draft: verified, not generated
    draft: Draft | None = None  # the same tokens as a draft for later
    trained: bool = True  # False: left out by the choice of a subset (srpo.subsets)


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one problem under one policy version.

    >>> p = Problem(id="5f3a", domain="math", statement="2 + 2?", answer="4")
    >>> Group(problem=p, prompt=(7, 8), rollouts=(), policy_version=0).outcome.value
    'ungradable'
    """

    problem: Problem
    prompt: tuple[int, ...]
    rollouts: tuple[Rollout, ...]
    policy_version: int  # number of optimizer steps the weights had seen
    why: str = ""  # why selection asked for it, in a few words
    prefix: tuple[int, ...] = ()  # the end of the prompt that is the start of an own answer

    @property
    def num_gradable(self) -> int:
        """Rollouts whose verdict says something about the answer."""
        return sum(1 for r in self.rollouts if r.verdict is not None and r.verdict.gradable)

    @property
    def num_correct(self) -> int:
        """Rollouts with the verdict `correct`."""
        return sum(1 for r in self.rollouts if r.verdict is Verdict.CORRECT)

    @property
    def outcome(self) -> Outcome:
        """All correct, mixed or all wrong, among the gradable rollouts."""
        return outcome_of(self.num_correct, self.num_gradable)

    @property
    def has_signal(self) -> bool:
        """True if some rollout has an advantage other than zero."""
        return any(r.advantage != 0.0 for r in self.rollouts)

    @property
    def num_tokens(self) -> int:
        """Tokens of all completions together, those taken over from drafts included."""
        return sum(len(r.tokens) for r in self.rollouts)

    @property
    def num_generated(self) -> int:
        """Generated tokens: those of the completions without what drafts brought."""
        return sum(len(r.tokens) - r.num_reused for r in self.rollouts)


def outcome_of(num_correct: int, num_gradable: int) -> Outcome:
    """Outcome of `num_correct` correct rollouts among `num_gradable` gradable ones.

    >>> outcome_of(8, 8).value, outcome_of(3, 8).value, outcome_of(0, 8).value
    ('all_correct', 'mixed', 'all_wrong')
    """
    if num_gradable == 0:
        return Outcome.UNGRADABLE
    if num_correct == num_gradable:
        return Outcome.ALL_CORRECT
    return Outcome.MIXED if num_correct else Outcome.ALL_WRONG
