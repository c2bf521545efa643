"""Leaves Ray Tune once a launch was asked to stop and no pack trains: what Tune still waits for trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.store.sweep_store import SweepStore


class LeftError(BaseException):
    """Raised out of Tune's loop. Not an Exception, upon which Tune tidies up."""


def leaver_of(tune: Any, store: SweepStore, pack_ids: Sequence[str]) -> Any:
    """A callback of Ray Tune for trials of these packs, which have not begun; it raises LeftError.

    On a busy computer Tune waits for seconds for workers that still start and would only find that they are to stop,
    and again until all of them have ended, which the end of Ray or of its job does. A pack that a worker has begun
    claims an attempt first, and its trial ends when it has committed.
    """
    attempts = {pack_id: store.pack(pack_id).newest_attempt() for pack_id in pack_ids}

    class Leaving(tune.Callback):  # type: ignore[misc]
        """Knows which packs have begun, by their attempts, and which trials have ended; `errors` are of lost ones."""

        def __init__(self) -> None:
            self.ended: set[str] = set()
            self.errors: dict[str, Any] = {}

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.ended.add(trial.config["pack_id"])

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.ended.add(trial.config["pack_id"])
            self.errors[trial.config["pack_id"]] = trial.get_error()

        def on_step_end(self, iteration: int, trials: Any, **_: Any) -> None:
            if store.stop_file.exists() and not any(map(trains, attempts.keys() - self.ended)):
                raise LeftError

    def trains(pack_id: str) -> bool:
        return store.pack(pack_id).newest_attempt() > attempts[pack_id]

    return Leaving()
