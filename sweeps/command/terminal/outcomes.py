"""The outcomes of a sweep so far, as a launch prints them at its end."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from analysis.outcomes.incidence import incidence
from analysis.outcomes.settings import runs_by_setting
from analysis.summary.near import describe_unmet
from analysis.summary.setting_table import setting_table, wrap
from analysis.summary.settings import describe_intervals, summarise_settings
from pipeline.store.sweep_store import SweepStore
from sweeps.command.sources import SweepData, read_sources
from sweeps.command.terminal.wrapped import columns_of

_MOST_SETTINGS, _BOOTSTRAP, _SEED = 20, 1000, 0


def print_outcomes(store: SweepStore, out: Console) -> None:
    """Print the outcomes of every setting so far, with intervals; nothing where no run has recorded anything."""
    if not store.newest_records():
        return
    begun = [source for source in read_sources([store]).values() if source.is_begun]
    for line in (line for source in begun for line in _outcomes(source, columns_of(out))):
        out.print(line)


def _outcomes(source: SweepData, width: int) -> Iterator[str]:
    history, outcomes = source.history, source.outcomes
    by_setting = {
        setting: incidence(outcomes, history.runs, member_R, copies_R=source.copies_R, bootstrap=_BOOTSTRAP, seed=_SEED)
        for setting, member_R in runs_by_setting(history).items()
    }
    settings = summarise_settings(history, outcomes, by_setting, _BOOTSTRAP, _SEED)
    yield f"converged within {history.budget} steps, with 95% intervals:"
    yield from setting_table(settings, _MOST_SETTINGS, width)
    if unmet := describe_unmet(history, outcomes):
        yield from wrap(unmet, width)
    if any(setting.is_estimated for setting in settings):
        yield from wrap(next(told for told in describe_intervals(settings) if told.startswith("By step")), width)
