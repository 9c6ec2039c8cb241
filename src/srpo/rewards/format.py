"""A completion's parts: the thinking, and the answer after it."""

from __future__ import annotations

from dataclasses import dataclass, field

_OPEN, _CLOSE = "<think>", "</think>"
_OPEN_ANSWER, _CLOSE_ANSWER = "<answer>", "</answer>"


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion cut at its tags.

    >>> split_completion("<think>2 and 2</think>4", prefilled_thinking=False).answer
    '4'
    """

    thinking: str  # what stands between the tags; "" if there are none
    answer: str  # what follows the closing tag; "" if the tags are malformed
    well_formed: bool  # tags once each, in order, nothing before them; or no tags at all
    has_tags: bool  # False: the whole completion is the answer
    # The answer with the white space around it, which a program's first line may need.
    raw_answer: str = field(default="", compare=False, repr=False)

    @property
    def thinks(self) -> bool:
        """True if there is a thinking part that is not blank."""
        return bool(self.thinking.strip())


def split_completion(text: str, *, prefilled_thinking: bool) -> Completion:
    """Cut a completion into thinking and answer.

    With `prefilled_thinking` the prompt ends with the opening tag, so the completion starts
    inside the thinking; it must then hold the closing tag and no opening one. Malformed tags
    leave no answer: what stands inside the thinking never counts as one.
    """
    num_open, num_close = text.count(_OPEN), text.count(_CLOSE)
    if not prefilled_thinking and num_open == num_close == 0:
        raw = _unwrap(text)
        return Completion("", raw.strip(), well_formed=True, has_tags=False, raw_answer=raw)
    if prefilled_thinking:
        in_order = num_open == 0 and num_close == 1
    else:
        in_order = num_open == num_close == 1 and text.lstrip().startswith(_OPEN)
    before, _, after = text.partition(_CLOSE)
    thinking = before.replace(_OPEN, "", 1)
    if not in_order:
        return Completion(thinking, "", well_formed=False, has_tags=True)
    raw = _unwrap(after)
    return Completion(
        thinking.strip(), raw.strip(), well_formed=True, has_tags=True, raw_answer=raw
    )


def _unwrap(answer: str) -> str:
    """The content of the last <answer> block, or the whole text if there is none.

    A block holds no other tag. Found by searching for the tags alone: an answer of megabytes
    takes no more memory than itself.
    """
    end = len(answer)
    while (start := answer.rfind(_OPEN_ANSWER, 0, end)) >= 0:
        inner = start + len(_OPEN_ANSWER)
        close = answer.find(_CLOSE_ANSWER, inner, end)
        if close >= 0:
            return answer[inner:close]
        end = start
    return answer
