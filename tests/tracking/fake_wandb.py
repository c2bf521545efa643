"""As much of a wandb server, on loopback, as the tests of the mirror need."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """As much of a wandb server as runs and syncs need: history lines by run, and one answer 429 if asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: dict[str, dict[int, dict]] = defaultdict(dict)
        self.buckets: dict[str, dict] = defaultdict(dict)
        self.refusals = 0
        self.num_refused = self.num_doubled = 0

    @property
    def variables(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_address[1]}", "WANDB_API_KEY": "0123456789" * 4}

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def steps(self, tracked_id: str) -> list[int]:
        return [line["step"] for _, line in sorted(self.lines[tracked_id].items())]

    def answer(self, operation: str, given: dict) -> dict:
        of_project = {"id": "p", "name": "seedbed", "entity": {"id": "e", "name": "me"}}
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": self.variables["WANDB_BASE_URL"]} for name in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if operation == "RunResumeStatus":
            return {"model": of_project | {"bucket": self.bucket(given["name"]) if self._knows(given) else None}}
        if operation == "UpsertBucket":
            is_new = not self._knows(given)
            self.buckets[given["name"]] |= {key: value for key, value in given.items() if value is not None}
            return {
                "upsertBucket": {"bucket": self.bucket(given["name"]) | {"project": of_project}, "inserted": is_new}
            }
        return {}

    def _knows(self, given: dict) -> bool:
        return given["name"] in self.buckets

    def bucket(self, name: str) -> dict:
        lines = self.lines[name]
        tail = [json.dumps(lines[max(lines)])] if lines else []
        counts = {"historyLineCount": len(lines), "eventsLineCount": 0, "logLineCount": 0}
        texts = {"historyTail": json.dumps(tail), "eventsTail": "[]", "config": "{}", "summaryMetrics": "{}"}
        rest = {
            "displayName": name,
            "description": "",
            "sweepName": None,
            "tags": [],
            "notes": "",
            "wandbConfig": '{"t": 1}',
        }
        return {"id": f"b-{name}", "name": name, **counts, **texts, **rest}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def _reply(self, body: dict, status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._reply({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        if self.path.endswith("/graphql"):
            self._reply({"data": self.server.answer(body["operationName"], body.get("variables") or {})})
            return
        history = body.get("files", {}).get("wandb-history.jsonl")
        if history and self.server.refusals:
            self.server.refusals -= 1
            self.server.num_refused += 1
            self._reply({"error": "rate limit"}, 429)
            return
        if history:
            lines = self.server.lines[self.path.split("/")[-2]]
            for number, line in enumerate(history["content"], start=history["offset"]):
                self.server.num_doubled += number in lines
                lines[number] = json.loads(line)
        self._reply({})
