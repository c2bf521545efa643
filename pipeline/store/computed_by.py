"""Under which numerics the runs of sweeps were computed, as their plans and records name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pipeline.counted import counted
from pipeline.store.records.ends import EndColumns
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore

_PLANNED = ("engine", "device", "threads", "matmul_precision", "torch", "program")
_DIGITS = 8
# Names and values, in order of name.
_Numerics = tuple[tuple[str, str], ...]


def runs_by_numerics(stores: Sequence[SweepStore], run_ids: Collection[str] | None = None) -> dict[str, int]:
    """Numerics -> number of runs that were computed under them, in words that name what differs; most runs first.

    Of the runs that have recorded something (those in `run_ids`, where given). Empty where all have the same: engine,
    device, threads, precision, library, processor and source files, and slots where results may depend on them.
    """
    counts = (_counted(store.plan, store.newest_records(reads_files=False), run_ids) for store in stores)
    return _told(sum(counts, Counter()))


def numerics_that_differ(plan: Mapping[str, Any], records: Mapping[str, Record]) -> dict[str, int]:
    """The same of one sweep, whose newest records, by pack, were read already."""
    return _told(_counted(plan, records))


def numerics_text(counts: Mapping[str, int]) -> str:
    """A sentence on the counts of `runs_by_numerics`.

    >>> numerics_text({"engine a": 96, "engine b": 32})
    'Numerics differ: 96 runs under engine a; 32 runs under engine b.'
    """
    parts = (f"{counted(number, 'run')} under {name}" for name, number in counts.items())
    return f"Numerics differ: {'; '.join(parts)}."


def _told(counts: Counter[_Numerics]) -> dict[str, int]:
    names = {name for numerics in counts for name, _ in numerics}
    differing = {name for name in names if len({dict(numerics).get(name) for numerics in counts}) > 1}
    told: Counter[str] = Counter()
    for numerics, number in counts.items():
        told[", ".join(f"{name} {dict(numerics).get(name, 'any')}" for name in sorted(differing))] += number
    return dict(told.most_common()) if differing else {}


def _counted(
    plan: Mapping[str, Any], records: Mapping[str, Record], run_ids: Collection[str] | None = None
) -> Counter[_Numerics]:
    """Numerics -> number of runs that records name (those in `run_ids`, where given)."""
    by_pack = {pack_id: _computed_by(record, run_ids) for pack_id, record in records.items()}
    texts = {text for of_pack in by_pack.values() for sources, _ in of_pack for text in sources}
    # Of many packs few differ.
    distinct: Counter[tuple[Any, ...]] = Counter()
    for pack in plan["packs"]:
        record, planned = records.get(pack["pack_id"]), tuple(pack["numerics"].items())
        for computed_by, number in by_pack.get(pack["pack_id"], {}).items():
            distinct[planned, record.processor if record else "", *computed_by] += number
    found: Counter[_Numerics] = Counter()
    for (planned, processor, sources, own_slots), number in distinct.items():
        numerics = dict(planned)
        # Plans of earlier versions name fewer.
        own = {name: str(numerics[name]) for name in _PLANNED if name in numerics}
        own["processor"] = processor or "unknown"
        # Two sweeps are computed by other files though nothing has changed: texts compare inside one.
        own["code"] = " then ".join(text[:_DIGITS] for text in sources) if len(texts) > 1 else "unchanged"
        slots = own_slots or (numerics["slots"],)
        # The bits of compiled programs depend on no number of slots.
        if numerics.get("engine", "torch") == "torch" or len(set(slots)) > 1:
            own["slots"] = " then ".join(map(str, slots))
        found[tuple(sorted(own.items()))] += number
    return found


def _computed_by(record: Record, run_ids: Collection[str] | None) -> Counter[tuple[tuple[str, ...], tuple[int, ...]]]:
    """(sources, slots) -> number of runs of a record, counted by columns where all of them are asked for."""
    ends, found = EndColumns.of(record.ends), Counter[tuple[tuple[str, ...], tuple[int, ...]]]()
    if run_ids is None:
        for end, number in ends.counts():
            found[end.sources, end.slots] += number
    else:
        kinds = ends.kind_by_run().items()
        found.update((end.sources, end.slots) for run_id, end in kinds if run_id in run_ids)
    for run_id, entry in record.active.items():
        if run_id not in ends and (run_ids is None or run_id in run_ids):
            found[entry.sources, entry.slots] += 1
    return +found
