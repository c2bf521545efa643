"""The newest forecast of a sweep's runs in training: a side file that can be read without analysing anything.

`forecast.json` in the results folder, sealed. No record names it, nothing is computed from it, and deleting it is safe.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.store.budgets import budgets_json
from pipeline.store.files import CorruptFileError, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.records.record import Record
from pipeline.store.shapes import FORECAST_DOCUMENT, FORECAST_WITH, FORECAST_WITHOUT, misfit
from pipeline.store.sweep_store import SweepStore

FORECAST_FILE = "forecast.json"
_FORMAT = 1
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

# (attempt, sequence) of the newest record of each pack that has one.
Orders = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class RunProbability:
    """What the newest forecast says of one run: probabilities by the budget, and steps of convergence.

    `step` is where the run stood, `window` the share of the budget that the forecast is from. `median`, `low` and
    `high` (90%) are None where they lie beyond the budget. `num_learned` counts the finished runs that it was learned
    from, at least.
    """

    run_id: str
    step: int
    window: float
    converged: float
    diverged: float
    median: float | None
    low: float | None
    high: float | None
    num_learned: int


@dataclass(frozen=True)
class StoredForecast:
    """Forecasts of the runs that were in training when they were made, and the commits that they were made from.

    `made_at` is UTC, for display; whether a forecast is older than another is decided by `orders` alone. `num_runs`
    counts the sweep, `num_in_training` the runs without an outcome. `forecasts` is the whole document of plain values:
    one row in `runs` for each run in training, with numbers or with the reason why there are none.
    """

    made_at: str
    orders: Orders
    num_runs: int
    num_in_training: int
    forecasts: Mapping[str, Any]

    def probabilities(self, run_ids: Iterable[str] | None = None) -> dict[str, RunProbability]:
        """run_id -> forecast, of those (`run_ids`: among these) that have one."""
        wanted = None if run_ids is None else set(run_ids)
        sizes = fewest_learned((source["fraction"], source["num_finished"]) for source in self.forecasts["windows"])
        return {
            row["run_id"]: _probability(row, sizes[row["window"]])
            for row in self.forecasts["runs"]
            if row["converged"] is not None and (wanted is None or row["run_id"] in wanted)
        }

    def problems(self, run_ids: Iterable[str]) -> dict[str, int]:
        """Why runs among `run_ids` have no forecast -> how many of them, the most frequent reason first."""
        wanted, counts = set(run_ids), dict[str, int]()
        for row in self.forecasts["runs"]:
            if row["converged"] is None and row["run_id"] in wanted:
                counts[row["problem"]] = counts.get(row["problem"], 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def commits_since(self, orders: Orders) -> int:
        """Commits of all packs between those that the forecast was made from and `orders`."""
        return sum(max(sequence - self.orders.get(pack, (0, 0))[1], 0) for pack, (_, sequence) in orders.items())

    def age_s(self, now_s: float | None = None) -> float:
        """Seconds since it was made, by this computer's clock; not below 0."""
        now_s = time.time() if now_s is None else now_s
        return max(now_s - timegm(time.strptime(self.made_at, _TIME_FORMAT)), 0.0)


def orders_of(records: Mapping[str, Record]) -> dict[str, tuple[int, int]]:
    """The (attempt, sequence) of each record, by pack."""
    return {pack_id: record.order for pack_id, record in records.items()}


def newest_orders(store: SweepStore) -> dict[str, tuple[int, int]]:
    """The (attempt, sequence) of each pack's newest record; the files that the records name are not checked."""
    found = {pack_id: store.pack(pack_id).records() for pack_id in store.pack_ids()}
    return {pack_id: records[0].order for pack_id, records in found.items() if records}


def write_forecast(store: SweepStore, orders: Orders, num_runs: int, forecasts: Mapping[str, Any]) -> bool:
    """Keep `forecasts`, made from the commits `orders`, atomically, unless newer ones are kept; whether it did.

    `forecasts` are plain values with `budget`, as `budgets_json` gives it, and `runs`. Raises OSError where the folder
    cannot be written.
    """
    kept = read_forecast(store)
    if kept is not None and kept.orders != orders and not _is_ahead(orders, kept.orders):
        return False
    made_at = time.strftime(_TIME_FORMAT, time.gmtime())
    found = StoredForecast(made_at, orders, num_runs, len(forecasts["runs"]), forecasts)
    write_file(store.folder / FORECAST_FILE, seal({"format": _FORMAT, **vars(found)}))
    return True


def read_forecast(store: SweepStore) -> StoredForecast | None:
    """The newest forecast; None if there is none, or it is damaged, of another format, or for another budget."""
    path = store.folder / FORECAST_FILE
    try:
        body = unseal(read_file(path), path)
    except CorruptFileError:
        # Nothing rests on it, and the next forecast replaces it.
        return None
    if body.get("format") != _FORMAT or not _is_forecast(body):
        return None
    if body["forecasts"]["budget"] != budgets_json(store.plan):
        return None
    del body["format"]
    orders = {pack_id: (attempt, sequence) for pack_id, (attempt, sequence) in body["orders"].items()}
    return StoredForecast(**{**body, "orders": orders})


def _is_forecast(body: Mapping[str, Any]) -> bool:
    """Whether a document is one of `write_forecast`: every field, a time that exists, and rows of its own windows."""
    if misfit(body, FORECAST_DOCUMENT) is not None:
        return False
    try:
        timegm(time.strptime(body["made_at"], _TIME_FORMAT))
    except ValueError:
        return False
    windows = {source["fraction"] for source in body["forecasts"]["windows"]}
    return all(
        misfit(row, FORECAST_WITHOUT) is None
        if row["converged"] is None
        else misfit(row, FORECAST_WITH) is None and row["window"] in windows
        for row in body["forecasts"]["runs"]
    )


def _is_ahead(orders: Orders, others: Orders) -> bool:
    return any(order > others.get(pack_id, (0, 0)) for pack_id, order in orders.items())


def fewest_learned(sources: Iterable[tuple[float, int]]) -> dict[float, int]:
    """window -> the fewest finished runs that a forecast from it was learned from, of (window, number) pairs."""
    found: dict[float, int] = {}
    for fraction, number in sources:
        found[fraction] = min(number, found.get(fraction, number))
    return found


def _probability(row: Mapping[str, Any], num_learned: int) -> RunProbability:
    low, median, high = (
        row[name] if isinstance(row[name], (int, float)) else None for name in ("low", "median", "high")
    )
    return RunProbability(
        row["run_id"], row["step"], row["window"], row["converged"], row["diverged"], median, low, high, num_learned
    )
