"""What a task or model says about its C++ twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Native:
    """`header`, in pipeline/native, holds the C++ of a task or model; `constants` are what it is compiled for."""

    header: str
    constants: Mapping[str, int | float] = field(default_factory=dict)
