"""A second opinion on verdicts: what another grader says of the same texts, and why.

The other grader is math-verify alone, with its defaults, on the whole texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srpo.rewards.math import MathVerifier
from srpo.rewards.math.answers import MAX_ANSWER_CHARS, find_answer
from srpo.types import Verdict

_MAX_TEXT_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Opinion:
    """Two verdicts on one text, each with its reason.

    >>> Opinion("7", "4", "4.0", Verdict.CORRECT, "", Verdict.WRONG, "different").disagrees
    True
    """

    id: str
    gold: str
    answer: str  # what we compared; "" if there was none
    verdict: Verdict
    reason: str
    other: Verdict
    other_reason: str

    @property
    def disagrees(self) -> bool:
        """True if just one of the two says correct; a check that failed disagrees with nobody."""
        if Verdict.INFRA_ERROR in (self.verdict, self.other):
            return False
        return (self.verdict is Verdict.CORRECT) != (self.other is Verdict.CORRECT)


def second_opinions(
    verifier: MathVerifier, rows: Sequence[tuple[str, str, str, Verdict, str]]
) -> list[Opinion]:
    """An opinion for each row, in order.

    A row is an id, the gold answer, the text after the thinking, our verdict, and our reason.
    The other grader works in the verifier's processes, under its limits; of a long text it sees
    the last 20,000 characters.
    """
    texts = [(gold[:_MAX_TEXT_CHARS], text[-_MAX_TEXT_CHARS:]) for _, gold, text, _, _ in rows]
    found = verifier.ask_math_verify(texts)
    return [
        Opinion(
            id=row_id,
            gold=gold,
            answer=(find_answer(text) or "")[:MAX_ANSWER_CHARS],
            verdict=verdict,
            reason=reason,
            other=other,
            other_reason=other_reason,
        )
        for (row_id, gold, text, verdict, reason), (other, other_reason) in zip(
            rows, found, strict=True
        )
    ]
