"""Calls of gRPC and HTTP without a library, with and without a token: what a port answers to a stranger."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Methods that read, of every service that Ray's processes offer.
METHODS = (
    "/ray.rpc.NodeInfoGcsService/CheckAlive",
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.ActorInfoGcsService/GetAllActorInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.ObjectManagerService/FreeObjects",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
)
# Those that a stranger must not even reach, and that nobody calls with a token here.
HARMFUL = (
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.NodeManagerService/ShutdownRaylet",
    "/ray.rpc.ObjectManagerService/Push",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.CoreWorkerService/KillActor",
    "/ray.rpc.CoreWorkerService/Exit",
)
PATHS = (
    "/",
    "/metrics",
    "/api/version",
    "/api/local_raylet_healthz",
    "/get_or_create_runtime_env",
    "/delete_runtime_env_if_possible",
    "/get_runtime_envs_info",
)
OK, UNIMPLEMENTED, UNAUTHENTICATED = 0, 12, 16
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Answer:
    """What a port said to one call: `status` is of gRPC or HTTP, None if it said nothing that is either."""

    port: int
    call: str
    status: int | None
    text: str = ""


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def _literal(name: str, value: str) -> bytes:
    """One header that is neither compressed nor put into a table (RFC 7541, 6.2.2)."""
    parts = b"".join(_length(len(text)) + text.encode() for text in (name, value))
    return b"\x00" + parts


def _length(number: int) -> bytes:
    """An integer with a prefix of seven bits (RFC 7541, 5.1)."""
    if number < 127:
        return bytes([number])
    found, number = [127], number - 127
    while number >= 128:
        found.append(number % 128 + 128)
        number //= 128
    return bytes([*found, number])


def grpc(port: int, method: str, token: str | None, host: str = "127.0.0.1") -> Answer:
    """Call `method` with an empty message; the status and message with which the server ends the call."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": f"{host}:{port}",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    block = b"".join(_literal(name, value) for name, value in headers.items())
    sent = _PREFACE + _frame(4, 0, 0, b"") + _frame(1, 4, 1, block) + _frame(0, 1, 1, b"\0\0\0\0\0")
    received = _exchange(host, port, sent, lambda content: b"grpc-status" in content)
    found = re.search(rb"grpc-status[\x01\x02](\d+)", received)
    said = re.search(rb"grpc-message(.{4,200})", received, re.S)
    text = "" if said is None else re.sub(rb"[^ -~]", b"", said[1]).decode()
    return Answer(port, method, None if found is None else int(found[1]), text)


def http(port: int, path: str, token: str | None, verb: str = "GET", host: str = "127.0.0.1") -> Answer:
    """The status of an HTTP request, and the first part of its answer."""
    told = "" if token is None else f"Authorization: Bearer {token}\r\n"
    request = f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\n{told}Content-Length: 0\r\nConnection: close\r\n\r\n"
    received = _exchange(host, port, request.encode(), lambda content: False)
    found = re.match(rb"HTTP/1\.[01] (\d+)", received)
    text = received.partition(b"\r\n\r\n")[2][:200].decode(errors="replace")
    return Answer(port, f"{verb} {path}", None if found is None else int(found[1]), text)


def _exchange(host: str, port: int, content: bytes, is_whole: Callable[[bytes], bool]) -> bytes:
    received = b""
    deadline = time.monotonic() + _TIMEOUT_S
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=_TIMEOUT_S) as link:
        link.sendall(content)
        while time.monotonic() < deadline and not is_whole(received):
            link.settimeout(max(deadline - time.monotonic(), 0.01))
            if not (part := link.recv(65536)):
                break
            received += part
    return received


def ask(port: int, token: str | None, methods: Sequence[str]) -> list[Answer]:
    """What a port answers to these methods; to every path of PATHS, by GET and POST, where it speaks no gRPC."""
    found = [grpc(port, method, token) for method in methods]
    if all(answer.status is None for answer in found):
        return [http(port, path, token, verb) for path in PATHS for verb in ("GET", "POST")]
    return found
