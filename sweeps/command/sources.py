"""The results folders that a command reads, one or several joined: history, outcomes, and where they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.forecasting.control_share import stopping_weights
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.outcomes.subsets import joined, joined_outcomes
from pipeline.arrays import Floats
from pipeline.planning.packs import stored_spec
from pipeline.stopping.forecast import StopByForecast
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import Orders, newest_orders
from pipeline.store.sweep_store import SweepStore

# What a launch notes for those that continue it.
_NOT_SHOWN = ("code", "accepts_changed_code")


@dataclass(frozen=True)
class SweepData:
    """What results folders hold, read as one sweep.

    Runs are judged by their own sweep's evaluations. `copies_R` says how many runs each run stands for: 1, unless its
    sweep's rule stopped runs by their forecasts and spared a control share. `orders` are of the commits that it was
    read from, at least; `provenance` names every folder.
    """

    history: History
    outcomes: Outcomes
    copies_R: Floats
    provenance: Mapping[str, Any]
    orders: Orders


def read_source(stores: Sequence[SweepStore]) -> SweepData:
    """The commits so far. Raises StoreError if there are none, or the sweeps cannot be joined, saying which and why."""
    _require_same(stores)
    # Before the histories, so that a commit made while they are read counts as made since.
    orders = {pack_id: order for store in stores for pack_id, order in newest_orders(store).items()}
    histories = _named_apart([_history(store) for store in stores], stores)
    _require_apart(histories, stores)
    criterion = stored_spec(stores[0]).criterion
    try:
        each = [decide_outcomes(history, criterion) for history in histories]
    except ValueError as error:
        raise StoreError(str(error)) from error
    copies_R = np.concatenate([_copies_R(*one) for one in zip(stores, histories, each, strict=True)])
    return SweepData(joined(histories), joined_outcomes(each), copies_R, _provenance(histories, stores), orders)


def provenance_of(store: SweepStore) -> dict[str, Any]:
    """The sweep of an analysis, the commits of all its launches, and versions and hardware of the newest.

    `num_sources` is the number of different source texts that computed its runs, where there are several.
    """
    sweep, plan = store.sweep, store.plan
    newest = {name: value for name, value in sweep["launches"][-1].items() if name not in _NOT_SHOWN}
    commits = dict.fromkeys(launch["git_commit"] or "unknown" for launch in sweep["launches"])
    newest["git_commit"] = ", then ".join(commits)
    records = [record for pack_id in store.pack_ids() for record in store.pack(pack_id).records()[:1]]
    texts = {text for record in records for end in record.ends.values() for text in end.sources}
    several = {"num_sources": len(texts)} if len(texts) > 1 else {}
    numerics = plan["packs"][0]["numerics"]
    return {"sweep": plan["name"], "sweep_id": sweep["sweep_id"], **newest, **several, "numerics": numerics}


def _copies_R(store: SweepStore, history: History, outcomes: Outcomes) -> Floats:
    """(R,) how many runs each stands for; 1 where nothing stands for runs that were stopped, which is then said."""
    rule = stored_spec(store).stopping
    if isinstance(rule, StopByForecast):
        try:
            return stopping_weights(history, outcomes, rule)
        except ValueError:
            # Windows at which stopped runs were at risk are then refused, with a sentence.
            pass
    return np.ones(len(history.runs))


def _history(store: SweepStore) -> History:
    history = store.history()
    if not history.values:
        raise StoreError(f"{store.folder}: nothing is committed yet")
    return history


def _require_same(stores: Sequence[SweepStore]) -> None:
    """Raises StoreError where budgets or criteria differ, naming the folders."""
    budgets = {str(store.folder): f"{store.plan['budget']} steps" for store in stores}
    criteria = {str(store.folder): str(stored_spec(store).criterion) for store in stores}
    for what, values in (("budgets", budgets), ("criteria", criteria)):
        if len(set(values.values())) > 1:
            told = "; ".join(f"{folder}: {value}" for folder, value in values.items())
            raise StoreError(f"these sweeps have different {what}, so their outcomes mean different things: {told}")


def _named_apart(histories: Sequence[History], stores: Sequence[SweepStore]) -> list[History]:
    """Each history under its sweep's name, with its folder where two sweeps have the same."""
    uses = Counter(history.name for history in histories)
    return [
        history if uses[history.name] == 1 else replace(history, name=f"{history.name} ({store.folder})")
        for history, store in zip(histories, stores, strict=True)
    ]


def _require_apart(histories: Sequence[History], stores: Sequence[SweepStore]) -> None:
    """Raises StoreError where a run stands in two folders: counted twice, it would be in training and test sets."""
    first: dict[str, SweepStore] = {}
    for history, store in zip(histories, stores, strict=True):
        twice = [run.run_id for run in history.runs if run.run_id in first]
        if twice:
            raise StoreError(
                f"{len(twice)} of {len(history.runs)} runs of {store.folder} stand in {first[twice[0]].folder} as "
                f"well ({twice[0]}, say); leave one of the two folders out"
            )
        first |= {run.run_id: store for run in history.runs}


def _provenance(histories: Sequence[History], stores: Sequence[SweepStore]) -> dict[str, Any]:
    if len(stores) == 1:
        return provenance_of(stores[0])
    sources = {}
    for history, store in zip(histories, stores, strict=True):
        whole = provenance_of(store)
        kept = {name: whole[name] for name in ("sweep_id", "at", "git_commit")}
        sources[history.name] = {"folder": str(store.folder), "runs": len(history.runs), **kept}
    return {"sources": sources}
