"""The rows that one run has recorded so far, by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.arrays import Floats


class RunRows:
    """Rows of one run, in order of step. A metric that a row lacks is NaN there."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        # The rows that hold a metric, and its values there: most metrics are in few rows.
        self._columns: dict[str, tuple[list[int], list[float]]] = {}

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a row; `step` follows those before it."""
        self.steps.append(step)
        self._put(len(self.steps) - 1, metrics)

    def column(self, name: str) -> Floats:
        """(T,); all NaN for a metric that was never recorded."""
        column_T = np.full(len(self.steps), np.nan)
        rows, values = self._columns.get(name, ([], []))
        column_T[rows] = values
        return column_T

    def amend(self, step: int, metrics: Mapping[str, float]) -> None:
        """Put further metrics into the row at `step`."""
        self._put(self.steps.index(step), metrics)

    def truncate(self, step: int) -> None:
        """Remove the rows after `step`."""
        self.steps = [known for known in self.steps if known <= step]
        for name, (rows, values) in self._columns.items():
            kept = [place for place, row in enumerate(rows) if row < len(self.steps)]
            self._columns[name] = [rows[place] for place in kept], [values[place] for place in kept]

    def _put(self, row: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            rows, values = self._columns.setdefault(name, ([], []))
            rows.append(row)
            values.append(value)

    def drop(self, prefixes: tuple[str, ...]) -> None:
        """Remove the columns whose names begin so."""
        self._columns = {name: column for name, column in self._columns.items() if not name.startswith(prefixes)}

    def columns(self) -> Mapping[str, Floats]:
        """All columns of the rows so far, each built on access."""
        return _Columns(self, len(self.steps), tuple(self._columns))


class _Columns(Mapping[str, Floats]):
    def __init__(self, rows: RunRows, length: int, names: tuple[str, ...]) -> None:
        self._rows, self._length, self._names = rows, length, names

    def __getitem__(self, name: str) -> Floats:
        if name not in self._names:
            raise KeyError(name)
        return self._rows.column(name)[: self._length]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
