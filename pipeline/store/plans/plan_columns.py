"""The runs of a plan as columns of text, for sweeps of many: a fourth of the bytes, and split when they are used.

A plan with columns has, in the place of its rows, `runs` as a mapping of columns in the order of the plan, and each
pack's `run_ids` as places in them. Readers see rows and ids: `with_rows` gives sequences that are made on first access.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, overload

from pipeline.store.pack_store import StoreError
from pipeline.store.records.packed import Ids, numbered_rows

# Plans of so many runs are read in about 0.05 s, and stay legible.
FEW_RUNS = 5_000
_KEYS = ("run_id", "setting_id", "init_seed", "data_seed")
_Item = TypeVar("_Item")


class _Lazy(Sequence[_Item]):
    """A sequence whose length is known and whose items are made on first access."""

    def __init__(self, length: int) -> None:
        self._length = length

    @cached_property
    def items(self) -> list[_Item]:
        """All items, in order."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> _Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[_Item]: ...
    def __getitem__(self, place: int | slice) -> _Item | list[_Item]:
        return self.items[place]

    def __iter__(self) -> Iterator[_Item]:
        return iter(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]


class PlanRuns(_Lazy[dict[str, Any]]):
    """The rows of a plan's runs, in its order, from columns. Raises StoreError where these are not what we write."""

    def __init__(self, columns: Mapping[str, str], settings: Sequence[str], packs: Sequence[str]) -> None:
        self.columns, self._settings, self._packs = columns, settings, packs
        self._ids = Ids(columns["run_ids"])
        super().__init__(len(self._ids))

    @cached_property
    def run_ids(self) -> list[str]:
        """The ids, in the order of the plan."""
        if self._ids.misfit() is not None or len({*self._ids.words}) < len(self):
            raise _refused("run_ids", "ids of their own")
        return self._ids.words

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """The rows, with run_id, setting_id, init_seed and data_seed each."""
        settings = [self._settings[number] for number in self._numbers("settings", len(self._settings))]
        init_seeds = self._numbers("init_seeds")
        data_seeds = self._numbers("data_seeds") if self.columns["data_seeds"] else init_seeds
        return [
            {"run_id": run_id, "setting_id": setting, "init_seed": init_seed, "data_seed": data_seed}
            for run_id, setting, init_seed, data_seed in zip(
                self.run_ids, settings, init_seeds, data_seeds, strict=True
            )
        ]

    @cached_property
    def in_packs(self) -> list[list[str]]:
        """The ids of each pack's runs."""
        places, run_ids = [_whole_numbers(text) for text in self._packs], self.run_ids
        if sorted(place for of_pack in places for place in of_pack) != [*range(len(self))]:
            raise _refused("packs", "lists of every run once")
        return [[run_ids[place] for place in of_pack] for of_pack in places]

    def _numbers(self, name: str, below: int = 2**63) -> list[int]:
        """A column of whole numbers; one alone is that of all runs."""
        found = _whole_numbers(self.columns[name])
        found = found * len(self) if len(found) == 1 else found
        if len(found) != len(self) or max(found) >= below:
            raise _refused(name, f"{len(self)} whole numbers below {below}")
        return found


class RunColumns(_Lazy[dict[str, Any]]):
    """The rows of runs as columns of equal length, from which rows are made when they are used."""

    def __init__(
        self,
        run_ids: Sequence[str],
        setting_ids: Sequence[str],
        init_seeds: Sequence[int],
        data_seeds: Sequence[int],
    ) -> None:
        super().__init__(len(run_ids))
        self.run_ids, self.setting_ids, self.init_seeds, self.data_seeds = run_ids, setting_ids, init_seeds, data_seeds

    @staticmethod
    def of(rows: Sequence[dict[str, Any]]) -> RunColumns | None:
        """The columns of rows; None where these are of forks, which have further fields, or there are none."""
        if isinstance(rows, RunColumns):
            return rows
        if not rows or {*map(len, rows)} != {len(_KEYS)} or rows[0].keys() != {*_KEYS}:
            return None
        return RunColumns(*([row[name] for row in rows] for name in _KEYS))

    def at(self, places: Sequence[int]) -> RunColumns:
        """Those of the runs at these places."""
        return RunColumns(
            [self.run_ids[place] for place in places],
            [self.setting_ids[place] for place in places],
            [self.init_seeds[place] for place in places],
            [self.data_seeds[place] for place in places],
        )

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """The rows."""
        columns = zip(self.run_ids, self.setting_ids, self.init_seeds, self.data_seeds, strict=True)
        return [dict(zip(_KEYS, row, strict=True)) for row in columns]


class _PackRuns(_Lazy[str]):
    def __init__(self, runs: PlanRuns, number: int, length: int) -> None:
        super().__init__(length)
        self._runs, self._number = runs, number

    @cached_property
    def items(self) -> list[str]:
        return self._runs.in_packs[self._number]


def with_columns(plan: Mapping[str, Any], of_few: bool = False) -> Mapping[str, Any]:
    """A plan document as it is stored: by columns where it is of many runs (`of_few`: in any case) and has no forks."""
    found = RunColumns.of(plan["runs"]) if of_few or len(plan["runs"]) > FEW_RUNS else None
    if found is None:
        return plan
    # A document has them in order of name when it is read.
    number_of = {setting: str(number) for number, setting in enumerate(sorted(plan["settings"]))}
    kinds, kind_of = numbered_rows(found.setting_ids)
    numbers = [number_of[kind] for kind in kinds]
    settings = numbers if isinstance(kind_of, int) else [numbers[kind] for kind in kind_of]
    run_ids = found.run_ids
    columns = {
        "run_ids": " ".join(run_ids),
        "settings": " ".join(settings),
        "init_seeds": " ".join(map(str, found.init_seeds)),
        "data_seeds": "" if found.data_seeds == found.init_seeds else " ".join(map(str, found.data_seeds)),
    }
    places = [*map(str, range(len(run_ids)))]
    if len(plan["packs"]) == 1 and plan["packs"][0]["run_ids"] == run_ids:
        return {**plan, "runs": columns, "packs": [{**plan["packs"][0], "run_ids": " ".join(places)}]}
    place_of = dict(zip(run_ids, places, strict=True))
    packs = [{**pack, "run_ids": " ".join([place_of[run_id] for run_id in pack["run_ids"]])} for pack in plan["packs"]]
    return {**plan, "runs": columns, "packs": packs}


def with_rows(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `with_columns`, of a document that `shapes.plan_misfit` has found in order."""
    if not isinstance(plan["runs"], Mapping):
        return dict(plan)
    runs = PlanRuns(plan["runs"], sorted(plan["settings"]), [pack["run_ids"] for pack in plan["packs"]])
    packs = [
        {**pack, "run_ids": _PackRuns(runs, number, pack["run_ids"].count(" ") + 1)}
        for number, pack in enumerate(plan["packs"])
    ]
    return {**plan, "runs": runs, "packs": packs}


def _whole_numbers(text: str) -> list[int]:
    """Numbers with a space between each two; none where the text is anything else."""
    if text.encode(errors="surrogatepass").translate(None, b"0123456789 "):
        return []
    try:
        return [*map(int, text.split(" "))]
    except ValueError:
        return []


def _refused(name: str, needed: str) -> StoreError:
    return StoreError(f"the plan of this sweep is not what seedbed writes: {name} must be {needed}")
