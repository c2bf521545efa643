"""Compiles CUDA by NVRTC, which needs no GPU, and reads what each kernel takes of one."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ARCHITECTURE = "sm_90"
HOW_TO_GET_NVRTC = 'there is no NVRTC here: pip install "seedbed[cuda]"'
_STANDARD = Path(__file__).parents[2] / "native" / "cuda" / "standard.h"
_STANDARD_HEADERS = ("algorithm", "cmath", "cstdint", "cstring", "limits", "math.h", "type_traits")
# Functions without a mark are the device's; ptxas writes into the log what kernels take.
_OPTIONS = ("--std=c++17", "-default-device", "--ptxas-options=-v", "--disable-warnings")
_KERNEL = re.compile(
    r"Compiling entry function '(\w+)'.*?Used (\d+) registers[^\n]*?, (\d+) bytes cumulative stack size"
    r"(?:, (\d+) bytes smem)?",
    re.S,
)
_SPILLED = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


class CudaError(Exception):
    """A text that NVRTC does not compile, with its messages, or that there is no NVRTC."""


class KernelResources(NamedTuple):
    """What one kernel takes, functions that it calls included.

    Registers and bytes of local memory are a thread's, bytes of shared memory a block's. Local memory holds the arrays
    of a thread, and registers for which there is no room.
    """

    name: str
    registers: int
    local_bytes: int
    shared_bytes: int


class CompiledKernels(NamedTuple):
    """A cubin, and what its kernels take.

    `spill_bytes`: what the instructions of all its functions store and load of registers for which there is no room.
    """

    cubin: bytes
    kernels: dict[str, KernelResources]
    spill_bytes: int


def compile_cuda(text: str, architecture: str = ARCHITECTURE) -> CompiledKernels:
    """Compile a text for an architecture. Raises CudaError."""
    library = nvrtc()
    if library is None:
        raise CudaError(HOW_TO_GET_NVRTC)
    headers = _strings([_STANDARD.read_text()] + ['#include "standard.h"'] * len(_STANDARD_HEADERS))
    names = _strings([_STANDARD.name, *_STANDARD_HEADERS])
    program = ctypes.c_void_p()
    source = text.replace("#pragma GCC unroll", "#pragma unroll").encode()
    status = library.nvrtcCreateProgram(ctypes.byref(program), source, b"kernel.cu", len(names), headers, names)
    if status:
        raise CudaError(f"nvrtcCreateProgram: error {status}")
    try:
        options = _strings([*_OPTIONS, f"--gpu-architecture={architecture}"])
        status = library.nvrtcCompileProgram(program, len(options), options)
        log = _output(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status:
            raise CudaError(log)
        spills = sum(int(number) for pair in _SPILLED.findall(log) for number in pair)
        return CompiledKernels(_output(library, program, "CUBIN"), resources_in(log), spills)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def resources_in(log: str) -> dict[str, KernelResources]:
    """What each kernel takes, by name, from a log of `ptxas -v`."""
    found = (KernelResources(name, *(int(number or 0) for number in rest)) for name, *rest in _KERNEL.findall(log))
    return {one.name: one for one in found}


@cache
def nvrtc() -> Any:
    """The library, from the package nvidia-cuda-nvrtc of any version; None where it is not installed."""
    package = importlib.util.find_spec("nvidia")
    folders = [] if package is None else list(package.submodule_search_locations or [])
    paths = [path for folder in folders for path in Path(folder).glob("*/lib/libnvrtc.so.*")]
    return ctypes.CDLL(str(max(paths))) if paths else None


def nvrtc_version() -> str:
    """Such as "13.0". Raises CudaError."""
    library = nvrtc()
    if library is None:
        raise CudaError(HOW_TO_GET_NVRTC)
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _strings(values: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * len(values))(*(value.encode() for value in values))


def _output(library: Any, program: ctypes.c_void_p, kind: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{kind}")(program, content)
    return content.raw
