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
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pipeline.numerics.processor import instructions
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
    # Else programs of one process share what functions keep, as the tables of tasks of other sizes.
    "-fno-gnu-unique",
    "-pthread",
    "-shared",
    "-fPIC",
    "-w",
)
_TIMEOUT_S = 600
HOW_TO_INSTALL = (
    "to install it: `apt install g++` (Debian, Ubuntu), `dnf install gcc-c++` (Fedora), or `conda install gxx` and "
    "CXX set to its path"
)
# Instruction sets, the largest first, and what /proc/cpuinfo says of a processor that has them.
_LEVELS: dict[str, set[str]] = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"},
    "x86-64": set(),
}


def instruction_sets() -> tuple[str, ...]:
    """The named instruction sets that this machine can execute, the largest first; elsewhere its kind of processor.

    The environment variable SEEDBED_INSTRUCTION_SET names the largest that is to be used on this machine.
    """
    if platform.machine() not in {"x86_64", "AMD64"}:
        return (platform.machine(),)
    levels, flags = tuple(_LEVELS), instructions()
    largest = os.environ.get("SEEDBED_INSTRUCTION_SET") or levels[0]
    if largest not in levels:
        _say_once(f"SEEDBED_INSTRUCTION_SET is {largest}, which is none of {', '.join(levels)}: it is not used")
        largest = levels[0]
    return tuple(level for level in levels[levels.index(largest) :] if _LEVELS[level] <= flags)


def toolchain(instruction_set: str | None = None) -> str | None:
    """Compiler, its version and instruction set, which fix the rounding of compiled code.

    Of this machine's largest instruction set, or of the given one; None without a compiler, or where the machine lacks
    the instruction set. SEEDBED_NATIVE=0 disables compilation.
    """
    compiler, here = _compiler(), instruction_sets()
    version = None if compiler is None else _version(compiler)
    wanted = here[0] if instruction_set is None else instruction_set
    return f"g++-{version}-{wanted}" if version is not None and wanted in here else None


def compiled(
    source: str, preamble: str = "", instruction_set: str | None = None, texts: Mapping[str, str] = MappingProxyType({})
) -> ctypes.CDLL | None:
    """Compile and load `source`, a file of pipeline/native or a path, after `preamble`; None and a warning on failure.

    `texts` are headers that it may include beside those of the folder, by name.

    For this machine's largest instruction set, or the given one. Kept under the user's cache folder, named by a hash of
    all sources, flags, compiler and instruction set, and sealed with a checksum: a damaged one is compiled again.
    """
    tools = toolchain(instruction_set)
    if tools is None:
        _say_once(f"no C++ compiler (g++): everything is computed by torch, more slowly; {HOW_TO_INSTALL}")
        return None
    try:
        return load_program(*_built(source, preamble, tools, instruction_set or instruction_sets()[0], texts))
    except subprocess.CalledProcessError as error:
        _say_once(f"compiling {source} failed, torch computes instead, more slowly: {_first_error(error.stderr)}")
    except (OSError, subprocess.SubprocessError) as error:
        _say_once(f"compiled code cannot be used, torch computes instead, more slowly: {error}")
    return None


def _built(
    source: str, preamble: str, tools: str, instruction_set: str, texts: Mapping[str, str]
) -> tuple[bytes, Path]:
    flags = (*_FLAGS, f"-I{_FOLDER}", *([f"-march={instruction_set}"] if instruction_set in _LEVELS else []))
    paths = [*sorted(path for path in _FOLDER.iterdir() if path.suffix in {".h", ".cpp"}), _FOLDER / source]
    parts = [path.read_bytes() for path in paths]
    parts += [text.encode() for name in sorted(texts) for text in (name, texts[name])]
    identity = b"\0".join([source.encode(), preamble.encode(), " ".join(flags).encode(), tools.encode(), *parts])
    folder = cache_folder()
    path = folder / f"{Path(source).stem}-{hashlib.sha256(identity).hexdigest()[:20]}.so"
    content = kept_program(path)
    if content is None:
        # Compiled to a temporary file and renamed, since several workers may start at once.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built, constants = Path(scratch) / path.name, Path(scratch) / "constants.h"
            constants.write_text(preamble)
            for name, text in texts.items():
                (Path(scratch) / name).write_text(text)
            command = [
                str(_compiler()),
                *flags,
                f"-I{scratch}",
                "-include",
                str(constants),
                "-o",
                str(built),
                str(_FOLDER / source),
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
            keep(built, path)
        content = kept_program(path)
    if content is None:
        raise OSError(f"{path}: what was just written cannot be read back")
    return content, path


def _compiler() -> str | None:
    return None if os.environ.get("SEEDBED_NATIVE") == "0" else shutil.which(os.environ.get("CXX", "g++"))


@cache
def _version(compiler: str) -> str | None:
    try:
        found = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, check=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


@cache
def _say_once(message: str) -> None:
    notice(message)


def notice(message: str) -> None:
    """Print what a user should know on standard error; where that cannot be written, nothing."""
    with suppress(OSError):
        print(f"seedbed: {message}", file=sys.stderr)


def _first_error(output: bytes) -> str:
    lines = output.decode(errors="replace").splitlines()
    return next((line for line in lines if "error" in line), lines[0] if lines else "no message")
