"""`seedbed watch`: serves the page until Ctrl-C."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from rich.console import Console

from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.sources import judged_alike
from sweeps.command.watch.live_page import live_pages
from sweeps.command.watch.server import PageServer


def run_watch(
    stores: Sequence[SweepStore], budget: int | None, port: int, out: Console, criterion: str | None = None
) -> None:
    """Serves the sweeps' pages at a port of this machine (0: a free one), prints its address, until Ctrl-C.

    Raises StoreError if a folder has no sweep, or the port cannot be had.
    """
    for store in stores:
        # A folder without a sweep is refused before the others are read.
        _ = store.sweep
    sweeps = [live_pages(store, budget, judged_alike([store], criterion)) for store in stores]
    try:
        server = PageServer(sweeps, secrets.token_urlsafe(24), port)
    except OSError as error:
        raise StoreError(f"port {port}: {error.strerror or error}; leave --port out for a free one") from None
    told = "the sweep" if len(stores) == 1 else f"{len(stores)} sweeps"
    with server:
        out.print(f"page: {server.url}", markup=False, soft_wrap=True)
        out.print(f"It follows {told}, for this machine alone, until Ctrl-C.")
        try:
            server.serve_forever(poll_interval=0.5)
        except KeyboardInterrupt:
            out.print("ended")
