"""Tables as files: Parquet, CSV, and Zarr."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet

from analysis.tables.sweep import Sweep, imported
from pipeline.store.files import make_folder

FORMATS = ("parquet", "csv", "zarr")


def write_tables(sweep: Sweep, folder: Path, kind: str) -> list[Path]:
    """Writes the tables of a sweep into `folder`, made if missing; returns what was written, replacing older files.

    `kind` is parquet or csv (`runs` and `metrics`, joined by `run_id`), or zarr (one array a metric; a folder).
    Raises StoreError where a library is missing.
    """
    make_folder(folder, is_shared=False)
    if kind == "zarr":
        return [_write_zarr(sweep, folder / "sweep.zarr")]
    written = []
    for name, table in (("runs", sweep.runs()), ("metrics", sweep.metrics())):
        path = folder / f"{name}.{kind}"
        unfinished = path.with_name(f".{path.name}.tmp")
        if kind == "parquet":
            pyarrow.parquet.write_table(table, unfinished, compression="zstd", write_page_checksum=True)
        else:
            pyarrow.csv.write_csv(table, unfinished)
        unfinished.replace(path)
        written.append(path)
    return written


def _write_zarr(sweep: Sweep, path: Path) -> Path:
    imported("zarr")
    dataset = sweep.to_xarray()
    # A column of text with gaps has no type that Zarr knows; without a value it is the empty text.
    for name, column in dataset.coords.items():
        if column.dtype == object:
            dataset = dataset.assign_coords({name: (column.dims, ["" if v is None else str(v) for v in column.values])})
    unfinished = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    # Of version 3, text of fixed length has no specification yet.
    dataset.to_zarr(unfinished, mode="w", zarr_format=2)
    shutil.rmtree(path, ignore_errors=True)
    unfinished.replace(path)
    return path
