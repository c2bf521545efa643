"""The least memory that training takes, and the refusal of sweeps for which this computer has not enough.

A pack that runs out of memory all the same goes on with half as many slots, which its record says.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.counted import counted
from pipeline.planning.packs import Group, Plan, packs_of
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import num_slots

_ITEM_SIZE = {"float32": 4, "float64": 8}
# In one launch.
MOST_HALVINGS = 3


def least_bytes(config: RunConfig, slots: int, num_items: int) -> int:
    """A lower bound on the bytes that a block takes: weights, initial weights, gradients, moments, and one batch.

    `num_items` examples are in memory at once, as inputs alone: 0 for compiled programs, which make them one by one.
    """
    shape = config.task.shape()
    weights = sum(spec.rows * spec.columns for spec in config.model.bind(shape).parameter_specs(shape))
    arrays = 3 + len(config.optimiser.moments)
    item_size = _ITEM_SIZE[config.dtype]
    position = 8 if shape.kind == "tokens" else item_size * (shape.size if shape.kind == "vectors" else 1)
    return slots * (arrays * weights * item_size + num_items * shape.length * position)


def usable_bytes() -> int:
    """The memory of this computer, or what the process's limit of addresses (ulimit -v) leaves where that is less."""
    page = os.sysconf("SC_PAGE_SIZE")
    physical = page * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return physical
    try:
        mapped = page * int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        mapped = 0
    return min(physical, max(limit - mapped, 0))


def refuse_huge_settings(spec: SweepSpec, groups: Mapping[str, Group], device: str) -> None:
    """Raises StoreError, with both numbers, for a setting of which this computer cannot hold one slot's weights."""
    for group in groups.values() if device == "cpu" else ():
        _refuse(spec, group.config, least_bytes(group.config, 1, 0), "one run")


def refuse_huge_packs(plan: Plan, device: str) -> None:
    """Raises StoreError, with both numbers, for a pack that this computer cannot hold."""
    spec = plan.spec
    known: set[tuple[str, int, str]] = set()
    for pack in plan.packs if device == "cpu" else ():
        config, numerics = plan.runs[pack.run_ids[0]], pack.numerics
        key = (config.static_key(), numerics.slots, numerics.engine)
        if key not in known:
            known.add(key)
            items = max(config.batch_size, spec.grid.eval_items, spec.grid.probe_items)
            needed = least_bytes(config, numerics.slots, items if numerics.engine == "torch" else 0)
            _refuse(spec, config, needed, f"a pack of {counted(numerics.slots, 'slot')}")


def _refuse(spec: SweepSpec, config: RunConfig, needed: int, what: str) -> None:
    usable = usable_bytes()
    if needed > usable:
        raise StoreError(
            f"{spec.name}: {what} of this sweep takes at least {needed / 2**20:,.0f} MiB of memory, and there are "
            f"{usable / 2**20:,.0f} MiB here; its model ({config.model.name}), batch_size, grid.eval_items, "
            "grid.probe_items and resources.slots decide that"
        )


class PackMemoryError(StoreError):
    """A pack does not fit into memory, with however few slots were tried."""


def halve_slots(
    store: SweepStore, pack_id: str, num_halvings: int, cause: str, claim: Callable[[], int] | None = None
) -> None:
    """Commit that a pack goes on with half its slots, after `num_halvings` by this launch.

    Runs that ended stay as they are. Runs in progress go on from their states of the newest commit, as many as there
    are slots; the others wait. All of them name the numbers of slots under which they were computed.
    Raises PackMemoryError after MOST_HALVINGS, and where one slot is too many.
    """
    # What the failed attempt still holds, by cycles of references.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    planned = next(pack for pack in packs_of(store.plan) if pack.pack_id == pack_id)
    slots, pack = num_slots(store, planned), store.pack(pack_id)
    if slots == 1 or num_halvings == MOST_HALVINGS:
        raise PackMemoryError(
            f"memory ran out with {slots} of {counted(planned.numerics.slots, 'slot')} ({cause}); resume where more "
            "of it is free, or start the sweep in another folder with smaller resources.slots"
        )
    record = pack.newest() or Record(store.sweep["sweep_id"], pack_id, attempt=0, sequence=0)
    ends = {run_id: replace(end, slots=end.slots or (slots,)) for run_id, end in record.ends.items()}
    active = {run_id: replace(entry, slots=entry.slots or (slots,)) for run_id, entry in record.active.items()}
    # The known answer is of a number of slots.
    pack.commit(
        replace(
            record,
            attempt=(claim or pack.claim_attempt)(),
            sequence=record.sequence + 1,
            ends=ends,
            active=active,
            slots=slots // 2,
            answer="",
        )
    )
