"""Rows of HumanEval, MBPP and LiveCodeBench -> rows as docs/problems.md has them. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srpo.problems.livecodebench import FIELDS as LIVECODEBENCH_FIELDS

_LEVELS = {"easy": 1, "medium": 2, "hard": 3}


def native_row(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row itself, or what it says in our own fields if it is one of the three benchmarks'.

    A row with `domain` or `tests` is taken as it stands.

    >>> row = {"prompt": "def one():", "entry_point": "one", "test": "assert one() == 1"}
    >>> native_row(row)["tests"]["entry_point"]
    'one'
    """
    if "domain" in fields or "tests" in fields:
        return fields
    if {"prompt", "test", "entry_point"} <= fields.keys():
        return _humaneval(fields)
    if "test_list" in fields and ("text" in fields or "prompt" in fields):
        return _mbpp(fields)
    if "question_content" in fields and fields.keys() & set(LIVECODEBENCH_FIELDS[:2]):
        return _livecodebench(fields)
    return fields


def _humaneval(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "domain": "code",
        "statement": fields["prompt"],
        "tests": {
            "kind": "assert",
            "setup": fields["prompt"],
            "program": fields["test"],
            "entry_point": fields["entry_point"],
        },
        "id": fields.get("task_id"),
        "source": "HumanEval",
    }


def _mbpp(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The first assert is shown, as it names the function and the form of its arguments."""
    asserts = fields["test_list"]
    text = fields.get("text", fields.get("prompt"))
    shown = asserts[0] if isinstance(asserts, list) and asserts else ""
    setup = fields.get("test_setup_code") or ""
    imports = fields.get("test_imports")
    if isinstance(imports, list):  # the sanitized set has these instead
        setup = "\n".join([*map(str, imports), str(setup)])
    return {
        "domain": "code",
        "statement": f"{text}\n\nYour program must pass this test:\n\n{shown}" if text else text,
        "tests": {"kind": "assert", "setup": setup, "program": asserts},
        "id": fields.get("task_id"),
        "source": "MBPP",
    }


def _livecodebench(fields: Mapping[str, Any]) -> dict[str, Any]:
    starter = fields.get("starter_code")
    task = (
        f"Start from this code:\n\n```python\n{starter}\n```"
        if isinstance(starter, str) and starter.strip()
        else "Read from standard input and write to standard output."
    )
    tests = {"kind": "livecodebench"} | {name: fields.get(name) for name in LIVECODEBENCH_FIELDS}
    return {
        "domain": "code",
        "statement": f"{fields['question_content']}\n\n{task}",
        "tests": tests,
        "id": fields.get("question_id"),
        "source": "LiveCodeBench",
        "level": _LEVELS.get(str(fields.get("difficulty")).lower()),
    }
