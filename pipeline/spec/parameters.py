"""Declaring the parameters of a task, model or optimiser: pydantic fields, each marked static or vector.

Static parameters change a tensor shape or a code path and are shared by a pack; vector parameters are one number per
run. Nothing here needs torch, so a spec is validated on any machine.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """Frozen, strict base of everything that a spec declares: unknown keys, text for numbers and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)

    @classmethod
    def vector_fields(cls) -> tuple[str, ...]:
        """Names of the fields that may differ between the runs of one pack."""
        return _vector_fields(cls)

    @classmethod
    def static_fields(cls) -> tuple[str, ...]:
        """Names of the fields that all runs of a pack share."""
        return tuple(name for name in cls.model_fields if name not in cls.vector_fields())


class Registered(Parameters):
    """Parameters of a registered class; `name` identifies it in a spec."""

    name: ClassVar[str]

    @classmethod
    def own_classes(cls) -> tuple[type, ...]:
        """Classes of the user's own that it is made from, beside its bases."""
        return ()


def static(default: Any = ..., **constraints: Any) -> Any:
    """A field that fixes a shape or a code path."""
    return Field(default, json_schema_extra={"axis": "static"}, **constraints)


def vector(default: Any = ..., **constraints: Any) -> Any:
    """A field that is one number per run."""
    return Field(default, json_schema_extra={"axis": "vector"}, **constraints)


@cache
def _vector_fields(cls: type[Parameters]) -> tuple[str, ...]:
    return tuple(name for name, info in cls.model_fields.items() if _axis(info.json_schema_extra) == "vector")


def _axis(extra: Any) -> str:
    return extra.get("axis", "static") if isinstance(extra, dict) else "static"
