"""What did not go as planned: runs that failed, and packs that went on with fewer slots; failed runs tried again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.store.records.ends import FAILED_RUN, RETRIED_RUN, EndColumns
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore

_SHOWN = 3


@dataclass(frozen=True)
class FailedRun:
    """A run that an error ended, the step at which its last state is, and the error."""

    run_id: str
    step: int
    cause: str

    def __str__(self) -> str:
        return f"run {self.run_id} failed {self.cause}"


def failed_runs(records: Mapping[str, Record]) -> list[FailedRun]:
    """The failed runs of these packs, by pack_id."""
    failed = (EndColumns.of(record.ends).of_reason(FAILED_RUN) for record in records.values())
    return [FailedRun(run_id, end.step, end.cause) for ends in failed for run_id, end in ends.items()]


def failure_lines(store: SweepStore, records: Mapping[str, Record]) -> Iterator[str]:
    """Which runs failed and how to try them again, the first of them each in a line; and `slots_lines`."""
    failed = failed_runs(records)
    yield from map(str, failed[:_SHOWN])
    if len(failed) > _SHOWN:
        yield f"and {len(failed) - _SHOWN} more runs failed; `seedbed status --json` has the reason of each"
    if failed:
        again = f"seedbed resume {shlex.quote(str(store.folder))} --retry-failed"
        yield f"runs that failed count as censored; try them again with: {again}"
    yield from slots_lines(store, records)


def slots_lines(store: SweepStore, records: Mapping[str, Record]) -> Iterator[str]:
    """A line for each pack that goes on with fewer slots than planned, since memory ran out."""
    for pack in store.plan["packs"]:
        record, planned = records.get(pack["pack_id"]), pack["numerics"]["slots"]
        if record is not None and record.slots not in (0, planned):
            yield (
                f"pack {pack['pack_id']}: memory ran out with {planned} slots, so it goes on with {record.slots}; "
                "these are other numerics, which its runs name"
            )


def retry_failed(store: SweepStore) -> int:
    """Let the runs that failed go on from their last states, at the next launch; how many. Needs the driver's lock."""
    number = 0
    for pack_id, record in store.newest_records().items():
        failed = EndColumns.of(record.ends).of_reason(FAILED_RUN)
        if not failed:
            continue
        number += len(failed)
        # A run without a state begins anew.
        kept = {run_id: replace(end, reason=RETRIED_RUN) for run_id, end in failed.items() if end.weights_sha256}
        ends = {run_id: end for run_id, end in record.ends.items() if run_id not in failed} | kept
        pack = store.pack(pack_id)
        pack.commit(replace(record, attempt=pack.claim_attempt(), sequence=record.sequence + 1, ends=ends))
    return number
