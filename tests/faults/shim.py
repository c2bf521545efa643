"""The preloaded library that makes one call on the files of a folder fail, and the kinds of failure that it knows."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
ERRORS = ("EIO", "ENOSPC", "EROFS", "EACCES", "EDQUOT", "EINTR", "ENFILE")
LASTING = ("ENOSPC on", "EROFS on")
WRITES = ("short", "torn")
KILLS = ("kill before", "kill after")
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGXCPU")
KINDS = (*ERRORS, *LASTING, *WRITES, *KILLS, "delay", *SIGNALS)


@dataclass(frozen=True)
class Fault:
    """What happens at which call on the files below a folder, counted from 1; at no call if that is 0.

    `clock` is what the process takes for the time of day: from which look at it on, by how many seconds it is shifted,
    and how fast it goes (0: it stands still); None is the true one.
    """

    kind: str
    call: int
    clock: tuple[int, float, float] | None = None

    def environment(self, folder: Path, log: Path | None = None, trace: Path | None = None) -> dict[str, str]:
        """What the library reads."""
        return {
            "FAULT_FOLDER": str(folder),
            "FAULT_KIND": self.kind,
            "FAULT_CALL": str(self.call),
            "FAULT_CLOCK": "" if self.clock is None else " ".join(map(str, self.clock)),
            "FAULT_LOG": str(log or ""),
            "FAULT_TRACE": str(trace or ""),
        }


COUNT = Fault("", 0)


def build(folder: Path) -> Path:
    """Compile the library into `folder`; where it is. Needs gcc."""
    library = folder / "shim.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)], check=True)
    return library


def preloaded(library: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which every process loads the library first."""
    return {**environment, "LD_PRELOAD": str(library)}


def arm(environment: Mapping[str, str]) -> None:
    """Set the library, which this process has loaded, to these values, and its count to 0."""
    os.environ.update(environment)
    ctypes.CDLL(None).fault_arm()


def applicable(call: str) -> tuple[str, ...]:
    """The kinds of fault that a call of this name can meet."""
    return KINDS if call == "write" else tuple(kind for kind in KINDS if kind not in WRITES)
