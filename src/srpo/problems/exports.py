"""Problems as rows for other trainers: verl's `data.train_files`, and a dataset for TRL. No torch.

docs/ledger.md has the columns. No value is null and every text stays a text, so that `datasets`
sees one type a column, whichever problems come first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from srpo.errors import ProblemFileError
from srpo.problems import is_parquet, write_problems
from srpo.problems.case_rows import cases_row
from srpo.problems.scorer_rows import scorer_row
from srpo.rewards.code.output import DEFAULT_CHECKER
from srpo.types import CodeCase, FunctionCase, Json, Problem, StdioCase

Format = Literal["srpo", "verl", "trl"]
# verl picks its own grader by `data_source`: boxed answers as text, programs by input and output
VERL_MATH, VERL_CODE = "lighteval/MATH", "taco"
VERL_SCORED = "srpo/scored"  # another package scores it: verl needs a reward function
VERL_UNKNOWN = "srpo/code"  # tests that no grader of verl runs: it needs a reward function


def export_problems(
    path: Path, problems: Sequence[Problem], questions: Mapping[str, str], form: Format
) -> None:
    """Write a new file of problems; its suffix decides between JSONL and Parquet.

    `questions`: problem id -> what the user says, instruction included (not used by "srpo").
    Raises `ProblemFileError` if the file exists, or cannot be written.
    """
    parquet = is_parquet(path)
    if path.exists():
        raise ProblemFileError(f"{path}: already exists; name a new file")
    if not path.parent.is_dir():
        raise ProblemFileError(f"{path.parent}: there is no such folder")
    if form == "srpo":
        write_problems(path, problems)
        return
    rows: Iterable[dict[str, Json]]
    if form == "verl":
        rows = (verl_row(i, p, questions[p.id]) for i, p in enumerate(problems))
    else:
        rows = (trl_row(p, questions[p.id]) for p in problems)
    try:
        if parquet:
            _write_parquet(path, list(rows))
        else:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise ProblemFileError(f"{path} cannot be written: {error.strerror or error}") from error


def verl_row(index: int, problem: Problem, question: str) -> dict[str, Json]:
    """The row of a problem in verl's format. `index`: its number in the file, from 0.

    >>> p = Problem(id="5f3a", domain="math", statement="2 + 2?", answer="4", source="sums")
    >>> verl_row(0, p, "2 + 2?")["reward_model"]
    {'style': 'rule', 'ground_truth': '4'}
    """
    source, truth = verl_grading(problem)
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": question}],
        "ability": problem.domain,
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {
            "split": "train",
            "index": index,
            "problem": problem.id,
            "source": problem.source,
        },
    }


def trl_row(problem: Problem, question: str) -> dict[str, Json]:
    """The row of a problem for TRL's `GRPOTrainer`: a conversation, and what a reward needs.

    >>> p = Problem(id="5f3a", domain="math", statement="2 + 2?", answer="4")
    >>> trl_row(p, "2 + 2?")["answer"], trl_row(p, "2 + 2?")["tests"]
    ('4', '')
    """
    return {
        "prompt": [{"role": "user", "content": question}],
        "answer": problem.answer or "",
        "tests": json.dumps(cases_row(problem.tests)) if problem.tests else "",
        "domain": problem.domain,
        "problem": problem.id,
        "source": problem.source,
    }


def verl_grading(problem: Problem) -> tuple[str, str]:
    """(data_source, ground_truth): which grader of verl checks an answer, and against what.

    Programs are given as {"inputs", "outputs"}, with "fn_name" where a function is called: then
    an input has one argument a line, each as JSON. Other tests, as asserts, are given as our own
    rows, under a name for which verl wants a reward function.
    """
    if problem.scorer is not None:
        return VERL_SCORED, json.dumps(scorer_row(problem.scorer))
    if problem.answer is not None:
        return VERL_MATH, problem.answer
    truth = _inputs_and_outputs(problem.tests)
    if truth is None:
        return VERL_UNKNOWN, json.dumps(cases_row(problem.tests))
    return VERL_CODE, json.dumps(truth)


def _inputs_and_outputs(cases: Sequence[CodeCase]) -> dict[str, Json] | None:
    stdio = [c for c in cases if isinstance(c, StdioCase) and c.checker == DEFAULT_CHECKER]
    if len(stdio) == len(cases):
        return {"inputs": [c.stdin for c in stdio], "outputs": [c.stdout for c in stdio]}
    calls = [c for c in cases if isinstance(c, FunctionCase)]
    if len(calls) == len(cases) and len({c.function for c in calls}) == 1:
        return {
            "fn_name": calls[0].function,
            "inputs": ["\n".join(json.dumps(value) for value in c.args) for c in calls],
            "outputs": [json.dumps(c.expected) for c in calls],
        }
    return None


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("wb") as file:
        pq.write_table(pa.Table.from_pylist(list(rows)), file)
