"""The prompt ledger: what became of every problem, group by group, in one SQLite file.

One row a group, written before any filter; one row a decision that changes something; one
transaction a step, so a crash loses or repeats nothing. Anyone may read the file while the run
goes on. `Ledger.tallies` and `check_same_problems` let another run begin where this one is.
"""

from srpo.history.another_run import check_same_problems
from srpo.history.ledger import Ledger
from srpo.history.preview import Forecast, forecast
from srpo.history.rows import (
    Decided,
    DecisionRow,
    EpochSoFar,
    EpochSummary,
    GroupRow,
    ProblemRow,
    Resampling,
    SetSoFar,
    Totals,
    When,
)
from srpo.history.schema import SCHEMA_VERSION

__all__ = [
    "SCHEMA_VERSION",
    "Decided",
    "DecisionRow",
    "EpochSoFar",
    "EpochSummary",
    "Forecast",
    "GroupRow",
    "Ledger",
    "ProblemRow",
    "Resampling",
    "SetSoFar",
    "Totals",
    "When",
    "check_same_problems",
    "forecast",
]
