"""Where in wandb the forks of a sweep begin: at a step of their parent's wandb run, where the server has that run.

wandb forks a run only on its server, only within a project, and only when the run is first made: `fork_from` excludes
`resume`, by which a run is continued. So whether a run is there already is settled before (`live.py`). Needs no wandb.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.spec.sections import Tracking
from pipeline.store.formats.sealed import NewerFormatError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.folder import LEDGER_FILE, tracking_of
from pipeline.tracking.ledger import Ledger

# Begins the sentence that says why.
PLAIN_FORKS = "forks are mirrored as plain runs, with `fork_of` in their config"


@dataclass(frozen=True)
class BranchPoint:
    """The step of a wandb run at which a fork of it begins."""

    tracked_id: str
    step: int

    @property
    def moment(self) -> str:
        """As wandb writes it.

        >>> BranchPoint("ab-cd", 350).moment
        'ab-cd?_step=350'
        """
        return f"{self.tracked_id}?_step={self.step}"


@dataclass(frozen=True)
class Branches:
    """Tracked id of a fork -> where it begins in wandb; `problem` says why others begin nowhere, empty if none do."""

    points: Mapping[str, BranchPoint]
    problem: str = ""

    @staticmethod
    def of(store: SweepStore, tracking: Tracking) -> Branches:
        """Those of a sweep's forks whose parents' rows are on the server, by the ledger of the parents' mirror.

        Those of a sweep without forks are none, without a problem. A fork of step 0 shares no row with its parent.
        """
        rows = [row for row in store.plan["runs"] if row.get("parent") is not None]
        if not rows:
            return Branches({})
        if tracking.mode != "online":
            return Branches({}, "wandb forks runs on its server alone, and this mirror is offline")
        parents = SweepStore(Path(store.sweep["spec"]["fork"]["sweep"]))
        try:
            steps, of_parents = _mirrored_steps(parents), tracking_of(parents)
            prefix = parents.sweep["sweep_id"]
        except (StoreError, NewerFormatError, OSError) as error:
            return Branches({}, f"the sweep of their parents cannot be read: {error}")
        if (of_parents.mode, of_parents.project, of_parents.entity) != ("online", tracking.project, tracking.entity):
            return Branches({}, f"the sweep of their parents is not mirrored to the project {tracking.project}")
        points = {
            f"{store.sweep['sweep_id']}-{row['run_id']}": BranchPoint(f"{prefix}-{row['parent']}", row["fork_step"])
            for row in rows
            if 0 < row["fork_step"] <= steps.get(f"{prefix}-{row['parent']}", -1)
        }
        return Branches(points, "" if len(points) == len(rows) else "not all of their parents are mirrored so far")


def _mirrored_steps(parents: SweepStore) -> dict[str, int]:
    """Tracked id -> the step up to which the server has its rows."""
    ledger = Ledger.read(parents.folder / "wandb" / LEDGER_FILE)
    return {key: entry.step for key, entry in ledger.entries.items()}
