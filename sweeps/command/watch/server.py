"""A server of the page on this machine's loopback address, which answers only who has the token."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from analysis.page.html import content_policy
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import StoreError
from sweeps.command.watch.live_page import LivePage

ADDRESS = "127.0.0.1"
# The store is looked at when somebody asks, but not more often than this.
_AT_MOST_EVERY_S = 0.8
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
HTML, JSON, BYTES = "text/html; charset=utf-8", "application/json", "application/octet-stream"


class PageServer(ThreadingHTTPServer):
    """Serves `pages` (budget -> page) under /TOKEN/ at a port of the loopback address; 0 is any free one."""

    daemon_threads = True

    def __init__(self, pages: Mapping[int, LivePage], token: str, port: int = 0) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.pages, self.token = pages, token
        self.lock = threading.Lock()
        self._refreshed_s = -float("inf")

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def is_own_host(self, host: str) -> bool:
        """Whether a request was made to this address: another name may be somebody else's that leads here."""
        return host in (f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}")

    def refresh(self) -> None:
        """Take in new commits, unless that was just done. Needs the lock."""
        if time.monotonic() - self._refreshed_s >= _AT_MOST_EVERY_S:
            for page in self.pages.values():
                page.refresh()
            self._refreshed_s = time.monotonic()

    def answer(self, path: str, query: Mapping[str, list[str]]) -> tuple[str, bytes] | None:
        """Content type and content of a path below the token; None where there is nothing. Raises ValueError."""
        with self.lock:
            self.refresh()
            page = self.pages.get(int(query["budget"][0]) if "budget" in query else next(iter(self.pages)))
            if page is None:
                return None
            if path == "":
                return HTML, page.html(self._links(page)).encode()
            if path == "changes":
                metrics = [name for name in json.loads(query["metrics"][0]) if isinstance(name, str)]
                found = page.changes(int(query["since"][0]), metrics)
                return JSON, json.dumps(found, allow_nan=False).encode()
            kind, _, name = path.partition("/")
            blob = page.blob(name) if kind == "blob" else None
            return None if blob is None else (BYTES, blob)

    def _links(self, shown: LivePage) -> list[tuple[str, str | None]]:
        if len(self.pages) == 1:
            return []
        return [(f"Budget {each}", None if page is shown else f"?budget={each}") for each, page in self.pages.items()]


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        token, _, path = parts.path.removeprefix("/").partition("/")
        if not self.server.is_own_host(self.headers.get("Host", "")):
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This address is not the page's.")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()) or "/" not in parts.path[1:]:
            return self._refuse(HTTPStatus.FORBIDDEN, "The address must hold the token that seedbed watch printed.")
        try:
            found = self.server.answer(path, parse_qs(parts.query))
        except (ValueError, KeyError, TypeError, IndexError):
            return self._refuse(HTTPStatus.BAD_REQUEST, "This request is not one of the page's.")
        except (StoreError, CorruptFileError, OSError) as error:
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if found is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
        return self._send(HTTPStatus.OK, *found)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send(status, "text/plain; charset=utf-8", text.encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}
        if kind == HTML:
            headers["Content-Security-Policy"] = f"{content_policy(is_live=True)}; frame-ancestors 'none'"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the address of a request holds the token."""

    def version_string(self) -> str:
        """The name of the server, without versions."""
        return "seedbed"
