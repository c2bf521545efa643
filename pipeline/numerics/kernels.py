"""The draws of pipeline/numerics/streams.py as compiled kernels, with the same bits."""

from __future__ import annotations

import ctypes
from functools import cache

from pipeline.numerics.compiler import compiled


@cache
def compiled_kernels() -> ctypes.CDLL | None:
    """The compiled kernels; None without a compiler."""
    return compiled("philox.cpp")
