"""Two parents whose initial matrices are exchanged, and the overrides of a factorial between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ParentPair:
    """The init seeds of two parents, the first of which is the faster one where they were chosen by their times."""

    name: str
    first: int
    second: int

    def overrides(self, factors: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        """The factorial of these parents: each factor, some matrices, from the first one or from the second one."""
        entries = (
            ", ".join(f"streams.init/{matrix}: [{self.first}, {self.second}]" for matrix in matrices)
            for matrices in factors
        )
        return (f"name=landscape_{self.name}", f"vary=[{', '.join(f'{{{entry}}}' for entry in entries)}]")
