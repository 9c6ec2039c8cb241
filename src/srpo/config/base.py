"""What every section of the config is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticCustomError

MOST = 10**15  # of whatever is counted: products of such counts are still floats
Positive = Annotated[int, Field(ge=1, le=MOST)]
NotNegative = Annotated[int, Field(ge=0, le=MOST)]
# Of sampling. Below it a policy is as good as greedy, vLLM would raise it, and logits divided by
# it may be too large for a float.
LEAST_TEMPERATURE = 0.01


class Section(BaseModel):
    """Base of every section: immutable, and closed to unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_it_is_written(cls, value: object, read: ValidatorFunctionWrapHandler) -> object:
        """Refuse `true` and `"1"` for a number: `reward.format = true` would weigh it 1.0."""
        found = read(value)
        told_apart = isinstance(found, int | float) and isinstance(value, bool | str)
        if told_apart and type(found) is not type(value):
            kind = "bool_type" if isinstance(found, bool) else "float_type"
            raise PydanticCustomError(kind, "{kind}", {"kind": kind})
        return found
