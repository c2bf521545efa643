"""Where a fork comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.spec.forks.weights import WEIGHTS


@dataclass(frozen=True)
class Lineage:
    """Origin of a fork: run `parent`, whose setting is `parent_setting`, at its `step`, with stated changes.

    `is_drawn`: whether its state at step 0, if it starts there, is what its seeds draw; not if weights were taken.
    """

    parent: str
    step: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    parent_setting: str = ""
    is_drawn: bool = True

    @property
    def taken(self) -> Mapping[str, str]:
        """Parameter -> the run that it was taken from; empty if all weights are the parent's."""
        sources: Mapping[str, str] = self.changes.get(WEIGHTS, {})
        return sources
