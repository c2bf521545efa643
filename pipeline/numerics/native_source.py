"""What a task, model, optimiser or schedule says about its C++ twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol


@dataclass(frozen=True)
class Native:
    """`header`, in pipeline/native, holds the twin; `constants` are what it is compiled for."""

    header: str
    constants: Mapping[str, int | float] = field(default_factory=dict)


class HasNative(Protocol):
    """What a registry holds, as `twin_of` asks it: `native()` names the C++ twin of this very class, or gives None."""

    name: ClassVar[str]

    def native(self) -> Native | None:
        """The twin of this very class for these parameters."""
        ...


def twin_of(part: HasNative) -> Native | None:
    """The C++ twin of a task, model, optimiser or schedule; None where it has none for these parameters.

    A twin is not inherited: a subclass may have changed the arithmetic, so `native` counts only where the object's own
    class defines it. One that changes nothing of the arithmetic says so by `return super().native()`.
    """
    return part.native() if "native" in vars(type(part)) else None
