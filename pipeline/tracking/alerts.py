"""What wandb tells users of a sweep while it trains: a pack failed, the sweep is done, how many runs will converge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.tracking.commits import CommitReader
from pipeline.tracking.progress import OVER, CommittedProgress

# At most one alert of a kind in so many seconds.
_FORECAST_S, _FAILED_S, _DONE_S = 3600.0, 60.0, 60.0


@dataclass(frozen=True)
class Alert:
    """One message; users who heard one with this title within `wait_s` seconds are not told again."""

    title: str
    text: str
    is_bad: bool
    wait_s: float


class Alerts:
    """Alerts that are due. None unless enabled: from an offline run they would arrive long after the event."""

    def __init__(self, reader: CommitReader, is_enabled: bool) -> None:
        self._reader, self._is_enabled = reader, is_enabled
        self._due: list[Alert] = []
        self._told_of: str | None = None
        self._is_done: bool | None = None

    def add_failed(self, pack_ids: Iterable[str]) -> None:
        """A launch says that these packs failed."""
        for pack_id in pack_ids:
            text = f"Pack {pack_id} failed; the others go on. The launch says why, and `seedbed resume` tries it again."
            self._due.append(Alert("A pack failed", text, True, _FAILED_S))

    def take(self, progress: CommittedProgress) -> list[Alert]:
        """What is due at this progress of the sweep, each once; of a sweep that was over before, nothing."""
        self._add_done(progress)
        self._add_forecast(progress)
        due, self._due = self._due, []
        return due if self._is_enabled else []

    def give_back(self, alerts: Iterable[Alert]) -> None:
        """These were not sent, and are due again."""
        self._due = [*alerts, *self._due]

    def _add_done(self, progress: CommittedProgress) -> None:
        is_done = progress.reason == OVER
        if is_done and self._is_done is False:
            values = self._reader.sweep_values()
            text = (
                f"{values['sweep/num_done']} runs ended: {values['sweep/num_converged']} converged, "
                f"{values['sweep/num_diverged']} diverged."
            )
            self._due.append(Alert("A sweep is done", f"{self._name}: {text}", False, _DONE_S))
        self._is_done = is_done

    def _add_forecast(self, progress: CommittedProgress) -> None:
        forecast, values = self._reader.forecast, self._reader.sweep_values()
        if forecast is None or progress.reason == OVER or "sweep/expected_converged" not in values:
            return
        if forecast.made_at != self._told_of:
            self._told_of = forecast.made_at
            hours = self._reader.seconds_per_run_step * values["sweep/run_steps_left"] / 3600
            text = (
                f"{values['sweep/expected_converged']:.1f} of {values['sweep/expected_of']} runs are expected to "
                f"converge, {values['sweep/num_converged']} of which have. Training the rest to their budgets costs "
                f"{values['sweep/run_steps_left']:,} run-steps, about {hours:.2g} hours of one worker."
            )
            self._due.append(Alert("How many runs will converge", f"{self._name}: {text}", False, _FORECAST_S))

    @property
    def _name(self) -> str:
        return str(self._reader.store.sweep["name"])
