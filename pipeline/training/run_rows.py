"""What the runs of a pack have recorded: the rows of one run so far, and the new rows of all as columns over runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.arrays import Array, Bools, Floats, Ints
from pipeline.store.formats.columns import numbers, texts

_Names = tuple[str, ...]
_Column = tuple[list[int], list[float]]
_Part = tuple[int, Sequence[str], Sequence[float] | Floats]


class RunRows:
    """Rows of one run, in order of step. A metric that a row lacks is NaN there."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        # What was put into the rows, in order: row, names, values. Most columns are never asked for before the end.
        self._parts: list[_Part] = []
        # The rows that hold a metric, and its values there, for the metrics that were asked for.
        self._columns: dict[str, _Column] = {}

    def add(self, step: int, names: Sequence[str], values: Sequence[float] | Floats) -> None:
        """Append a row. Raises AssertionError unless `step` is after those before it."""
        assert not self.steps or step > self.steps[-1], f"step {step} recorded after step {self.steps[-1]}"
        self._put((len(self.steps), names, values))
        self.steps.append(step)

    def column(self, name: str) -> Floats:
        """(T,); all NaN for a metric that was never recorded."""
        column_T = np.full(len(self.steps), np.nan)
        rows, values = self._column(name)
        column_T[rows] = values
        return column_T

    def recent(self, name: str, count: int) -> list[float]:
        """The newest values of a metric, `count` at most."""
        return self._column(name)[1][-count:]

    def amend(self, step: int, metrics: Mapping[str, float]) -> None:
        """Put further metrics into the row at `step`."""
        self._put((self.steps.index(step), [*metrics], [*metrics.values()]))

    def truncate(self, step: int) -> None:
        """Remove the rows after `step`."""
        self.steps = [known for known in self.steps if known <= step]
        self._parts = [part for part in self._parts if part[0] < len(self.steps)]
        self._columns = {}

    def drop(self, prefixes: tuple[str, ...]) -> None:
        """Remove the columns whose names begin so."""
        for place, (row, names, values) in enumerate(self._parts):
            kept = [(name, value) for name, value in zip(names, values, strict=True) if not name.startswith(prefixes)]
            self._parts[place] = row, [name for name, _ in kept], [value for _, value in kept]
        self._columns = {}

    def columns(self) -> Mapping[str, Floats]:
        """All columns of the rows so far, each built on access."""
        return _Columns(self, len(self.steps), len(self._parts))

    def names(self, num_parts: int) -> dict[str, None]:
        """The metrics in the first parts that were put in, in order."""
        return dict.fromkeys(name for _, names, _ in self._parts[:num_parts] for name in names)

    def _column(self, name: str) -> _Column:
        if name not in self._columns:
            self._columns[name] = [], []
            for part in self._parts:
                self._take(name, part)
        return self._columns[name]

    def _put(self, part: _Part) -> None:
        self._parts.append(part)
        for name in self._columns:
            self._take(name, part)

    def _take(self, name: str, part: _Part) -> None:
        row, names, values = part
        if name in names:
            rows, found = self._columns[name]
            rows.append(row)
            found.append(float(values[names.index(name)]))


class _Columns(Mapping[str, Floats]):
    def __init__(self, rows: RunRows, length: int, num_parts: int) -> None:
        self._rows, self._length, self._num_parts = rows, length, num_parts
        self._found: dict[str, None] | None = None

    @property
    def _names(self) -> dict[str, None]:
        if self._found is None:
            self._found = self._rows.names(self._num_parts)
        return self._found

    def __getitem__(self, name: str) -> Floats:
        if name not in self._names:
            raise KeyError(name)
        return self._rows.column(name)[: self._length]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class RowsByRun(Mapping[str, RunRows]):
    """run_id -> its rows, which are sorted by run when they are first asked for: of most runs they never are.

    `last_steps[run_id]` is the step of the newest row of a run that has any.
    """

    def __init__(self, rows: Mapping[str, RunRows]) -> None:
        self._rows = dict(rows)
        self._unsorted: list[tuple[Sequence[str], Sequence[int], _Names, Floats]] = []
        self.last_steps = {run_id: found.steps[-1] for run_id, found in rows.items() if found.steps}

    def add(self, run_ids: Sequence[str], steps: Sequence[int], names: _Names, values_NM: Floats) -> None:
        """Append a row for each run. Raises AssertionError unless its step is after those before it."""
        for run_id, step in zip(run_ids, steps, strict=True):
            last = self.last_steps.get(run_id, -1)
            assert step > last, f"run {run_id}: step {step} recorded after step {last}"
        self.last_steps.update(zip(run_ids, steps, strict=True))
        self._unsorted.append((run_ids, steps, names, values_NM))

    def truncate(self, run_id: str, step: int) -> None:
        """Remove the rows of a run after `step`."""
        if run_id in self:
            own = self[run_id]
            own.truncate(step)
            self.last_steps.pop(run_id, None)
            if own.steps:
                self.last_steps[run_id] = own.steps[-1]

    def remove(self, run_ids: Collection[str]) -> None:
        """Remove all rows of these runs."""
        self._rows = {run_id: rows for run_id, rows in self._rows.items() if run_id not in run_ids}
        self.last_steps = {run_id: step for run_id, step in self.last_steps.items() if run_id not in run_ids}
        parts, self._unsorted = self._unsorted, []
        for own, steps, names, values_NM in parts:
            if kept := [place for place, run_id in enumerate(own) if run_id not in run_ids]:
                rows = [own[place] for place in kept], [steps[place] for place in kept], names, values_NM[kept]
                self._unsorted.append(rows)

    def __getitem__(self, run_id: str) -> RunRows:
        parts, self._unsorted = self._unsorted, []
        for run_ids, steps, names, values_NM in parts:
            for own, step, values_M in zip(run_ids, steps, values_NM, strict=True):
                if own not in self._rows:
                    self._rows[own] = RunRows()
                self._rows[own].add(step, names, values_M)
        return self._rows[run_id]

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._rows or run_id in self.last_steps

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._rows, *self.last_steps)))

    def __len__(self) -> int:
        return len(self._rows.keys() | self.last_steps.keys())


@dataclass(frozen=True)
class Measured:
    """M metrics of N slots, in ascending order."""

    names: tuple[str, ...]
    slots_N: Ints
    values_NM: Floats

    def of(self, slots_N: Ints) -> Floats:
        """The rows of some of these slots."""
        return self.values_NM[np.searchsorted(self.slots_N, slots_N)]

    def among(self, num_slots: int) -> Bools:
        """(S,) whether a slot is one of these."""
        among_S = np.zeros(num_slots, bool)
        among_S[self.slots_N] = True
        return among_S


class NewRows:
    """Rows of runs and steps, in the order in which they were added; none occurs twice."""

    def __init__(self) -> None:
        self._row_of: dict[tuple[str, int], int] = {}
        # Of every row that was ever added, the number of its kind: rows of a kind have the same groups of metrics.
        self._kind_of: list[int] = []
        self._kinds: dict[tuple[_Names, ...], int] = {}
        # Rows, the names of their metrics, and the values (N, M).
        self._parts: list[tuple[Sequence[int], _Names, Floats]] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def add(self, run_ids: Sequence[str], steps: Sequence[int], names: _Names, values_NM: Floats) -> None:
        """Append a row for each run, at its step."""
        first = len(self._kind_of)
        rows = range(first, first + len(run_ids))
        self._row_of.update(zip(zip(run_ids, steps, strict=True), rows, strict=True))
        self._kind_of += [self._kind((names,))] * len(run_ids)
        self._parts.append((rows, names, values_NM))

    def amend(self, run_ids: Sequence[str], steps: Sequence[int], names: _Names, values_NM: Floats) -> None:
        """Put further metrics into the row of each run at its step. Raises KeyError where there is none."""
        rows = [self._row_of[key] for key in zip(run_ids, steps, strict=True)]
        kinds = [*self._kinds]
        amended = {kind: self._kind((*kinds[kind], names)) for kind in {self._kind_of[row] for row in rows}}
        for row in rows:
            self._kind_of[row] = amended[self._kind_of[row]]
        self._parts.append((rows, names, values_NM))

    def forget(self, run_id: str, step: int) -> None:
        """Remove the rows of a run after `step`."""
        self._row_of = {key: row for key, row in self._row_of.items() if key[0] != run_id or key[1] <= step}

    def _kind(self, groups: tuple[_Names, ...]) -> int:
        return self._kinds.setdefault(groups, len(self._kinds))

    def table(self) -> pa.Table:
        """Columns `run_id`, `step` and one for each metric, null where it was not measured; NaN is a value."""
        kept = [*self._row_of.values()]
        place_of = np.full(len(self._kind_of), -1)
        place_of[kept] = np.arange(len(kept))
        kinds = [*self._kinds]
        found = dict.fromkeys(self._kind_of[row] for row in kept)
        names = dict.fromkeys(name for kind in found for part in kinds[kind] for name in part)
        values = {name: np.zeros(len(kept)) for name in names}
        is_absent = {name: np.ones(len(kept), bool) for name in names}
        for rows, part, values_NM in self._parts:
            places = place_of[np.asarray(rows)]
            is_kept = places >= 0
            for name, column in zip(part, values_NM.T, strict=True):
                if name in names:
                    values[name][places[is_kept]], is_absent[name][places[is_kept]] = column[is_kept], False
        columns: dict[str, Array | pa.Array] = {
            "run_id": texts([run_id for run_id, _ in self._row_of]).dictionary_encode(),
            "step": numbers(np.array([step for _, step in self._row_of], np.int64)),
        }
        return pa.table(columns | {name: numbers(values[name], is_absent[name]) for name in names})
