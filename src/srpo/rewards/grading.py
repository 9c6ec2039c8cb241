"""From groups of completions to groups with verdicts and rewards: verdicts first, then numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from srpo.config import RewardConfig
from srpo.config.verifier import VerifierConfig
from srpo.rewards.code import CodeFinding, check_programs, extract_program
from srpo.rewards.format import Completion, split_completion
from srpo.rewards.language import mixing_share
from srpo.rewards.math import MathVerifier
from srpo.rewards.math.answers import gold_problem
from srpo.rewards.overlong import overlong_penalty
from srpo.rewards.scorers import ScorerVerifier
from srpo.sandbox import Limits, Sandbox
from srpo.types import Group, Problem, Rollout, Verdict

_ANSWERLESS = (Verdict.NO_ANSWER, Verdict.BAD_FORMAT, Verdict.TRUNCATED)
NO_PROGRAM = "there is no closed block of Python code"
_BUFFER_SHARE = 5  # DAPO's buffer is 4,096 of 20,480 tokens


@dataclass(frozen=True, slots=True)
class _Item:
    """One rollout on its way: where it stands, and what of it is checked."""

    i_group: int
    i_rollout: int
    problem: Problem
    truncated: bool
    completion: Completion


def statement_of(group: Group) -> str:
    """The text whose scripts a completion may use, unless the caller knows the whole prompt."""
    return group.problem.statement


def make_sandbox(config: VerifierConfig) -> Sandbox:
    """The sandbox that a config asks for. It starts with its first job or `describe()`."""
    if config.remote_url:
        from srpo.sandbox.remote import RemoteSandbox

        return RemoteSandbox(config.remote_url, config.code_workers or 8)
    from srpo.sandbox.local import LocalSandbox

    return LocalSandbox(
        config.code_workers,
        config.strength,
        allow_unsafe=config.allow_unsafe,
        fence=config.fence,
    )


def limits_of(config: VerifierConfig) -> Limits:
    """What a config lets a program use."""
    return Limits(
        timeout_s=config.code_timeout_s,
        program_timeout_s=config.code_program_timeout_s,
        memory_mib=config.code_memory_mib,
        output_kib=config.code_output_kib,
    )


class Grader:
    """Gives verdicts and rewards to rollouts. A context manager; `close` ends its processes.

    A given sandbox stays the caller's to close. Without one, a sandbox is started with the
    first program. Another domain takes another branch in `_verify` and nothing else. What the
    grader remembers, which tests failed how often, changes the order in which tests are run
    and nothing else; it grows with `observe` alone, so that a run can save and restore it.
    """

    def __init__(self, config: VerifierConfig, sandbox: Sandbox | None = None) -> None:
        self._config = config
        self._sandbox = sandbox
        self._own_sandbox: Sandbox | None = None
        self._failures: dict[str, Counter[int]] = {}  # problem id -> case -> how often it failed
        self.math = MathVerifier(config.math_timeout_s)
        self.scorers = ScorerVerifier(config.math_timeout_s)

    def grade(
        self,
        groups: Sequence[Group],
        *,
        prompt_text: Callable[[Group], str] = statement_of,
        thinking_required: bool,
        prefilled_thinking: bool,
        reward: RewardConfig,
        max_tokens: int | None = None,
    ) -> list[Group]:
        """The groups with every field of a rollout set that grading fills in.

        `max_tokens` is the longest completion allowed; without it there is no part `overlong`,
        and ValueError if the reward asks for the soft penalty. A failure of the machinery is the
        verdict `infra_error` of the rollouts it concerns, without a reward; it is not raised.
        Only a sandbox that cannot start at all is (SandboxError).
        """
        if reward.overlong == "soft" and max_tokens is None:
            raise ValueError("the soft penalty for overlong completions needs max_tokens")
        items = [
            _Item(
                i_group,
                i_rollout,
                group.problem,
                rollout.stop_reason == "length",
                split_completion(rollout.text, prefilled_thinking=prefilled_thinking),
            )
            for i_group, group in enumerate(groups)
            for i_rollout, rollout in enumerate(group.rollouts)
        ]
        findings = self._findings(items, thinking_required)
        prompts = [prompt_text(group) for group in groups]
        graded: list[list[Rollout]] = [list(group.rollouts) for group in groups]
        for item, finding in zip(items, findings, strict=True):
            rollout = graded[item.i_group][item.i_rollout]
            parts = parts_of(
                finding.verdict, finding.passed_frac, item.completion, rollout.text,
                prompts[item.i_group],
            )  # fmt: skip
            if max_tokens is not None and finding.verdict.gradable:
                buffer = reward.overlong_buffer_tokens or max_tokens // _BUFFER_SHARE
                parts["overlong"] = overlong_penalty(len(rollout.tokens), max_tokens, buffer)
            graded[item.i_group][item.i_rollout] = _fill_in(
                rollout, item.completion, finding, parts, reward
            )
        return [
            replace(group, rollouts=tuple(rollouts))
            for group, rollouts in zip(groups, graded, strict=True)
        ]

    def observe(self, groups: Sequence[Group]) -> None:
        """Count which tests failed, so that they are run first from now on."""
        for group in groups:
            for rollout in group.rollouts:
                if rollout.failed_case is not None:
                    counts = self._failures.setdefault(group.problem.id, Counter())
                    counts[rollout.failed_case] += 1

    def state_dict(self) -> dict[str, Any]:
        """What `observe` has counted, as plain JSON values."""
        failures = {
            id: {str(i_case): count for i_case, count in counts.items()}
            for id, counts in self._failures.items()
        }
        return {"failures": failures}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave. Raises ValueError for anything else."""
        if state.keys() != {"failures"}:
            raise ValueError(f"a grader's state has 'failures' alone, not {sorted(state)}")
        self._failures = {
            id: Counter({int(i_case): int(count) for i_case, count in counts.items()})
            for id, counts in state["failures"].items()
        }

    def _findings(self, items: Sequence[_Item], thinking_required: bool) -> list[CodeFinding]:
        """A finding for each item, in order."""
        findings = {
            i: before_verifying(
                item.problem.domain,
                item.problem.answer,
                item.completion,
                truncated=item.truncated,
                thinking_required=thinking_required,
                scored=item.problem.scorer is not None,
            )
            for i, item in enumerate(items)
        }
        for domain in ("math", "code"):
            open_items = [
                i
                for i, finding in findings.items()
                if finding is None and items[i].problem.domain == domain
            ]
            found = self._verify(domain, [items[i] for i in open_items]) if open_items else []
            findings.update(zip(open_items, found, strict=True))
        unknown = CodeFinding(Verdict.UNGRADABLE, note="no verifier for this domain")
        return [findings[i] or unknown for i in range(len(items))]

    def _verify(self, domain: str, items: Sequence[_Item]) -> list[CodeFinding]:
        """Let the verifier of a domain look at the answers."""
        if domain == "math":
            return self._verify_math(items)
        return self._verify_code(items)

    def _verify_math(self, items: Sequence[_Item]) -> list[CodeFinding]:
        """By the scorer that a problem names, else by comparing with its gold answer."""
        compared = [item for item in items if item.problem.scorer is None]
        pairs = [(item.problem.answer, item.completion.answer) for item in compared]
        by_answer = iter(self.math.check(pairs))
        by_scorer = iter(
            self.scorers.check(
                [(i.problem.scorer, i.completion.answer) for i in items if i.problem.scorer]
            )
        )
        found = [next(by_scorer if item.problem.scorer else by_answer) for item in items]
        return [CodeFinding(verdict, note=note) for verdict, note in found]

    def _verify_code(self, items: Sequence[_Item]) -> list[CodeFinding]:
        programs = [extract_program(item.completion.raw_answer) for item in items]
        with_program = [i for i, program in enumerate(programs) if program is not None]
        found = check_programs(
            [(items[i].problem, programs[i] or "") for i in with_program],
            self.sandbox,
            limits_of(self._config),
            run_all=self._config.code_run_all,
            failures=self._failures,
        )
        no_program = CodeFinding(Verdict.NO_ANSWER, note=NO_PROGRAM)
        findings = [no_program] * len(items)
        for i, result in zip(with_program, found, strict=True):
            findings[i] = result
        return [
            finding if item.problem.tests else CodeFinding(Verdict.UNGRADABLE, note="no tests")
            for item, finding in zip(items, findings, strict=True)
        ]

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox that was given, or the grader's own, which starts with its first job."""
        if self._sandbox is not None:
            return self._sandbox
        if self._own_sandbox is None:
            self._own_sandbox = make_sandbox(self._config)
        return self._own_sandbox

    def describe(self) -> str:
        """One sentence on the isolation of programs. Starts the sandbox."""
        return self.sandbox.describe()

    def close(self) -> None:
        """End all processes that this grader started."""
        self.math.close()
        self.scorers.close()
        if self._own_sandbox is not None:
            self._own_sandbox.close()
            self._own_sandbox = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def before_verifying(
    domain: str,
    gold: str | None,
    completion: Completion,
    *,
    truncated: bool,
    thinking_required: bool,
    scored: bool = False,
) -> CodeFinding | None:
    """The finding that the form alone decides; None if the answer has to be looked at.

    `scored`: a scorer checks the answer, so that no gold answer is needed.
    """
    if domain == "math" and not scored and (reason := gold_problem(gold)):
        return CodeFinding(Verdict.UNGRADABLE, note=reason)
    if truncated:
        return CodeFinding(Verdict.TRUNCATED, note="reached the longest completion allowed")
    if not completion.well_formed:
        note = "the thinking tags do not stand once each and in order"
        return CodeFinding(Verdict.BAD_FORMAT, note=note)
    if thinking_required and not completion.has_tags:
        return CodeFinding(Verdict.BAD_FORMAT, note="the thinking tags are missing")
    return None


def parts_of(
    verdict: Verdict, passed_frac: float | None, completion: Completion, text: str, prompt: str
) -> dict[str, float]:
    """Every measured part of a completion as a number of its own, without weights.

    Accuracy, form and thinking are 1 or 0; the mixing of languages is a share. None of them if
    the verdict says nothing about the answer.
    """
    if not verdict.gradable:
        return {}
    parts = {
        "accuracy": float(verdict is Verdict.CORRECT),
        "format": float(verdict not in _ANSWERLESS),
        "language_mixing": mixing_share(text, prompt),
        "thinks": float(completion.thinks),
    }
    if passed_frac is not None:
        parts["passed_frac"] = passed_frac
    return parts


def _fill_in(
    rollout: Rollout,
    completion: Completion,
    finding: CodeFinding,
    parts: dict[str, float],
    reward: RewardConfig,
) -> Rollout:
    """The rollout with its verdict and, if that is gradable, its reward."""
    gradable = finding.verdict.gradable
    weights = {
        "accuracy": reward.accuracy,
        "format": reward.format,
        "language_mixing": reward.language_mixing,
    }
    if reward.overlong == "soft":
        weights["overlong"] = reward.overlong_weight
    # a part that is 0 gives 0.0, whatever the sign of its weight
    weighted: dict[str, float] = {}
    if gradable:
        weighted = {name: w * parts[name] if parts[name] else 0.0 for name, w in weights.items()}
    return replace(
        rollout,
        verdict=finding.verdict,
        passed_frac=finding.passed_frac,
        failed_case=finding.failed_case,
        thinks=completion.thinks,
        parts=parts,
        reward_parts=weighted,
        reward=sum(weighted.values()) if gradable else None,
        note=finding.note,
    )
