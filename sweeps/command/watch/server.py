"""A server of the page on this machine's loopback address, which answers only who has the token."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from analysis.page.html import content_policy, sweeps_html
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


# What is written into a results folder may be somebody else's: it runs this version's script alone, as a page of no
# origin, which reads nothing of this server.
_REPORT_POLICY = "sandbox allow-scripts allow-downloads"


@dataclass(frozen=True)
class Answer:
    """Content and its type; of HTML what it may load and do."""

    kind: str
    content: bytes
    policy: str = ""


class PageServer(ThreadingHTTPServer):
    """Serves the pages of `sweeps` (each budget -> page) under /TOKEN/ at a port of the loopback address; 0 is any.

    Of several sweeps the first page is a list.
    """

    daemon_threads = True

    def __init__(self, sweeps: Sequence[Mapping[int, LivePage]], token: str, port: int = 0) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.sweeps, self.token = sweeps, token
        self.lock = threading.Lock()
        self._refreshed_s: dict[LivePage, float] = {}

    @property
    def url(self) -> str:
        """Where the first page is."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def is_own_host(self, host: str) -> bool:
        """Whether a request was made to this address: another name may be somebody else's that leads here."""
        return host in (f"{ADDRESS}:{self.server_port}", f"localhost:{self.server_port}")

    def refresh(self, page: LivePage) -> None:
        """Take in a page's new commits, unless that was just done. Needs the lock."""
        if time.monotonic() - self._refreshed_s.get(page, -float("inf")) >= _AT_MOST_EVERY_S:
            page.refresh()
            self._refreshed_s[page] = time.monotonic()

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Answer | None:
        """The answer to a path below the token; None where there is nothing. Raises ValueError."""
        with self.lock:
            if path == "sweeps" or (path == "" and len(self.sweeps) > 1 and "sweep" not in query):
                return self._list(is_html=path == "")
            number = int(query.get("sweep", ["0"])[0])
            if not 0 <= number < len(self.sweeps):
                return None
            pages = self.sweeps[number]
            page = pages.get(int(query["budget"][0]) if "budget" in query else next(iter(pages)))
            return None if page is None else self._of_page(number, page, path, query)

    def _of_page(self, number: int, page: LivePage, path: str, query: Mapping[str, list[str]]) -> Answer | None:
        self.refresh(page)
        if path == "":
            text = page.html(self._links(number, page), f"report?{_query(number, page)}")
            return Answer(HTML, text.encode(), content_policy(is_live=True))
        if path == "changes":
            metrics = [name for name in json.loads(query["metrics"][0]) if isinstance(name, str)]
            found = page.changes(int(query["since"][0]), metrics)
            return Answer(JSON, json.dumps(found, allow_nan=False).encode())
        if path == "report":
            report = page.report()
            return (
                None if report is None else Answer(HTML, report, f"{content_policy(is_live=False)}; {_REPORT_POLICY}")
            )
        kind, _, name = path.partition("/")
        blob = page.blob(name) if kind == "blob" else None
        return None if blob is None else Answer(BYTES, blob)

    def _list(self, is_html: bool) -> Answer:
        rows = []
        for number, pages in enumerate(self.sweeps):
            for page in pages.values():
                self.refresh(page)
                address = f"?{_query(number, page)}"
                rows.append({"name": page.title(len(pages) > 1), "address": address, **page.standing()})
        if is_html:
            return Answer(HTML, sweeps_html(rows).encode(), content_policy(is_live=True))
        return Answer(JSON, json.dumps(rows, allow_nan=False).encode())

    def _links(self, number: int, shown: LivePage) -> list[tuple[str, str | None]]:
        first: list[tuple[str, str | None]] = [("All sweeps", "./")] if len(self.sweeps) > 1 else []
        pages = self.sweeps[number]
        if len(pages) == 1:
            return first
        return first + [
            (f"Budget {each}", None if page is shown else f"?{_query(number, page)}") for each, page in pages.items()
        ]


def _query(number: int, page: LivePage) -> str:
    return f"sweep={number}&budget={page.budget}"


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
        return self._send(HTTPStatus.OK, found)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send(status, Answer("text/plain; charset=utf-8", text.encode()))

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        self.send_response(status)
        headers = {**_HEADERS, "Content-Type": answer.kind, "Content-Length": str(len(answer.content))}
        if answer.policy:
            headers["Content-Security-Policy"] = f"{answer.policy}; frame-ancestors 'none'"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the address of a request holds the token."""

    def version_string(self) -> str:
        """The name of the server, without versions."""
        return "seedbed"
