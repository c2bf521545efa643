"""Which runs are one and the same under several ids: what each run of some plans draws.

Earlier versions took sweeps whose `streams` pin all that their seeds differ in, and what starts from a checkpoint draws
nothing by its init_seed, which may differ between folders. Such runs have the same weights; counted as independent they
would make intervals too narrow, and stand in training and test sets at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from pipeline.spec.forks.lineage import Lineage
from pipeline.spec.forks.weights import WEIGHTS
from pipeline.spec.run_config import RunConfig, Setting

PlanDocument = Mapping[str, Any]
# How far a run is by its end: 2 for every other.
_RANK = {"running": 0, "stopped": 1, "failed": 1}
_PINNED, _CHECKPOINT = "streams.", "model.start"


def draw_keys(
    plans: Sequence[PlanDocument], read_parents: Callable[[], Iterable[PlanDocument]] = tuple
) -> dict[str, str]:
    """run_id -> a key that runs share if and only if they draw the same, for every run of these plan documents.

    Forks draw the same where their parents do, at equal steps; `read_parents` gives the plans of the parents, whose
    runs are known by their ids alone where it does not. It is called only where a stream is pinned, or runs start from
    a checkpoint: elsewhere the seeds themselves tell runs apart, and the keys are the ids. So is that of a run with
    parts that are not here.
    """
    run_ids = [row["run_id"] for plan in plans for row in plan["runs"]]
    if not any(map(_is_pinned, plans)):
        return {run_id: run_id for run_id in run_ids}
    keys = _DrawKeys([*plans, *read_parents()])
    return {run_id: keys.of(run_id) for run_id in run_ids}


class Reached(Protocol):
    """How far a run is."""

    @property
    def reason(self) -> str:
        """How it ended, as in `RunEnd`, or that it is running."""
        ...

    @property
    def step(self) -> int:
        """Its last step."""
        ...


def run_that_counts(run_ids: Sequence[str], ends: Sequence[Reached], keys: Mapping[str, str]) -> list[int]:
    """For each run the place of that which counts of those that equal it: its own place where that is itself.

    `keys` are as of `draw_keys`. A run that has ended counts before one that was stopped or failed, and that before one
    in training; then the one with most steps, then the first. A run that `keys` lacks equals none.
    """
    key_R = [keys.get(run_id, run_id) for run_id in run_ids]
    best: dict[str, tuple[tuple[int, int], int]] = {}
    for place, (key, end) in enumerate(zip(key_R, ends, strict=True)):
        rank = (_RANK.get(end.reason, 2), end.step)
        if key not in best or rank > best[key][0]:
            best[key] = rank, place
    return [best[key][1] for key in key_R]


def _is_pinned(plan: PlanDocument) -> bool:
    """Whether runs of other seeds may draw the same: some stream is pinned, or weights are a checkpoint's."""
    changes = (row.get("changes", {}) for row in plan["runs"])
    hyperparameters = plan["settings"].values()
    if any(paths.get(_CHECKPOINT) is not None for paths in hyperparameters):
        return True
    return any(path.startswith(_PINNED) for paths in (*hyperparameters, *changes) for path in paths)


class _DrawKeys:
    """What the runs of some plans draw, by run id."""

    def __init__(self, plans: Iterable[PlanDocument]) -> None:
        self._rows = {
            row["run_id"]: (row, plan["settings"][row["setting_id"]]) for plan in plans for row in plan["runs"]
        }
        self._settings: dict[str, Setting | None] = {}
        self._found: dict[str, str] = {}

    def of(self, run_id: str) -> str:
        """The run's key. That of a fork has the keys of the runs inside from whose states it starts, and so on.

        A circle ends at an id.
        """
        waiting, seen = [run_id], set[str]()
        while waiting:
            each = waiting[-1]
            known = each in self._found or each not in self._rows
            later = [] if known or each in seen else self._origins(each)
            seen.add(each)
            if fresh := [origin for origin in later if origin not in seen]:
                waiting += fresh
                continue
            waiting.pop()
            if not known:
                self._found[each] = self._of(each)
        return self._found.get(run_id, run_id)

    def _origins(self, run_id: str) -> list[str]:
        """The runs from whose states it starts."""
        row, _ = self._rows[run_id]
        return [origin for origin in (row.get("parent"), *_taken(row).values()) if isinstance(origin, str)]

    def _of(self, run_id: str) -> str:
        row, hyperparameters = self._rows[run_id]
        # Streams that a fork changes are no part of its setting.
        pinned = {path: seed for path, seed in row.get("changes", {}).items() if path.startswith(_PINNED)}
        setting = self._setting(row["setting_id"], {**hyperparameters, **pinned}, repr(sorted(pinned.items())))
        if setting is None:
            return run_id
        parent, step = row.get("parent"), row.get("fork_step")
        lineage = None
        if parent is not None and step is not None:
            taken = {name: self._found.get(run, run) for name, run in _taken(row).items()}
            lineage = Lineage(self._found.get(parent, parent), step, {WEIGHTS: taken} if taken else {})
        return RunConfig(setting, row["init_seed"], row["data_seed"], lineage).draws_id

    def _setting(self, setting_id: str, hyperparameters: Mapping[str, Any], pinned: str) -> Setting | None:
        named = f"{setting_id} {pinned}"
        if named not in self._settings:
            try:
                self._settings[named] = Setting.from_hyperparameters(hyperparameters)
            except ValueError:
                self._settings[named] = None
        return self._settings[named]


def _taken(row: Mapping[str, Any]) -> dict[str, str]:
    """Parameter -> run that a fork took it from, as its row in a plan says; empty where that is something else."""
    taken = row.get("changes", {}).get(WEIGHTS)
    return {name: run for name, run in taken.items() if isinstance(run, str)} if isinstance(taken, Mapping) else {}
