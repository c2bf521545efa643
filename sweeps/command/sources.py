"""The results folders that a command reads, one or several joined: history, outcomes, and where they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console

from analysis.forecasting.control_share import stopping_weights
from analysis.outcomes.equal_runs import distinct_runs
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.outcomes.subsets import joined, joined_outcomes
from analysis.summary.text import provenance_notes
from pipeline.arrays import Floats
from pipeline.planning.packs import stored_spec
from pipeline.spec.criteria.judged_by import JudgedBy, judged_by
from pipeline.spec.criterion import Criterion
from pipeline.stopping.forecast import StopByForecast
from pipeline.store.budgets import budgets_text, part_of
from pipeline.store.computed_by import runs_by_numerics
from pipeline.store.damage import unreadable
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.stored_forecast import Orders, newest_orders
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, INCOMPLETE

# What a launch notes for those that continue it.
_NOT_SHOWN = ("code", "accepts_changed_code")


@dataclass(frozen=True)
class SweepData:
    """What results folders hold, read as one sweep.

    Runs are judged by their own sweep's evaluations. `copies_R` says how many runs each run stands for: 1, unless its
    sweep's rule stopped runs by their forecasts and spared a control share. `orders` are of the commits that it was
    read from, at least; `provenance` names every folder. `is_begun`: some run has recorded something. Of runs that are
    one and the same, in one folder or several, one is there; `notes` says so, and what else to know of the runs.
    """

    history: History
    outcomes: Outcomes
    copies_R: Floats
    provenance: Mapping[str, Any]
    orders: Orders
    is_begun: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the runs are."""
        return provenance_notes(self.provenance)


def readable_among(stores: Sequence[SweepStore], err: Console) -> tuple[list[SweepStore], int]:
    """Those of several sweeps that can be read whole, and an exit code: INCOMPLETE where some are left out, by name.

    A single one (or none) is taken as it is, so that its command refuses it. Raises StoreError where none can be read,
    and for a folder that never was of a sweep, which is a mistake rather than damage.
    """
    if len(stores) < 2:
        return list(stores), COMPLETE
    for store in stores:
        if not store.exists() and not (store.folder / "packs").is_dir():
            _ = store.sweep
    problems = {store.folder: unreadable(store) for store in stores}
    good = [store for store in stores if problems[store.folder] is None]
    if not good:
        raise StoreError("; ".join(dict.fromkeys(str(problem) for problem in problems.values())))
    for folder, problem in problems.items():
        if problem is not None:
            err.print(f"left out: {folder}, which cannot be read: {problem}", style="red", markup=False)
    return good, COMPLETE if len(good) == len(stores) else INCOMPLETE


def budgets_in(stores: Sequence[SweepStore], budget: int | None = None) -> tuple[int, ...]:
    """The budgets, increasing, by which the sweeps are read, each apart: `budget`, else those that all of them have.

    Raises StoreError, naming the folders, where sweeps have different ones, or one does not have `budget`.
    """
    if budget is not None:
        return tuple({part_of(store.plan, budget).budget for store in stores})
    budgets = {str(store.folder): f"{budgets_text(store.plan)} steps" for store in stores}
    shared = set.intersection(*(set(store.budgets) for store in stores))
    hint = f"; --budget {min(shared)} reads the runs with that one" if shared else ""
    _refuse_different("budgets", budgets, hint)
    return stores[0].budgets


def judged_alike(stores: Sequence[SweepStore], asked: str | None = None) -> JudgedBy:
    """The criterion that is asked for, of all sweeps: a name of their `criteria`, a threshold, or None for their own.

    Raises StoreError where a sweep has none of this name, or theirs differ.
    """
    found = {}
    for store in stores:
        try:
            found[store] = judged_by(stored_spec(store), asked)
        except ValueError as error:
            raise StoreError(f"--criterion: {error}") from error
    _refuse_different("criteria", {str(store.folder): str(judged.criterion) for store, judged in found.items()})
    first = found[stores[0]]
    # Where one sweep's own is another's second, what is written must not take the place of what is by their own.
    return first if all(judged.is_own == first.is_own for judged in found.values()) else replace(first, is_own=False)


def read_source(stores: Sequence[SweepStore], budget: int | None = None, criterion: str | None = None) -> SweepData:
    """The commits so far, of the runs with this budget (None: of sweeps that have one, the same).

    Outcomes are by the sweeps' own criterion, or by the one that is asked for (see `judged_alike`).
    Raises StoreError if there are none, or the sweeps cannot be joined, saying which and why.
    """
    found = _read(stores, budget, criterion)
    if not found.is_begun:
        raise StoreError(_nothing(stores[0]))
    return found


def read_sources(
    stores: Sequence[SweepStore], budget: int | None = None, criterion: str | None = None
) -> dict[int, SweepData]:
    """budget -> as `read_source`, for each of `budgets_in(stores, budget)`; some may not have begun.

    Raises StoreError where none has.
    """
    found = {each: _read(stores, each, criterion) for each in budgets_in(stores, budget)}
    if not any(source.is_begun for source in found.values()):
        raise StoreError(_nothing(stores[0]))
    return found


def _read(stores: Sequence[SweepStore], budget: int | None, asked: str | None) -> SweepData:
    budgets_in(stores, budget)
    criterion = judged_alike(stores, asked).criterion
    # Before the histories, so that a commit made while they are read counts as made since.
    orders = {pack_id: order for store in stores for pack_id, order in newest_orders(store).items()}
    whole = _named_apart([_history(store, budget, criterion) for store in stores], stores)
    histories = distinct_runs(whole, stores)
    try:
        each = [decide_outcomes(history, criterion) for history in histories]
    except ValueError as error:
        raise StoreError(str(error)) from error
    copies_R = np.concatenate([_copies_R(*one) for one in zip(stores, histories, each, strict=True)])
    history, outcomes = joined(histories), joined_outcomes(each)
    num_equal = sum(len(one.runs) for one in whole) - len(history.runs)
    provenance = _provenance(histories, stores) | ({"num_equal_runs": num_equal} if num_equal else {})
    if by_numerics := runs_by_numerics(stores, {run.run_id for run in history.runs}):
        provenance["runs_by_numerics"] = by_numerics
    return SweepData(history, outcomes, copies_R, provenance, orders, len(history.steps_T) > 0)


def print_notes(sources: Iterable[SweepData], out: Console) -> None:
    """Print what is to be known of the runs, each sentence once."""
    for note in dict.fromkeys(note for source in sources for note in source.notes):
        out.print(note, markup=False)


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


def _history(store: SweepStore, budget: int | None, criterion: Criterion) -> History:
    """The history; where only runs of other budgets have recorded something, one without a step."""
    history = store.history(budget)
    if history.values:
        return history
    if not any(other.values for other in store.histories()):
        raise StoreError(_nothing(store))
    return replace(history, values={criterion.metric: np.empty((len(history.runs), 0))})


def _nothing(store: SweepStore) -> str:
    return f"{store.folder}: nothing is committed yet"


def _refuse_different(what: str, values: Mapping[str, str], hint: str = "") -> None:
    """Raises StoreError where the values of the folders differ, naming them."""
    if len(set(values.values())) > 1:
        told = "; ".join(f"{folder}: {value}" for folder, value in values.items())
        raise StoreError(f"these sweeps have different {what}, so their outcomes mean different things: {told}{hint}")


def _named_apart(histories: Sequence[History], stores: Sequence[SweepStore]) -> list[History]:
    """Each history under its sweep's name, with its folder where two sweeps have the same."""
    uses = Counter(history.name for history in histories)
    return [
        history if uses[history.name] == 1 else replace(history, name=f"{history.name} ({store.folder})")
        for history, store in zip(histories, stores, strict=True)
    ]


def _provenance(histories: Sequence[History], stores: Sequence[SweepStore]) -> dict[str, Any]:
    if len(stores) == 1:
        return provenance_of(stores[0])
    sources = {}
    for history, store in zip(histories, stores, strict=True):
        whole = provenance_of(store)
        kept = {name: whole[name] for name in ("sweep_id", "at", "git_commit")}
        sources[history.name] = {"folder": str(store.folder), "runs": len(history.runs), **kept}
    return {"sources": sources}
