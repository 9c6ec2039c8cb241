"""Rows judged with programs that really run; tests/unit/test_judge.py has a scripted sandbox."""

from __future__ import annotations

from typing import Any

from srpo.config.verifier import VerifierConfig
from srpo.rewards import judge_rows

ONCE = {"kind": "stdio", "cases": [{"input": "1", "output": "2"}]}
CALL = {"kind": "call", "function": "add", "cases": [{"args": [1, 2], "output": 3}]}
CHECK = {"kind": "assert", "program": "assert add(1, 2) == 3", "entry_point": "add"}


def code(completion: str, tests: dict[str, Any]) -> dict[str, Any]:
    return {"domain": "code", "completion": completion, "tests": tests}


def test_programs_really_run() -> None:
    rows = {
        "added": (code("print(int(input()) + 1)", ONCE), "correct"),
        "always one": (code("print(1)", ONCE), "wrong"),
        "called": (code("def add(a, b): return a + b", CALL), "correct"),
        "asserted": (code("def add(a, b): return a + b", CHECK), "correct"),
        "asserted in vain": (code("def add(a, b): return 4", CHECK), "wrong"),
        "never ends": (code("while True: pass", ONCE), "timed_out"),
        "prose, called": (code("I cannot write that.", CALL), "no_answer"),
        "prose after a prompt": (
            code("I cannot write that.", CHECK | {"setup": "def add(a, b):\n"}),
            "no_answer",
        ),
        "prose": (code("I do not know.", ONCE), "no_answer"),
    }
    config = VerifierConfig.model_validate({"code_workers": 1})
    given = [{"id": name, **row} for name, (row, _) in rows.items()]
    found = {row["id"]: row["verdict"] for row in judge_rows(given, config)}
    assert found == {name: verdict for name, (_, verdict) in rows.items()}
