"""Loops over a row that follow each other, as one: what one of them writes, the next ones read from a register."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loop:
    """Lines before, in and after the loops with these heads.

    `reads` are arrays and positions that the lines inside read; `written` the position of each array that they write;
    `results` the arrays that are written behind the loop.
    """

    heads: tuple[str, ...]
    inside: tuple[str, ...]
    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    reads: frozenset[tuple[str, str]] = frozenset()
    written: dict[str, str] = field(default_factory=dict)
    results: frozenset[str] = frozenset()

    def may_take(self, other: Loop) -> bool:
        """Whether the other loop may be part of this one: it reads of this one's arrays what is just written."""
        ours = self.written
        reads_here = all(name not in ours or ours[name] == position for name, position in other.reads)
        # What takes the place of what this one reads, number by number.
        replaces_here = all(other.written.get(name, position) == position for name, position in self.reads)
        reads_result = any(name in self.results for name, _ in other.reads)
        return bool(self.heads) and self.heads == other.heads and reads_here and replaces_here and not reads_result

    def with_other(self, other: Loop) -> Loop:
        """Both as one."""
        return Loop(
            self.heads,
            self.inside + other.inside,
            self.before + other.before,
            self.behind + other.behind,
            self.reads | other.reads,
            self.written | other.written,
            self.results | other.results,
        )

    def lines(self) -> list[str]:
        """The text."""
        inside = self.inside if len(self.inside) == 1 else ("{", *self.inside, "}")
        return ["{", *self.before, *self.heads, *inside, *self.behind, "}"]


def fused(loops: Iterable[Loop]) -> Sequence[Loop]:
    """The same computations in fewer loops, in the same order."""
    found: list[Loop] = []
    for loop in loops:
        if found and found[-1].may_take(loop):
            found[-1] = found[-1].with_other(loop)
        else:
            found.append(loop)
    return found
