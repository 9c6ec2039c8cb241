"""The scorer of a math problem as it stands in a row <-> a Scorer. No torch.

docs/problems.md has the form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from srpo.problems.row_words import BadRowError, check_name, kind_of, unique_names
from srpo.types import Json, Scorer

PACKAGES = ("reasoning_gym",)
FIELDS = ("package", "dataset", "entry")
EXAMPLE = '"scorer": {"package": "reasoning_gym", "dataset": "chain_sum", "entry": {...}}'


def parse_scorer(value: object) -> Scorer:
    """The scorer of a row: an object, or a text that holds one as JSON. Raises BadRowError.

    >>> parse_scorer({"package": "reasoning_gym", "dataset": "gcd", "entry": {"answer": "4"}})
    Scorer(dataset='gcd', entry='{"answer":"4"}', package='reasoning_gym')
    """
    fields = _object(value)
    for name in fields:
        check_name(name, FIELDS, "field of 'scorer'")
    package, dataset, entry = (fields.get(name) for name in FIELDS)
    if package not in PACKAGES:
        known = ", ".join(repr(name) for name in PACKAGES)
        raise BadRowError(f"field 'scorer' has the package {package!r}; it must be {known}")
    if not isinstance(dataset, str) or not dataset.strip():
        raise BadRowError("field 'scorer' lacks 'dataset', the name of one of the package's sets")
    if not isinstance(entry, Mapping):
        raise BadRowError("field 'scorer' lacks 'entry', the object that the package made")
    if "answer" not in entry:
        raise BadRowError("field 'scorer' has an 'entry' without 'answer', which may be null")
    return Scorer(dataset=dataset, entry=_plain_text(entry), package=str(package))


def _object(value: object) -> Mapping[str, object]:
    """The object that the field holds, also where it is a text of JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=unique_names)
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"field 'scorer' is a string that is not JSON ({error})") from error
    if not isinstance(value, Mapping):
        raise BadRowError(f"field 'scorer' is {kind_of(value)}; it must be an object, as {EXAMPLE}")
    return value


def _plain_text(entry: Mapping[str, object]) -> str:
    """The entry as JSON, equal for equal entries."""
    try:
        text = json.dumps(dict(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRowError("'scorer' holds half a character (a lone surrogate)") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRowError(f"a value in 'scorer' is not JSON: {error}") from error
    return text


def scorer_row(scorer: Scorer) -> dict[str, Json]:
    """The object that `parse_scorer` reads back as the same scorer."""
    return {
        "package": scorer.package,
        "dataset": scorer.dataset,
        "entry": json.loads(scorer.entry),
    }
