"""Process-wide settings of torch that fix rounding: set while a block computes, and restored afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic

from pipeline.numerics.matmul import matmul_precision
from pipeline.store.pack_store import StoreError

_CUBLAS_VARIABLE, _CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextmanager
def numerics_context(threads: int, precision: str, device_type: str) -> Iterator[None]:
    """Compute with `threads` CPU threads and matrix products in `precision` ("float32", "tf32" or "bf16").

    On "cuda", algorithms are deterministic too, and new memory is not filled; on "cpu", that switch is off. The number
    of threads, the switches and the precision that the process had before are restored on leaving, also after an
    exception. Contexts nest.

    Raises StoreError on "cuda" where cuBLAS was started without a fixed workspace.
    """
    is_cuda = device_type == "cuda"
    if is_cuda:
        fix_cublas_workspace()
    threads_before, deterministic_before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only_before = torch.is_deterministic_algorithms_warn_only_enabled()
    fills_before: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        torch.set_num_threads(threads)
        _use_deterministic_algorithms(is_cuda)
        # Otherwise every new tensor is filled by a kernel of its own; none is read before it is written.
        deterministic.fill_uninitialized_memory = fills_before and not is_cuda  # type: ignore[attr-defined]
        with matmul_precision(precision):
            yield
    finally:
        deterministic.fill_uninitialized_memory = fills_before  # type: ignore[attr-defined]
        torch.set_num_threads(threads_before)
        _use_deterministic_algorithms(deterministic_before, warn_only_before)


def fix_cublas_workspace() -> None:
    """Set the environment variable under which cuBLAS is deterministic. It is read when CUDA is initialised.

    Raises StoreError if CUDA was initialised without it.
    """
    if os.environ.get(_CUBLAS_VARIABLE) == _CUBLAS_WORKSPACE:
        return
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise StoreError(
            f"this process initialised CUDA without {_CUBLAS_VARIABLE}={_CUBLAS_WORKSPACE}, so matrix products on "
            "its GPU may differ from run to run; set that variable before Python starts"
        )
    os.environ[_CUBLAS_VARIABLE] = _CUBLAS_WORKSPACE


def _use_deterministic_algorithms(is_on: bool, warn_only: bool = False) -> None:
    # Setting the switch imports torch's compiler, which takes seconds, so it is not set to the value that it has.
    found = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if found != (is_on, warn_only):
        torch.use_deterministic_algorithms(is_on, warn_only=warn_only)
