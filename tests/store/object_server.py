"""An S3 server for tests: moto's, whose calls are answered one at a time, and of which a share loses their answers.

`python -m tests.store.object_server --lost 0.02 --refused 0.02 COMMAND` serves the bucket `seedbed` while COMMAND runs.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Start = Callable[..., Any]


class FaultyServer:
    """A WSGI application before another: it holds a lock, and answers 503 before or after a call was done.

    The lock makes a conditional write one step, as it is on S3; in moto it is a look and a write.
    """

    def __init__(self, inner: Any, lost: float, refused: float, seed: int) -> None:
        self.inner, self.lost, self.refused = inner, lost, refused
        self._chance, self._lock = random.Random(seed), threading.Lock()
        self.counts = {"calls": 0, "lost": 0, "refused": 0}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        with self._lock:
            self.counts["calls"] += 1
            drawn = self._chance.random()
            if environ["PATH_INFO"] == "/fault-counts":
                start("200 OK", [("Content-Type", "text/plain")])
                return [str(self.counts).encode()]
            if drawn < self.refused:
                return self._refuse(environ, start, "refused")
            if drawn < self.refused + self.lost:
                b"".join(self.inner(environ, lambda *_: None))
                return self._refuse(environ, start, "lost")
            return list(self.inner(environ, start))

    def _refuse(self, environ: dict[str, Any], start: Start, kind: str) -> Iterable[bytes]:
        self.counts[kind] += 1
        if kind == "refused":
            # What was sent must be read, or it is taken for the next call on this connection.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("503 Slow Down", [("Content-Length", "0")])
        return [b""]


def main() -> None:
    """Serve one bucket while a command runs, and exit with its code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5616)
    parser.add_argument("--lost", type=float, default=0.0)
    parser.add_argument("--refused", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    server = FaultyServer(moto_with_a_bucket(), given.lost, given.refused, given.seed)
    serving = make_server("127.0.0.1", given.port, server, threaded=True)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    code = subprocess.call(given.command, env=os.environ | environment(given.port))
    print(f"the server's calls: {server.counts}")
    sys.exit(code)


def moto_with_a_bucket() -> Any:
    """Moto's WSGI application, with the bucket `seedbed`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].create_bucket("seedbed", "us-east-1")
    return DomainDispatcherApplication(create_backend_app)


def environment(port: int) -> dict[str, str]:
    """What a client needs to find the server."""
    return {
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


if __name__ == "__main__":
    main()
