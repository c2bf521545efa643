"""`seedbed watch`: serves the page until Ctrl-C."""

from __future__ import annotations

import secrets

from rich.console import Console

from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.watch.live_page import live_pages
from sweeps.command.watch.server import PageServer


def run_watch(store: SweepStore, budget: int | None, port: int, out: Console) -> None:
    """Serves the sweep's page at a port of this machine (0: a free one), prints its address, until Ctrl-C.

    Raises StoreError if there is no sweep, or the port cannot be had.
    """
    pages = live_pages(store, budget)
    try:
        server = PageServer(pages, secrets.token_urlsafe(24), port)
    except OSError as error:
        raise StoreError(f"port {port}: {error.strerror or error}; leave --port out for a free one") from None
    with server:
        out.print(f"page: {server.url}", markup=False, soft_wrap=True)
        out.print("It follows the sweep, for this machine alone, until Ctrl-C.")
        try:
            server.serve_forever(poll_interval=0.5)
        except KeyboardInterrupt:
            out.print("ended")
