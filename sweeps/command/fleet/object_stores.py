"""Sweeps on object stores, opened for what shows them and for workers, and copied for analyses."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pipeline.counted import counted
from pipeline.numerics.program_cache import cache_folder
from pipeline.store.backends.local_copy import fetch, sweep_document, sweep_on_objects
from pipeline.store.backends.objects import object_url
from pipeline.store.formats.sealed import unseal
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.terminal.wrapped import print_wrapped


@contextmanager
def sweep_at(place: Path) -> Iterator[SweepStore]:
    """In this context the sweep of a results folder, or at the URL of an object store, is open.

    Of the latter its documents are in a temporary folder, which is removed at the end.
    """
    url = object_url(place)
    if url is None:
        yield SweepStore(place)
        return
    with tempfile.TemporaryDirectory(prefix="seedbed-objects-") as folder:
        yield sweep_on_objects(url, Path(folder))


def local_sweep(place: Path, out: Console) -> SweepStore:
    """The sweep of a results folder; of one at a URL a copy in the user's cache folder, brought up to date here.

    What is written beside it is kept there, too, so the copy is named on `out`. A sweep that took the place of another
    at its URL has a copy of its own. Raises StoreError as `fetch`.
    """
    url = object_url(place)
    if url is None:
        return SweepStore(place)
    document = sweep_document(url)
    sweep_id = "" if document is None else unseal(document, url)["sweep_id"]
    folder = cache_folder() / "sweeps" / hashlib.sha256(f"{url} {sweep_id}".encode()).hexdigest()[:16]
    num_files = fetch(url, folder)
    print_wrapped(out, f"{url}: {counted(num_files, 'new file')} of packs copied to {folder}")
    return SweepStore(folder)


def run_fetch(place: Path, folder: Path, out: Console) -> int:
    """Copy the sweep at a URL to a folder, for all commands that read; returns the exit code of the command."""
    url = object_url(place)
    if url is None:
        raise StoreError(f"{place}: is no URL of an object store, such as s3://BUCKET/SWEEP")
    num_files = fetch(url, folder)
    print_wrapped(out, f"fetched: {counted(num_files, 'new file')} of packs in {folder}; next: seedbed status {folder}")
    return COMPLETE
