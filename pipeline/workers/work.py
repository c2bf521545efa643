"""A worker: claims a pack, trains it, commits, and goes on with the next, beside any number of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.launch.launched import MOST_RETRIES
from pipeline.launch.pulse import HangError, Pulse
from pipeline.launch.watched import watched_by_a_thread
from pipeline.planning.packs import packs_of
from pipeline.store.pack_store import FencedError
from pipeline.store.progress import Progress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import Abilities, NotHereError
from pipeline.training.memory import PackMemoryError
from pipeline.training.worker import run_pack
from pipeline.workers.draining import AskedToLeaveError, Drain
from pipeline.workers.free_packs import FreePacks, HeldPack
from pipeline.workers.lease import Lease


@dataclass
class Worked:
    """What a worker has done: the packs that it finished and those that were taken over, in order.

    `failures` maps packs to the reason of their failure after all retries, `elsewhere` those that this machine cannot
    compute to what they need, `damaged` those that cannot be read to the damage. Of the `num_packs` of the sweep
    `num_finished` are complete as far as it knows, with `num_failed_runs` that an error ended, and `num_held` were
    other workers' when it looked last.
    """

    finished: list[str] = field(default_factory=list)
    taken_over: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    num_held: int = 0
    num_packs: int = 0
    num_finished: int = 0
    num_failed_runs: int = 0


# Called with a pack's id and what comes of it: "claimed", "finished", "left" or "taken over".
OnEvent = Callable[[str, str, int], None]


class Worker:
    """Trains packs of a sweep under a lease until none is free, `max_packs` are done, or it is asked to leave.

    `waits`: as long as other workers hold packs it stays, to take over what they leave or lose.
    """

    def __init__(
        self, store: SweepStore, lease: Lease, drain: Drain, max_packs: int | None, waits: bool, on_event: OnEvent
    ) -> None:
        self.store, self.lease, self.drain, self.on_event = store, lease, drain, on_event
        self.max_packs, self.waits = max_packs, waits
        here, packs = Abilities.here(), {pack.pack_id: pack for pack in packs_of(store.plan)}

        def lacks(pack_id: str) -> str | None:
            lack = here.lacks(packs[pack_id].numerics)
            return None if lack is None else f"planned for {lack}"

        self.free = FreePacks(store, lease, lacks)
        self._failures: dict[str, str] = {}
        self._worked = Worked()

    def run(self) -> Worked:
        """Work; what came of it. Raises what training raises, but for what concerns one pack alone."""
        try:
            while not self.should_leave() and len(self._worked.finished) != self.max_packs:
                held = self.free.next()
                if held is not None:
                    self._train(held)
                elif self.waits and self.free.num_held:
                    self.drain.wait(self.lease.beat_s)
                else:
                    break
        except AskedToLeaveError:
            pass
        elsewhere = {pack: reason for pack, reason in self.free.left.items() if pack not in self._failures}
        self._worked.failures, self._worked.elsewhere = self._failures, elsewhere
        self._worked.damaged, self._worked.num_held = self.free.damaged, self.free.num_held
        self._worked.num_packs, self._worked.num_finished = len(self.store.pack_ids()), len(self.free.finished)
        self._worked.num_failed_runs = sum(self.free.finished.values())
        return self._worked

    def should_leave(self) -> bool:
        """Whether this worker, or all of them, were asked to leave."""
        return self.drain.is_asked or self.store.is_stopped()

    def _train(self, held: HeldPack) -> None:
        self.on_event(held.pack_id, "claimed", held.attempt)
        event = "left"
        try:
            event = self._trained(held)
        finally:
            self.drain.is_opening = False
            self.lease.release(is_finished=event == "finished")
            self.on_event(held.pack_id, event, held.attempt)

    def _trained(self, held: HeldPack) -> str:
        pack_id, reason = held.pack_id, ""
        for _ in range(1 + MOST_RETRIES):
            try:
                with watched_by_a_thread(self.store.folder, pack_id) as pulse:
                    progress = self._run(held, pulse)
            except FencedError:
                self._worked.taken_over.append(pack_id)
                return "taken over"
            except NotHereError as error:
                self.free.left[pack_id] = error.reason
                return "left"
            except PackMemoryError as error:
                reason = str(error)
                break
            except HangError as error:
                reason = str(error)
                continue
            if progress.num_done < progress.num_runs:
                return "left"
            self.free.finished[pack_id] = progress.num_failed
            self._worked.finished.append(pack_id)
            return "finished"
        self._failures[pack_id] = self.free.left[pack_id] = reason
        return "left"

    def _run(self, held: HeldPack, pulse: Pulse) -> Progress:
        def beat() -> None:
            # The pack is open: from here on leaving takes a commit.
            self.drain.is_opening = False
            pulse.beat()

        self.drain.is_opening = True
        if self.drain.is_asked:
            self.drain.is_opening = False
            raise AskedToLeaveError
        return run_pack(
            self.store,
            held.pack_id,
            lambda progress: None,
            beat=beat,
            claim=held.take,
            is_asked=lambda: self.drain.is_asked or self.lease.is_superseded,
        )
