"""Figures under many rows of bootstrap weights, a block of rows at a time: bounded memory, and every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.arrays import Array, Floats, Ints
from pipeline.long_loops import long_loop

# Weights in a block: 4 MiB of them, so that a block, and what is computed of it, stay near the processor.
BLOCK_SIZE = 2**19
MOST_THREADS = 16

_Job = TypeVar("_Job")
_Found = TypeVar("_Found")


def in_blocks(figures: Callable[[Floats], Floats], weight_BR: Array, use: Ints) -> Floats:
    """(B, ...) what `figures` makes of the weights (B, R), B at least 1, of the runs at the places `use`.

    `figures` maps (b, N) weights as float64 to (b, ...), row by row. Blocks are the same however many cores there are,
    and each is computed by one, so the result is the same, too.
    """
    size = max(1, BLOCK_SIZE // max(len(use), 1))

    def of_block(start: int) -> Floats:
        return figures(np.asarray(weight_BR[start : start + size].take(use, axis=1), dtype=np.float64))

    return np.concatenate(side_by_side(of_block, range(0, len(weight_BR), size)))


def side_by_side(job: Callable[[_Job], _Found], given: Iterable[_Job]) -> list[_Found]:
    """What `job` makes of each of the given, in their order, on as many threads as there are cores.

    numpy lets go of Python's lock while it computes. Matrix products take one thread each meanwhile, wherever this is
    called, so that they round alike on any machine. The first error is raised.
    """
    jobs = list(given)
    threads = min(_num_cores(), MOST_THREADS, len(jobs))
    with threadpool_limits(limits=1, user_api="blas"), long_loop("resampling and fitting", len(jobs)) as loop:

        def done(one: _Job) -> _Found:
            found = job(one)
            loop.pass_done()
            return found

        if threads < 2:
            return [done(one) for one in jobs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(done, jobs))


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
