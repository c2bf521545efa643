"""Compiles C++ on first use, if a compiler is available, and caches the libraries between launches."""

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

from pipeline.numerics.program_cache import cache_folder, keep, kept_program, load_program

_FOLDER = Path(__file__).parent.parent / "native"
# These flags are part of the numerics: no -ffast-math, and a fixed instruction set (-march).
_FLAGS = (
    "-O3",
    "-std=c++17",
    "-mtune=generic",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-pthread",
    "-shared",
    "-fPIC",
    "-w",
)
_TIMEOUT_S = 600
_LEVELS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
}


@cache
def toolchain() -> str | None:
    """Compiler, its version and instruction set, which fix the rounding of compiled code; None without a compiler.

    SEEDBED_NATIVE=0 disables compilation.
    """
    compiler = _compiler()
    if compiler is None:
        return None
    try:
        found = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, check=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"g++-{found.stdout.strip()}-{_level()}"


def compiled(source: str, preamble: str = "") -> ctypes.CDLL | None:
    """Compile and load `source`, a file of pipeline/native or a path, after `preamble`; None and a warning on failure.

    Kept under the user's cache folder, named by a hash of all sources, flags, compiler and instruction set, and sealed
    with a checksum: a damaged one is compiled again.
    """
    tools = toolchain()
    if tools is None:
        _say_once("no C++ compiler (g++): everything is computed by torch, more slowly")
        return None
    try:
        return load_program(*_built(source, preamble, tools))
    except subprocess.CalledProcessError as error:
        _say_once(f"compiling {source} failed, torch computes instead, more slowly: {_first_error(error.stderr)}")
    except (OSError, subprocess.SubprocessError) as error:
        _say_once(f"compiled code cannot be used, torch computes instead, more slowly: {error}")
    return None


def _built(source: str, preamble: str, tools: str) -> tuple[bytes, Path]:
    flags = (*_FLAGS, f"-I{_FOLDER}", *_target())
    paths = [*sorted(path for path in _FOLDER.iterdir() if path.suffix in {".h", ".cpp"}), _FOLDER / source]
    parts = [path.read_bytes() for path in paths]
    identity = b"\0".join([source.encode(), preamble.encode(), " ".join(flags).encode(), tools.encode(), *parts])
    folder = cache_folder()
    path = folder / f"{Path(source).stem}-{hashlib.sha256(identity).hexdigest()[:20]}.so"
    content = kept_program(path)
    if content is None:
        # Compiled to a temporary file and renamed, since several workers may start at once.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built, constants = Path(scratch) / path.name, Path(scratch) / "constants.h"
            constants.write_text(preamble)
            command = [str(_compiler()), *flags, "-include", str(constants), "-o", str(built), str(_FOLDER / source)]
            subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
            keep(built, path)
        content = kept_program(path)
    if content is None:
        raise OSError(f"{path}: what was just written cannot be read back")
    return content, path


def _compiler() -> str | None:
    return None if os.environ.get("SEEDBED_NATIVE") == "0" else shutil.which(os.environ.get("CXX", "g++"))


@cache
def _level() -> str:
    if platform.machine() not in {"x86_64", "AMD64"}:
        return platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "x86-64"
    flags = set(next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split())
    return next((level for level, needed in _LEVELS.items() if needed <= flags), "x86-64")


def _target() -> tuple[str, ...]:
    return (f"-march={_level()}",) if _level().startswith("x86-64") else ()


@cache
def _say_once(message: str) -> None:
    print(f"seedbed: {message}", file=sys.stderr)


def _first_error(output: bytes) -> str:
    lines = output.decode(errors="replace").splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "no message")
