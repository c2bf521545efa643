"""Our C++ kernels, compiled on first use where there is a compiler and kept; without one, callers go on without."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_SOURCE = Path(__file__).with_name("philox.cpp")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
_COMPILE_TIMEOUT_S = 120


@cache
def compiled_kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None; why there is none is said once on standard error.

    SEEDBED_NATIVE=0 asks for none. The file is kept under the user's cache folder, named by a hash of source, flags
    and processor.
    """
    if os.environ.get("SEEDBED_NATIVE") == "0":
        return None
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        print("seedbed: no C++ compiler found: random numbers are drawn by torch, more slowly", file=sys.stderr)
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"seedbed: C++ kernels cannot be used ({error}): torch draws instead, more slowly", file=sys.stderr)
        return None


def _compiled(compiler: str) -> Path:
    source = _SOURCE.read_bytes()
    identity = b"\0".join([source, " ".join(_FLAGS).encode(), compiler.encode(), _processor()])
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seedbed"
    path = folder / f"kernels-{hashlib.sha256(identity).hexdigest()[:16]}.so"
    if not path.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Compiled aside and renamed, since several workers may start at once.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built = Path(scratch) / path.name
            command = [compiler, *_FLAGS, "-o", str(built), str(_SOURCE)]
            subprocess.run(command, check=True, capture_output=True, timeout=_COMPILE_TIMEOUT_S)
            built.rename(path)
    return path


def _processor() -> bytes:
    """What `-march=native` depends on: a cache folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor().encode()
    return "".join(line for line in dict.fromkeys(lines) if line.startswith(("model name", "flags"))).encode()
