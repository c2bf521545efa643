"""Which packs a worker may train: not finished, for this machine, and held by no worker whose lease goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.store.budgets import budget_by_run
from pipeline.store.pack_store import FencedError, PackStore, StoreError
from pipeline.store.progress import ended_for_good
from pipeline.store.records.ends import FAILED_RUN, EndColumns
from pipeline.store.records.record import Record
from pipeline.store.sweep_store import SweepStore
from pipeline.workers.lease import Lease, OtherLeases

# Looked at together, in the order of the plan. A worker's first is any of them: those that start at once seldom meet.
_LOOKED_AT = 32


@dataclass
class HeldPack:
    """An attempt at a pack that this worker has claimed, and those with which it goes on from there itself."""

    pack_id: str
    pack: PackStore
    lease: Lease
    attempt: int
    is_used: bool = field(default=False)

    def take(self) -> int:
        """The number of the attempt; from the second call on, of one more after it.

        Raises FencedError where another worker has claimed one meanwhile.
        """
        if self.is_used:
            self.lease.hold(self.pack_id, self.attempt + 1)
            if not self.pack.claim_after(self.attempt):
                raise FencedError(f"{self.pack.files.address}: attempt {self.attempt} was superseded; it may not go on")
            self.attempt += 1
        self.is_used = True
        return self.attempt


class FreePacks:
    """The packs that one worker may claim, one at a time.

    `lacks(pack_id)` says why this machine cannot compute a pack, in a clause, or None. `finished` maps packs that are
    known to be complete to how many of their runs failed, `left` those that this worker leaves alone to the reason,
    `damaged` those that no worker can train. `num_held` is how many packs other workers had at the last look.
    """

    def __init__(self, store: SweepStore, lease: Lease, lacks: Callable[[str], str | None]) -> None:
        self.store, self.lease, self.lacks = store, lease, lacks
        self.finished: dict[str, int] = {}
        self.left: dict[str, str] = {}
        self.damaged: dict[str, str] = {}
        self.num_held = 0
        self._others = OtherLeases(lease)
        self._has_claimed = False
        self._run_ids = {pack["pack_id"]: pack["run_ids"] for pack in store.plan["packs"]}
        self._budgets = budget_by_run(store.plan)

    def next(self) -> HeldPack | None:
        """Claim a pack; None where none is free. Raises OSError."""
        self.num_held = 0
        packs = self.open_packs()
        for first in range(0, len(packs), _LOOKED_AT):
            claim = self._one_of(packs[first : first + _LOOKED_AT])
            if claim is not None:
                return claim
        self.lease.release()
        return None

    def open_packs(self) -> list[str]:
        """The packs that this worker may still have to train, in the order of the plan."""
        closed = {*self.finished, *self.left, *self.damaged}
        return [pack_id for pack_id in self._run_ids if pack_id not in closed]

    def _one_of(self, pack_ids: list[str]) -> HeldPack | None:
        # Attempts before leases: a worker says that it makes an attempt before it claims it.
        attempts = {pack_id: self.store.pack(pack_id).newest_attempt() for pack_id in pack_ids}
        states = self._others.look()
        held = {s.pack_id for s in states if s.pack_id in attempts and s.attempt >= attempts[s.pack_id]}
        free = [pack_id for pack_id in pack_ids if pack_id not in held]
        if not self._has_claimed:
            random.shuffle(free)
        for pack_id in free:
            if self._is_open(pack_id) and (claim := self._claimed(pack_id, attempts[pack_id])) is not None:
                return claim
        # Of those that were free another worker may have taken some since.
        self.num_held += len([pack_id for pack_id in self.open_packs() if pack_id in attempts])
        return None

    def _claimed(self, pack_id: str, attempt: int) -> HeldPack | None:
        pack = self.store.pack(pack_id)
        self.lease.hold(pack_id, attempt + 1)
        if not pack.claim_after(attempt):
            return None
        self._has_claimed = True
        return HeldPack(pack_id, pack, self.lease, attempt + 1)

    def _is_open(self, pack_id: str) -> bool:
        """Whether a pack is to be trained here; notes why where it is not."""
        pack = self.store.pack(pack_id)
        record = next(iter(pack.records()), None)
        if record is not None and self._has_ended(pack_id, record):
            self.finished[pack_id] = len(EndColumns.of(record.ends).of_reason(FAILED_RUN))
            return False
        if (reason := self.lacks(pack_id)) is not None:
            self.left[pack_id] = reason
            return False
        try:
            pack.newest()
        except StoreError as error:
            self.damaged[pack_id] = str(error)
            return False
        return True

    def _has_ended(self, pack_id: str, record: Record) -> bool:
        ended = ended_for_good(record.ends, self._budgets)
        return all(run_id in ended for run_id in self._run_ids[pack_id])
