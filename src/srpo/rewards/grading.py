"""From groups of completions to groups with verdicts and rewards: verdicts first, then numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from srpo.config import RewardConfig, VerifierConfig
from srpo.rewards.answers import gold_problem
from srpo.rewards.code import check_programs, extract_program
from srpo.rewards.format import Completion, split_completion
from srpo.rewards.language import mixing_share
from srpo.rewards.math import MathVerifier
from srpo.sandbox import Limits, Sandbox
from srpo.sandbox.forkserver import ForkServerSandbox
from srpo.types import Group, Problem, Rollout, Verdict

_ANSWERLESS = (Verdict.NO_ANSWER, Verdict.BAD_FORMAT, Verdict.TRUNCATED)


@dataclass(frozen=True, slots=True)
class _Finding:
    verdict: Verdict
    note: str = ""
    passed_frac: float | None = None


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


class Grader:
    """Gives verdicts and rewards to rollouts. A context manager; `close` ends its processes.

    A given sandbox stays the caller's to close. Without one, a local sandbox is started with
    the first program. Another domain takes another branch in `_verify` and nothing else.
    """

    def __init__(self, config: VerifierConfig, sandbox: Sandbox | None = None) -> None:
        self._config = config
        self._sandbox = sandbox
        self._own_sandbox: ForkServerSandbox | None = None
        self._math = MathVerifier(config.math_timeout_s)

    def grade(
        self,
        groups: Sequence[Group],
        *,
        prompt_text: Callable[[Group], str] = statement_of,
        thinking_required: bool,
        prefilled_thinking: bool,
        reward: RewardConfig,
    ) -> list[Group]:
        """The groups with `verdict`, `reward`, `reward_parts`, `thinks`, `passed_frac`, `note` set.

        A failure of the machinery is the verdict `infra_error` of the rollouts it concerns,
        without a reward; it is not raised. Only a sandbox that cannot start at all is
        (SandboxError).
        """
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
            share = mixing_share(rollout.text, prompts[item.i_group])
            graded[item.i_group][item.i_rollout] = _fill_in(
                rollout, item.completion, finding, share, reward
            )
        return [
            replace(group, rollouts=tuple(rollouts))
            for group, rollouts in zip(groups, graded, strict=True)
        ]

    def _findings(self, items: Sequence[_Item], thinking_required: bool) -> list[_Finding]:
        """A finding for each item, in order."""
        findings = {i: _before_verifying(item, thinking_required) for i, item in enumerate(items)}
        for domain in ("math", "code"):
            open_items = [
                i
                for i, finding in findings.items()
                if finding is None and items[i].problem.domain == domain
            ]
            found = self._verify(domain, [items[i] for i in open_items]) if open_items else []
            findings.update(zip(open_items, found, strict=True))
        unknown = _Finding(Verdict.UNGRADABLE, "no verifier for this domain")
        return [findings[i] or unknown for i in range(len(items))]

    def _verify(self, domain: str, items: Sequence[_Item]) -> list[_Finding]:
        """Let the verifier of a domain look at the answers."""
        if domain == "math":
            pairs = [(item.problem.answer, item.completion.answer) for item in items]
            return [_Finding(*found) for found in self._math.check(pairs)]
        return self._verify_code(items)

    def _verify_code(self, items: Sequence[_Item]) -> list[_Finding]:
        programs = [extract_program(item.completion.answer) for item in items]
        with_program = [i for i, program in enumerate(programs) if program is not None]
        limits = Limits(
            timeout_s=self._config.code_timeout_s,
            memory_mib=self._config.code_memory_mib,
            output_kib=self._config.code_output_kib,
        )
        found = check_programs(
            [(items[i].problem, programs[i] or "") for i in with_program], self.sandbox, limits
        )
        no_program = _Finding(Verdict.NO_ANSWER, "there is no closed block of Python code")
        findings = [no_program] * len(items)
        for i, result in zip(with_program, found, strict=True):
            findings[i] = _Finding(result.verdict, result.note, result.passed_frac)
        return [
            finding if item.problem.tests else _Finding(Verdict.UNGRADABLE, "no tests")
            for item, finding in zip(items, findings, strict=True)
        ]

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox that was given, or the grader's own, which starts with its first job."""
        if self._sandbox is not None:
            return self._sandbox
        if self._own_sandbox is None:
            self._own_sandbox = ForkServerSandbox(self._config.code_workers)
        return self._own_sandbox

    def describe(self) -> str:
        """One sentence on the isolation of programs. Starts the sandbox."""
        return self.sandbox.describe()

    def close(self) -> None:
        """End all processes that this grader started."""
        self._math.close()
        if self._own_sandbox is not None:
            self._own_sandbox.close()
            self._own_sandbox = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _before_verifying(item: _Item, thinking_required: bool) -> _Finding | None:
    """The finding that the form alone decides; None if the answer has to be looked at."""
    if item.problem.domain == "math" and (reason := gold_problem(item.problem.answer)):
        return _Finding(Verdict.UNGRADABLE, reason)
    if item.truncated:
        return _Finding(Verdict.TRUNCATED, "reached the longest completion allowed")
    if not item.completion.well_formed:
        return _Finding(Verdict.BAD_FORMAT, "the thinking tags are not once each and in order")
    if thinking_required and not item.completion.has_tags:
        return _Finding(Verdict.BAD_FORMAT, "the thinking tags are missing")
    return None


def _fill_in(
    rollout: Rollout, completion: Completion, finding: _Finding, share: float, reward: RewardConfig
) -> Rollout:
    """The rollout with its verdict and, if that is gradable, its reward."""
    verdict = finding.verdict
    parts: dict[str, float] = {}
    if verdict.gradable:
        parts = {
            "accuracy": reward.accuracy if verdict is Verdict.CORRECT else 0.0,
            "format": 0.0 if verdict in _ANSWERLESS else reward.format,
            "language_mixing": reward.language_mixing * share if share else 0.0,
        }
    return replace(
        rollout,
        verdict=verdict,
        passed_frac=finding.passed_frac,
        thinks=completion.thinks,
        reward_parts=parts,
        reward=sum(parts.values()) if verdict.gradable else None,
        note=finding.note,
    )
