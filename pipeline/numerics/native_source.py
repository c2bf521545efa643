"""Declaration of the C++ form of a task, model, optimiser or schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol


@dataclass(frozen=True)
class Native:
    """`header`, in pipeline/native, holds the C++ form; `constants` are what it is compiled for."""

    header: str
    constants: Mapping[str, int | float] = field(default_factory=dict)


class HasNative(Protocol):
    """Protocol of registered objects with `native()`, the C++ form of exactly this class, or None."""

    name: ClassVar[str]

    def native(self) -> Native | None:
        """The C++ form of exactly this class for these parameters, or None."""
        ...


def native_of(part: HasNative) -> Native | None:
    """The C++ form of a task, model, optimiser or schedule; None where it has none for these parameters.

    It is not inherited: a subclass may have changed the arithmetic, so `native` counts only where the object's own
    class defines it. One that changes nothing of the arithmetic says so by `return super().native()`.
    """
    return part.native() if "native" in vars(type(part)) else None
