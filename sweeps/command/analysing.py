"""`seedbed analyse`: outcomes, times to convergence and forecasts from the commits so far, of one sweep or several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.forecasting.ceiling import read_ceiling
from analysis.summary.analyse import Analysis, analyse
from pipeline.store.files import make_folder, write_file
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.forecasts.newest_forecast import keep_forecast
from sweeps.command.sources import SweepData, read_source

# The name of a folder that is made for several sweeps; file systems allow 255 bytes.
_MAX_NAME = 200


def analysis_of(stores: Sequence[SweepStore]) -> Analysis:
    """The analysis of the commits so far, by the sweeps' own criterion.

    Raises StoreError if there are none, or several sweeps cannot be joined.
    """
    return _analysis(read_source(stores), stores)


def _analysis(source: SweepData, stores: Sequence[SweepStore]) -> Analysis:
    ceiling = _ceiling(stores[0]) if len(stores) == 1 else []
    criterion = source.outcomes.criterion
    return analyse(
        source.history,
        criterion,
        source.provenance,
        outcomes=source.outcomes,
        copies_R=source.copies_R,
        ceiling=ceiling,
    )


def _ceiling(store: SweepStore) -> list[dict[str, Any]]:
    """The rows of the sweep's ceiling, none where it has none for its budget; of several sweeps there is none."""
    found = read_ceiling(store.folder)
    return [] if found is None or found.get("budget") != store.plan["budget"] else list(found["rows"])


def run_analyse(stores: Sequence[SweepStore], to: Path | None, out: Console) -> tuple[Analysis, Path]:
    """Writes analysis.json and prints a summary; the analysis, and the folder that it is in.

    That is `to`; without it the results folder of a single sweep, and for several one beside the first, named after
    all. Forecasts of a single sweep's runs in training are kept in its folder. Raises StoreError as `analysis_of`.
    """
    folder = _folder(stores, to)
    source = read_source(stores)
    found = _analysis(source, stores)
    make_folder(folder, is_shared=bool(stores[0].folder.stat().st_mode & 0o020))
    write_file(folder / "analysis.json", json.dumps(found.to_json(), indent=1, allow_nan=False).encode())
    if found.forecasts is not None and len(stores) == 1:
        keep_forecast(stores[0], source.orders, len(source.history.runs), found.forecasts.to_json())
    out.print(found.summary(), markup=False)
    if len(stores) > 1:
        out.print(f"analysis: {folder / 'analysis.json'}", markup=False)
    return found, folder


def _folder(stores: Sequence[SweepStore], to: Path | None) -> Path:
    """Where to write. Raises StoreError for a folder of another sweep, whose analysis would be replaced."""
    if len(stores) == 1 and to is None:
        return stores[0].folder
    name = "+".join(store.folder.resolve().name for store in stores)[:_MAX_NAME]
    folder = stores[0].folder.resolve().parent / name if to is None else to
    if SweepStore(folder).exists() and (len(stores) > 1 or folder.resolve() != stores[0].folder.resolve()):
        raise StoreError(f"{folder}: holds a sweep of its own; name another folder with --out")
    return folder
