"""A worker's lease on the pack that it trains: a document of its own in which a count grows for as long as it works.

Another worker takes a pack over once it has counted several beats of its own without a beat of the pack's worker. So
no two clocks are compared, and time in which the observer itself was suspended does not count. A lease only saves work
from being done twice: what is true is decided by the numbers of attempts, by which a late worker cannot commit.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import socket
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from pipeline.store.backends.files import Files
from pipeline.store.files import CorruptFileError, read_file
from pipeline.store.formats.sealed import NewerFormatError, seal, unseal
from pipeline.store.shapes import ID, WORKER, misfit
from pipeline.store.sweep_store import SweepStore

WORKERS_FOLDER = "workers"
# Seconds between two beats; so many beats of an observer without one of the observed end a lease.
BEAT_S = 10.0
BEATS_OF_A_LEASE = 6
# A document may come from anybody who can write to the folder.
_LONGEST_BEAT_S = 600.0
# Whoever ends a lease must end itself, and waits no longer for a beat that is being written.
_LONGEST_WRITE_S = 2.0
_ENDING = ".json"


def beat_interval_s() -> float:
    """BEAT_S, or what the environment variable SEEDBED_BEAT_S says."""
    return float(os.environ.get("SEEDBED_BEAT_S", BEAT_S))


@dataclass(frozen=True)
class WorkerState:
    """What a worker's document says: who it is, how often it has beaten, and which attempt at which pack it makes.

    `pack_id` is None between two packs. `num_packs` counts those that it has finished.
    """

    worker: str
    host: str
    process: int
    beats: int
    beat_s: float
    pack_id: str | None = None
    attempt: int = 0
    num_packs: int = 0


def new_worker_id() -> str:
    """An id that no other worker has: host, process, and random digits. It is the name of a file."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()).strip("-")[:30] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def read_worker(path: Path) -> WorkerState:
    """A worker's document. Raises CorruptFileError for anything else, and where there is none."""
    return _state_in(read_file(path), path)


def _state_in(content: bytes, path: Path | str) -> WorkerState:
    body = unseal(content, path)
    if (problem := misfit(body, WORKER)) is not None:
        raise CorruptFileError(f"{path}: is no document of a worker: {problem}")
    return WorkerState(**body)


def worker_paths(folder: Path) -> list[Path]:
    """The documents of the workers of a results folder, by name."""
    return sorted(path for path in (folder / WORKERS_FOLDER).glob(f"*{_ENDING}") if _is_document(path.name))


def _is_document(name: str) -> bool:
    return name.endswith(_ENDING) and ID.fullmatch(name.removesuffix(_ENDING)) is not None


class Lease:
    """The lease of this process; in its context a thread beats. `beats` counts those that were written.

    A beat that cannot be written is left out: others then take the pack over, which costs work and nothing else.
    """

    def __init__(self, store: SweepStore, beat_s: float | None = None) -> None:
        self.store, self.worker = store, new_worker_id()
        self.files: Files = store.files.inside(WORKERS_FOLDER)
        self.document = f"{self.worker}{_ENDING}"
        self._state = WorkerState(
            self.worker, socket.gethostname(), os.getpid(), 0, beat_interval_s() if beat_s is None else beat_s
        )
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._go_on_beating, name="lease", daemon=True)
        self.is_superseded = False

    @property
    def beats(self) -> int:
        """How often it has beaten."""
        return self._state.beats

    @property
    def beat_s(self) -> float:
        """Seconds between two beats."""
        return self._state.beat_s

    def hold(self, pack_id: str, attempt: int) -> None:
        """Say that this worker makes this attempt: before it is claimed, so that whoever sees the claim sees this."""
        self.is_superseded = False
        self._write(replace(self._state, pack_id=pack_id, attempt=attempt))

    def release(self, is_finished: bool = False) -> None:
        """Say that this worker has no pack, so that another may have it at once."""
        if self._state.pack_id is not None:
            num_packs = self._state.num_packs + is_finished
            self._write(replace(self._state, pack_id=None, attempt=0, num_packs=num_packs))

    def _write(self, state: WorkerState) -> None:
        with self._lock:
            self.files.put(self.document, seal(asdict(state)))
            self._state = state

    def beat(self) -> None:
        """Count one more, and look whether the attempt that it makes has been superseded. Raises OSError."""
        with self._lock:
            if self._is_over.is_set():
                return
            state = replace(self._state, beats=self._state.beats + 1)
            self.files.put(self.document, seal(asdict(state)))
            self._state = state
        if state.pack_id is not None and self.store.pack(state.pack_id).newest_attempt() > state.attempt:
            # Unless it has gone on to another one meanwhile.
            self.is_superseded = self._state.attempt == state.attempt and self._state.pack_id == state.pack_id

    def _go_on_beating(self) -> None:
        while not self._is_over.wait(self._state.beat_s):
            with contextlib.suppress(OSError):
                self.beat()

    def __enter__(self) -> Lease:
        # Nobody has its name, and this makes the folder.
        self.files.put_if_absent(self.document, seal(asdict(self._state)))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """End the lease: whatever it held is free at once, or later if a beat hangs in the file system."""
        self._is_over.set()
        is_locked = self._lock.acquire(timeout=_LONGEST_WRITE_S)
        try:
            with contextlib.suppress(OSError):
                self.files.delete([self.document])
        finally:
            if is_locked:
                self._lock.release()


@dataclass(frozen=True)
class _Seen:
    """A document as it was last found changed, after so many own beats; its state is None where it was never whole."""

    content: bytes
    own_beats: int
    state: WorkerState | None


class OtherLeases:
    """The leases of the other workers, as this one has observed them."""

    def __init__(self, own: Lease) -> None:
        self.own = own
        self._seen: dict[str, _Seen] = {}

    def look(self) -> list[WorkerState]:
        """The workers whose leases have not expired, as their documents say now; removes the documents of others.

        A damaged document stands for what it said before, for as long as it changes.
        """
        states, there, files = [], set[str](), self.own.files
        for name in sorted(filter(_is_document, files.names())):
            if name == self.own.document:
                continue
            try:
                content = files.get(name)
            except CorruptFileError:
                # Removed by its worker, or another thing than a file.
                continue
            there.add(name)
            seen = self._observed(name, content)
            if self._has_expired(seen):
                files.delete([name])
            elif seen.state is not None:
                states.append(seen.state)
        self._seen = {name: seen for name, seen in self._seen.items() if name in there}
        return states

    def _observed(self, name: str, content: bytes) -> _Seen:
        before = self._seen.get(name)
        if before is not None and before.content == content:
            return before
        state = None if before is None else before.state
        with contextlib.suppress(CorruptFileError, NewerFormatError):
            state = _state_in(content, self.own.files.address_of(name))
        self._seen[name] = found = _Seen(content, self.own.beats, state)
        return found

    def _has_expired(self, seen: _Seen) -> bool:
        beat_s = self.own.beat_s if seen.state is None else min(seen.state.beat_s, _LONGEST_BEAT_S)
        needed = BEATS_OF_A_LEASE * max(1, math.ceil(beat_s / self.own.beat_s))
        # The first of them may have come right after the look.
        return self.own.beats - seen.own_beats > needed
