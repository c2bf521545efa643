"""`seedbed analyse`: outcomes, times to convergence and forecasts from the commits so far, of one sweep or several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.forecasting.by_budget import forecasts_document
from analysis.forecasting.ceiling import read_ceiling
from analysis.forecasting.live import forecast_running
from analysis.summary.analyse import Analysis, analyse
from analysis.summary.by_budget import AnalysisByBudget
from pipeline.store.budgets import budgets_json
from pipeline.store.files import make_folder, write_file
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts.newest_forecast import keep_forecast
from sweeps.command.sources import SweepData, judged_alike, read_source, read_sources
from sweeps.command.terminal.wrapped import columns_of

# The name of a folder that is made for several sweeps; file systems allow 255 bytes.
_MAX_NAME = 200
# Runs of which an analysis is looked at as it stands in its file.
_MOST_INDENTED = 5_000


@dataclass(frozen=True)
class Analysed:
    """The analyses of a sweep, or of several as one, by increasing budget, each with the folder that it is in.

    `whole` joins them where there are several, or one of several that was asked for is left; `folder` is where it is.
    """

    parts: tuple[tuple[Analysis, Path], ...]
    folder: Path
    whole: AnalysisByBudget | None = None


def analysis_of(stores: Sequence[SweepStore], budget: int | None = None) -> Analysis:
    """The analysis of the commits so far, by the sweeps' own criterion, of the runs with this budget.

    Raises StoreError if there are none, several sweeps cannot be joined, or a sweep has several budgets.
    """
    return _analysis(read_source(stores, budget), stores, is_own=True)


def _analysis(source: SweepData, stores: Sequence[SweepStore], is_own: bool) -> Analysis:
    # Forks were judged by the sweep's own criterion.
    ceiling = _ceiling(stores[0], source.history.budget) if len(stores) == 1 and is_own else []
    criterion = source.outcomes.criterion
    return analyse(
        source.history,
        criterion,
        source.provenance,
        outcomes=source.outcomes,
        copies_R=source.copies_R,
        ceiling=ceiling,
    )


def _ceiling(store: SweepStore, budget: int) -> list[dict[str, Any]]:
    """The rows of the sweep's ceiling, none where it has none for its budget; of several sweeps there is none."""
    found = read_ceiling(store.folder_of(budget))
    return [] if found is None or found.get("budget") != budget else list(found["rows"])


def run_analyse(
    stores: Sequence[SweepStore],
    budget: int | None,
    to: Path | None,
    out: Console,
    with_scores: bool = False,
    criterion: str | None = None,
) -> Analysed:
    """Writes analysis.json and prints a summary, with the score tables of every predictor if asked for.

    Its folder is `to`; without it the results folder of a single sweep, and for several one beside the first, named
    after all. Of sweeps with several budgets there is one analysis for each, in `budget-B` inside that folder, and
    joined tables in the folder itself; with `budget` that one alone. Forecasts of a single sweep's runs in training are
    kept in its folder. By another `criterion` than the sweeps' own (see `judged_alike`) all is written in
    `criterion-NAME` inside that folder, and no forecast is kept. Raises StoreError as `analysis_of`.
    """
    judged = judged_alike(stores, criterion)
    folder = _folder(stores, to)
    if not judged.is_own and (to is None or SweepStore(folder).exists()):
        folder = folder / judged.folder
    sources = list(read_sources(stores, budget, criterion).values())
    is_mixed = any(len(store.budgets) > 1 for store in stores)
    parts = []
    for source in sources:
        if not source.is_begun:
            out.print(f"budget {source.history.budget} steps: nothing is committed yet")
            continue
        inside = folder / f"budget-{source.history.budget}" if is_mixed else folder
        parts.append((_analysis(source, stores, judged.is_own), inside))
        _write(inside, parts[-1][0].to_json(), stores)
    if not is_mixed or budget is not None:
        found = Analysed(tuple(parts), folder)
        out.print(parts[0][0].summary(with_scores, columns_of(out)), markup=False)
    else:
        found = Analysed(tuple(parts), folder, AnalysisByBudget(tuple(part for part, _ in parts)))
        assert found.whole is not None
        _write(folder, found.whole.to_json(), stores)
        out.print(found.whole.summary(with_scores, columns_of(out)), markup=False)
    if len(stores) == 1 and judged.is_own and (not is_mixed or budget is None):
        _keep_forecasts(stores[0], sources, [part for part, _ in parts])
    if len(stores) > 1 or is_mixed or not judged.is_own:
        for _, inside in parts:
            out.print(f"analysis: {inside / 'analysis.json'}", markup=False)
    return found


def _keep_forecasts(store: SweepStore, sources: Sequence[SweepData], analyses: Sequence[Analysis]) -> None:
    """Keep the forecasts of all runs in training, those of budgets of which no run has begun included."""
    found = [analysis.forecasts for analysis in analyses if analysis.forecasts is not None]
    found += [forecast_running(source.history, source.outcomes) for source in sources if not source.is_begun]
    if found:
        document = forecasts_document(found, budgets_json(store.plan))
        keep_forecast(store, sources[0].orders, len(store.plan["runs"]), document)


def _write(folder: Path, document: Mapping[str, Any], stores: Sequence[SweepStore]) -> None:
    make_folder(folder, is_shared=bool(stores[0].folder.stat().st_mode & 0o020))
    # Indented, the document of many runs takes Python's own encoder, which is many times slower.
    indent = 1 if len(document["runs"]) <= _MOST_INDENTED else None
    write_file(folder / "analysis.json", json.dumps(document, indent=indent, allow_nan=False).encode())


def _folder(stores: Sequence[SweepStore], to: Path | None) -> Path:
    """Where to write. Raises StoreError for a folder of another sweep, whose analysis would be replaced."""
    if len(stores) == 1 and to is None:
        return stores[0].folder
    name = "+".join(store.folder.resolve().name for store in stores)[:_MAX_NAME]
    folder = stores[0].folder.resolve().parent / name if to is None else to
    if SweepStore(folder).exists() and (len(stores) > 1 or folder.resolve() != stores[0].folder.resolve()):
        raise StoreError(f"{folder}: holds a sweep of its own; name another folder with --out")
    return folder
