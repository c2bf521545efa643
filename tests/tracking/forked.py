"""A process that has imported the mirror and wandb, whose forked children are mirrors that take no start.

    python -m tests.tracking.forked

It reads a line of JSON for each: what its environment is, its arguments, and where it writes its standard error; and
answers with the exit code. What a mirror does before it imports wandb is seen in real processes alone.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

MODULES = ("pipeline.tracking.mirror", "wandb", "wandb.sdk.lib.service.service_process")


@cache
def _server() -> subprocess.Popen[str]:
    """The process, one for all tests of this one; it ends with it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    # wandb reads it when it is imported.
    environment["WANDB_ERROR_REPORTING"] = "false"
    command = [sys.executable, "-m", "tests.tracking.forked"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


def forked_mirror(arguments: list[str], environment: dict[str, str], errors: str) -> int:
    """The exit code of a mirror with these arguments, in a child of the server; `errors` is the file of its errors."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    asked = {"arguments": arguments, "environment": environment, "errors": errors}
    print(json.dumps(asked), file=server.stdin, flush=True)
    return int(server.stdout.readline())


def _be_mirror(asked: dict[str, Any]) -> None:
    code = 70
    try:
        for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, flags), number)
        os.dup2(os.open(asked["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        os.environ.clear()
        os.environ.update(asked["environment"])
        from pipeline.tracking.mirror import main

        code = main(asked["arguments"])
    finally:
        sys.stderr.flush()
        # Nothing that is done at exit: a folder for temporary files is that of the server.
        os._exit(code)


def serve() -> None:
    """Answer until standard input ends."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _be_mirror(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
