"""A stand-in for wandb's server, on loopback: as much of it as runs, syncs, workspaces and reports need.

What it does is what wandb 0.31 asks of a server, as its requests show; it was never compared with wandb's own server
(`python -m tests.tracking.real_account` compares what matters with a real account). Its behaviour:

- GraphQL at /graphql, by operation name: `Viewer`, `GetDefaultEntity`, `UpsertBucket` (a run is made or changed),
  `RunResumeStatus` (what is known of a run: the number of history lines and the last one, by which a client resumes),
  `CreateRunFiles` (where to upload), `ProjectInternalId`, `GetProjects`, `NotifyScriptableRunAlert`, `ArtifactType`,
  `CreateArtifact`, `UpsertView2` and `upsertView` (workspace, report).
  Any other is answered with an empty object.
- History at /files/ENTITY/PROJECT/RUN/file_stream: lines by number from an offset. Lines that it has already are
  counted in `num_doubled`, and kept as they were last sent.
- A run that is new and whose config names a branch point (`fork_from`) begins with the history of that run up to that
  step, and counts these lines as its own. While `knows_forks` is off, and where it lacks that run, it refuses.
- PUT anywhere: an upload, whose bytes are kept in `uploads`.

Faults are taken one by one from `faults`, a list of (kind, seconds), by requests that carry history, or by all requests
if `faults_everything`:

- "429": refused, with Retry-After and RateLimit headers of these seconds;
- "500": an error of the server; "403": refused for good, after which wandb drops what it holds of the run;
- "hang": no answer for these seconds, then the connection is closed; the lines are not kept;
- "reset": the connection is reset before an answer; "lost": the lines are kept, and the connection reset.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RefusedError(Exception):
    """The server answers with 400 and this message."""


class Server(ThreadingHTTPServer):
    """See the module. Use it as a context that serves."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: dict[str, dict[int, dict]] = defaultdict(dict)
        self.arrived: dict[str, list[float]] = defaultdict(list)
        self.buckets: dict[str, dict] = defaultdict(dict)
        self.views: list[dict] = []
        self.alerts: list[dict] = []
        self.artifacts: list[dict] = []
        self.resumed: list[str] = []
        self.operations: list[str] = []
        self.uploads: dict[str, bytes] = {}
        self.faults: list[tuple[str, float]] = []
        self.faults_everything = False
        self.num_faults: dict[str, int] = defaultdict(int)
        self.num_doubled = 0
        self.knows_forks = True
        self.forks: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def serving(self) -> Server:
        """In the background, until the context ends."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    @property
    def variables(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": f"http://127.0.0.1:{self.server_address[1]}", "WANDB_API_KEY": "0123456789" * 4}

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def steps(self, tracked_id: str) -> list[int]:
        """The steps of a run's history, in the order of their lines."""
        return [line["_step"] for _, line in sorted(self.lines[tracked_id].items())]

    def take_fault(self, has_history: bool) -> tuple[str, float] | None:
        """The next fault, where this request is to have one."""
        with self._lock:
            if not self.faults or not (has_history or self.faults_everything):
                return None
            kind, seconds = self.faults.pop(0)
            self.num_faults[kind] += 1
            return kind, seconds

    def keep(self, tracked_id: str, offset: int, lines: list[str]) -> None:
        """History lines of a run from a number on."""
        with self._lock:
            known = self.lines[tracked_id]
            for number, line in enumerate(lines, start=offset):
                self.num_doubled += number in known
                known[number] = json.loads(line)
                self.arrived[tracked_id].append(time.time())

    def answer(self, operation: str, given: dict) -> dict:
        """What GraphQL answers."""
        self.operations.append(operation)
        of_project = {"id": "p", "name": "seedbed", "entity": {"id": "e", "name": "me"}}
        if operation == "Viewer":
            return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "GetDefaultEntity":
            return {"viewer": {"id": "u", "entity": "me"}}
        if operation == "CreateRunFiles":
            base = self.variables["WANDB_BASE_URL"]
            files = [{"name": name, "uploadUrl": f"{base}/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if operation == "RunResumeStatus":
            self.resumed.append(given["name"])
            return {"model": of_project | {"bucket": self.bucket(given["name"]) if self._knows(given) else None}}
        if operation == "UpsertBucket":
            is_new = not self._knows(given)
            branch = json.loads(given.get("config") or "{}").get("_wandb", {}).get("value", {}).get("branch_point")
            if branch is not None and is_new:
                self._fork(given["name"], branch["run_id"], int(branch["step"]))
            self.buckets[given["name"]] |= {key: value for key, value in given.items() if value is not None}
            bucket = self.bucket(given["name"]) | {"project": of_project}
            return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}
        if operation == "ProjectInternalId":
            return {"project": {"internalId": "aW50ZXJuYWw6cHJvamVjdA=="}}
        if operation == "GetProjects":
            node = {"__typename": "Project", "id": "p", "name": "seedbed", "entityName": "me", "createdAt": ""}
            edges = [{"node": node | {"isBenchmark": False, "user": None}}]
            return {"models": {"pageInfo": {"endCursor": None, "hasNextPage": False}, "edges": edges}}
        if operation == "NotifyScriptableRunAlert":
            self.alerts.append(given)
            return {"notifyScriptableRunAlert": {"success": True}}
        if operation == "ArtifactType":
            return {"project": {"artifact": None}}
        if operation == "CreateArtifact":
            self.artifacts.append(given["input"])
            # As if its files were there already, so that none is uploaded.
            sequence = {"latestArtifact": None}
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}
        if operation in ("UpsertView2", "upsertView"):
            self.views.append(given)
            about = {"id": "v", "name": given["name"], "spec": given["spec"], "type": given["type"]}
            about |= {
                "displayName": given["displayName"],
                "description": given["description"],
                "updatedAt": "2026-01-01T00:00:00Z",
            }
            about["project"] = {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}
            return {"upsertView": {"view": about, "inserted": True}}
        return {}

    def _fork(self, name: str, parent: str, step: int) -> None:
        if not self.knows_forks or parent not in self.buckets:
            raise RefusedError(f"no fork of {parent} can be made")
        self.forks[name] = (parent, step)
        inherited = [line for _, line in sorted(self.lines[parent].items()) if line["_step"] <= step]
        self.lines[name] = dict(enumerate(inherited))

    def _knows(self, given: dict) -> bool:
        return given["name"] in self.buckets

    def bucket(self, name: str) -> dict:
        lines = self.lines[name]
        tail = [json.dumps(lines[max(lines)])] if lines else []
        counts = {"historyLineCount": len(lines), "eventsLineCount": 0, "logLineCount": 0}
        texts = {"historyTail": json.dumps(tail), "eventsTail": "[]", "config": "{}", "summaryMetrics": "{}"}
        rest = {
            "displayName": self.buckets[name].get("displayName", name),
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

    def _reply(self, body: dict, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.server.uploads[self.path.lstrip("/")] = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._reply({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        history = body.get("files", {}).get("wandb-history.jsonl")
        fault = self.server.take_fault(bool(history))
        if fault is not None and fault[0] != "lost":
            self._fail(*fault)
            return
        if history:
            self.server.keep(self.path.split("/")[-2], history["offset"], history["content"])
        if fault is not None:
            self._fail("reset", 0)
        elif self.path.endswith("/graphql"):
            # Public queries come without a name of their own.
            named = body.get("operationName") or re.findall(r"(?:query|mutation)\s+(\w+)", body.get("query", "-"))[0]
            try:
                self._reply({"data": self.server.answer(named, body.get("variables") or {})})
            except RefusedError as error:
                self._reply({"errors": [{"message": str(error)}]}, 400)
        else:
            self._reply({})

    def _fail(self, kind: str, seconds: float) -> None:
        if kind == "429":
            wait = str(max(1, round(seconds)))
            limits = {"Retry-After": wait, "RateLimit-Remaining": "0", "RateLimit-Reset": wait}
            self._reply({"error": "rate limit"}, 429, limits)
        elif kind in ("500", "403"):
            self._reply({"error": kind}, int(kind))
        else:
            if kind == "hang":
                time.sleep(seconds)
            # Without a farewell: the client sees a reset.
            with contextlib.suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
