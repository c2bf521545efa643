"""Under which numerics the runs of sweeps were computed, as their plans and records name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pipeline.store.pack_store import Active, Ended, Record
from pipeline.store.sweep_store import SweepStore

_PLANNED = ("engine", "device", "threads", "matmul_precision", "torch", "program")
_DIGITS = 8


def runs_by_numerics(stores: Sequence[SweepStore], run_ids: Collection[str] | None = None) -> dict[str, int]:
    """Numerics -> number of runs that were computed under them, in words that name what differs; most runs first.

    Of the runs that have recorded something (those in `run_ids`, where given). Empty where all have the same: engine,
    device, threads, precision, library, processor and source files, and slots where results may depend on them.
    """
    found = [
        numerics
        for store in stores
        for run_id, numerics in _numerics_by_run(store.plan, store.newest_records()).items()
        if run_ids is None or run_id in run_ids
    ]
    return _counted(found)


def numerics_that_differ(plan: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, int]:
    """The same of one sweep, whose newest records, by pack, were read already."""
    return _counted(_numerics_by_run(plan, records).values())


def numerics_text(counts: Mapping[str, int]) -> str:
    """A sentence on the counts of `runs_by_numerics`.

    >>> numerics_text({"engine a": 96, "engine b": 32})
    'Numerics differ: 96 run(s) under engine a; 32 run(s) under engine b.'
    """
    return f"Numerics differ: {'; '.join(f'{number} run(s) under {name}' for name, number in counts.items())}."


def _counted(found: Iterable[Mapping[str, str]]) -> dict[str, int]:
    counts = Counter(tuple(sorted(numerics.items())) for numerics in found)
    names = {name for numerics in counts for name, _ in numerics}
    differing = {name for name in names if len({dict(numerics).get(name) for numerics in counts}) > 1}
    told: Counter[str] = Counter()
    for numerics, number in counts.items():
        told[", ".join(f"{name} {dict(numerics).get(name, 'any')}" for name in sorted(differing))] += number
    return dict(told.most_common()) if differing else {}


def _numerics_by_run(plan: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, dict[str, str]]:
    """run_id -> its numerics, of the runs that a record names."""
    entries: dict[str, dict[str, Active | Ended]] = {
        pack_id: {**record.active, **record.ends} for pack_id, record in records.items()
    }
    texts = {text for of_pack in entries.values() for entry in of_pack.values() for text in entry.sources}
    found = {}
    for pack in plan["packs"]:
        record, planned = records.get(pack["pack_id"]), pack["numerics"]
        for run_id, entry in entries.get(pack["pack_id"], {}).items():
            # Plans of earlier versions name fewer.
            own = {name: str(planned[name]) for name in _PLANNED if name in planned}
            own["processor"] = (record.processor if record else "") or "unknown"
            # Two sweeps are computed by other files though nothing has changed: texts compare inside one.
            own["code"] = " then ".join(text[:_DIGITS] for text in entry.sources) if len(texts) > 1 else "unchanged"
            slots = getattr(entry, "slots", ()) or (planned["slots"],)
            # The bits of compiled programs depend on no number of slots.
            if planned.get("engine", "torch") == "torch" or len(set(slots)) > 1:
                own["slots"] = " then ".join(map(str, slots))
            found[run_id] = own
    return found
