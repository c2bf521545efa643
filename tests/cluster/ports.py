"""Every port that a local Ray opens, tried by a stranger: another user without the token, or with a wrong one."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bench import between
from tests.cluster.grpc_probe import HARMFUL, METHODS, UNAUTHENTICATED, UNIMPLEMENTED, Answer, ask
from tests.cluster.processes import ROOT, Started, until
from tests.faults.table import table_row

PAGE = ROOT / "docs" / "security.md"
MARKERS = ("<!-- ports: begin -->", "<!-- ports: end -->")


NOBODY = 65534
LOOPBACK = {"127.0.0.1", "::1"}
START_S = 180.0
_WRONG = "0" * 64
# What a launch does: connect, one worker at work; then it waits until its standard output is looked at.
_RAY = """
import os, sys, time
from pathlib import Path
from pipeline.launch.ray_folder import private_folder
from pipeline.launch.ray_session import connect
with private_folder() as folder:
    ray, tune = connect(None, folder)
    ray.get(ray.remote(lambda: os.getpid()).remote())
    (Path.cwd() / "token").write_text(os.environ["RAY_AUTH_TOKEN"])
    os.rename("token", "up")
    while Path("up").exists() and os.getppid() > 1:
        time.sleep(0.2)
    ray.shutdown()
"""


@dataclass(frozen=True)
class Port:
    """A listening socket: the process that holds it, in a word, and the address that it listens at."""

    process: str
    address: str
    port: int


@dataclass(frozen=True)
class PortVerdict:
    """What strangers and the owner got from a port: numbers of calls by how they were answered."""

    process: str
    address: str
    port: int
    num_calls: int
    num_refused: int
    num_served: int
    # Calls that the port answered to the right token and that are thus known to reach something.
    num_served_owner: int
    served: tuple[str, ...]


@contextmanager
def local_ray() -> Iterator[tuple[Started, str, Path]]:
    """A local Ray as a launch starts it: its processes, its token, and the folder that its session lies in."""
    with tempfile.TemporaryDirectory(prefix="sbp", dir="/tmp") as name:
        cwd = Path(name)
        (cwd / "t").mkdir()
        started = Started([sys.executable, "-c", _RAY], cwd, {"TMPDIR": str(cwd / "t"), "PYTHONSAFEPATH": "1"})
        try:
            until(lambda: (cwd / "up").exists() or started.process.poll() is not None, START_S, 0.5)
            if not (cwd / "up").exists():
                raise RuntimeError(f"Ray did not start: {started.output[-500:]}")
            token = (cwd / "up").read_text()
            yield started, token, cwd / "t"
            (cwd / "up").unlink()
            started.wait(60)
        finally:
            started.kill_all()


def listening(pids: Sequence[int]) -> list[Port]:
    """The TCP sockets at which these processes listen."""
    sockets = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                host, _, port = fields[1].partition(":")
                sockets[f"socket:[{fields[9]}]"] = (_address(host), int(port, 16))
    found = set()
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inode = os.readlink(path)
            except OSError:
                continue
            if inode in sockets:
                found.add(Port(_word(pid), *sockets[inode]))
    return sorted(found, key=lambda port: (port.process, port.port))


def _address(text: str) -> str:
    """The address that /proc/net/tcp or tcp6 shows in hexadecimal, word by word in the machine's order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    content = b"".join(words)
    if len(content) == 16 and content[:12] != bytes(10) + b"\xff\xff":
        return "::1" if content == bytes(15) + b"\1" else "::" if not any(content) else content.hex()
    return ".".join(str(byte) for byte in content[-4:])


def _word(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    for word in ("gcs_server", "raylet", "RuntimeEnvAgent", "DashboardAgent", "dashboard.py", "monitor.py"):
        if word in line:
            return word
    return "worker" if line.startswith("ray::") else "driver"


def as_nobody(port: int, token: str | None) -> list[Answer]:
    """What `ask` gives in a child that is another user, where this process may become one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become_nobody()
            answers = [asdict(answer) for answer in ask(port, token, METHODS + HARMFUL)]
            # No more than a pipe holds.
            os.write(writing, json.dumps(answers).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    return [Answer(**answer) for answer in json.loads(text)]


def try_port(port: Port, token: str) -> PortVerdict:
    """Ask a port as a stranger without a token and with a wrong one, then as the owner, harmless calls alone."""
    strange = [answer for wrong in (None, _WRONG) for answer in as_nobody(port.port, wrong)]
    owner = ask(port.port, token, METHODS)
    served = [answer for answer in strange if is_served(answer)]
    return PortVerdict(
        port.process,
        port.address,
        port.port,
        num_calls=len(strange),
        num_refused=sum(is_refused(answer) for answer in strange),
        num_served=len(served),
        num_served_owner=sum(is_served(answer) for answer in owner),
        served=tuple(f"{answer.call}: {answer.status} {answer.text[:60]}" for answer in served),
    )


def is_refused(answer: Answer) -> bool:
    """Whether a port said that the caller may not."""
    return answer.status in (UNAUTHENTICATED, 401, 403)


def is_served(answer: Answer) -> bool:
    """Whether a port did something with a call: it neither refused it, nor is without such a call, nor stayed mute."""
    return not is_refused(answer) and answer.status not in (None, UNIMPLEMENTED, 404, 405)


def unix_sockets(folder: Path) -> list[Path]:
    """The sockets in the session of a local Ray."""
    return [path for path in folder.rglob("*") if path.is_socket()]


def reachable_by_nobody(paths: Sequence[Path]) -> list[Path]:
    """Those of these sockets to which another user can connect, where this process may become one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become_nobody()
            numbers = [number for number, path in enumerate(paths) if _connects(path)]
            os.write(writing, json.dumps(numbers).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        numbers = json.loads(stream.read())
    os.waitpid(pid, 0)
    return [paths[number] for number in numbers]


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(path))
        except OSError:
            return False
    return True


def _become_nobody() -> None:
    # Sockets import this codec when it is asked for; another user may not be able to read it.
    "a".encode("idna")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def lines(verdicts: Sequence[PortVerdict]) -> list[str]:
    """A table with a row for each kind of process."""
    head = ("process", "ports", "address", "calls by strangers", "refused", "served", "served to the owner")
    rows = [table_row(head), table_row(["---", "---:", "---", *["---:"] * 4])]
    for process in dict.fromkeys(verdict.process for verdict in verdicts):
        these = [verdict for verdict in verdicts if verdict.process == process]
        calls, refused, served, owner = (
            sum(getattr(verdict, name) for verdict in these)
            for name in ("num_calls", "num_refused", "num_served", "num_served_owner")
        )
        address = ", ".join(sorted({verdict.address for verdict in these}))
        rows.append(table_row([process, len(these), address, calls, refused, served, owner]))
    return rows


def main() -> None:
    """Try every port of a local Ray; print the table, and write it into docs/security.md with `--write`."""
    with local_ray() as (started, token, folder):
        found = [try_port(port, token) for port in listening(list(started.processes()))]
        sockets = unix_sockets(folder)
        reached = reachable_by_nobody(sockets)
    print("\n".join(lines(found)))
    print(f"{len(sockets)} sockets, reached by another user: {len(reached)}")
    for verdict in found:
        print(*verdict.served, sep="\n", end="\n" if verdict.served else "")
    if "--write" in sys.argv:
        PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), MARKERS, lines(found)))


if __name__ == "__main__":
    main()
