"""The wandb mirror: a separate process that reads a sweep's store and writes tracked runs; no training waits for it.

    seedbed mirror RESULTS [--follow]

Rows are written at every commit, from the moment a run begins. A mirror that is killed, falls behind or has no server
loses nothing: the next one writes what the ledger lacks (`live.py` says how rows are kept from being written twice).
Nothing is deleted, folders of others are not touched, and no link is followed.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.store.formats.sealed import NewerFormatError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.folder import LEDGER_FILE, mirror_lock, prepare_process, tracking_of, wandb_folder
from pipeline.tracking.forks import PLAIN_FORKS, Branches
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.live import LiveRuns
from pipeline.tracking.writer import UploadError, Writer

POLL_INTERVAL_S = 2.0
# Passes over many runs take long: of a core, which training needs, at most this share.
_MOST_OF_A_CORE = 0.1
_MOST_INPUT = 65536

# Waits until the next pass; returns the packs that failed, or None when the last pass is due.
Wait = Callable[[], Sequence[str] | None]


def mirror(
    folder: Path,
    wait: Wait | None = None,
    max_runs: int | None = None,
    until_over: bool = False,
    *,
    tell: Callable[[str], None],
) -> None:
    """Write what the ledger lacks; with `wait`, pass by pass until it returns None, or the sweep is over if asked.

    `tell` is given a sentence, once, where forks cannot be mirrored as forks. Changes this process: see
    `prepare_process`. Raises StoreError where the folder holds no sweep, tracking is disabled, or, without `wait`,
    another mirror is at work on it; UploadError where something is missing.
    """
    # Unlike `resolve`, not an error of its own for links in a circle: opening what is there names the file.
    folder = Path(os.path.realpath(folder))
    store = SweepStore(folder)
    tracking = tracking_of(store)
    if tracking.mode == "disabled":
        raise StoreError(f"{folder}: its spec has tracking.mode: disabled")
    prepare_process(folder)
    with mirror_lock(folder, waits=wait is not None):
        ledger, branches = Ledger.read(wandb_folder(folder) / LEDGER_FILE), Branches.of(store, tracking)
        ledger.set_aside_unnamed(store.sweep["sweep_id"], branches.points.keys())
        if branches.problem:
            tell(f"{PLAIN_FORKS}: {branches.problem}")
        reader = CommitReader(store, max_runs)
        writer = Writer(folder, tracking, tell)
        live = LiveRuns(reader, writer, ledger, is_online=tracking.mode == "online", branches=branches.points)
        try:
            failed: Sequence[str] | None = ()
            while wait is not None and (failed := wait()) is not None:
                live.write_new(failed)
                if until_over and reader.is_over:
                    break
            live.write_last()
        finally:
            writer.close()


class DrivenWait:
    """Waits for the next pass of a mirror that a launch drives, by lines of its standard input, until that ends.

    `clock` is the processor time of this process, by which a wait is long enough after a long pass.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.process_time) -> None:
        self._interval_s, self._clock = interval_s, clock
        self._began_s = clock()
        self._rest = b""

    def __call__(self) -> Sequence[str] | None:
        """Ids of the packs that failed since the last pass; None once the input has ended."""
        ready, _, _ = select.select([0], [], [], self.interval_s)
        self._began_s = self._clock()
        if not ready:
            return ()
        read = os.read(0, _MOST_INPUT)
        if not read:
            return None
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [str(json.loads(line)["failed"]) for line in lines if line.startswith(b"{")]

    @property
    def interval_s(self) -> float:
        """Seconds until the next pass, by what this one has cost so far."""
        return max(self._interval_s, (self._clock() - self._began_s) * (1 / _MOST_OF_A_CORE - 1))


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The process that a launch starts; exit code 1 with a line on standard error on failure."""
    parser = argparse.ArgumentParser("python -P -m pipeline.tracking.mirror")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--driven", action="store_true", help="go on until standard input ends")
    parser.add_argument("--max-runs", type=int, help="most runs to mirror one by one (default: as the spec says)")
    parser.add_argument("--interval-s", type=float, default=POLL_INTERVAL_S, help="seconds between two passes")
    given = parser.parse_args(arguments)
    try:
        mirror(given.folder, DrivenWait(given.interval_s) if given.driven else None, given.max_runs, tell=_tell)
    except (StoreError, NewerFormatError, UploadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"{error}: install it, or set tracking.mode: disabled", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
