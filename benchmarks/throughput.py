"""Runs x steps per second: S1 to S5, and S10 on a GPU."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import torch

from benchmarks.measure import alone, compared
from benchmarks.peers.eager import EagerChoice, EagerSide
from benchmarks.peers.eager_models import Algebra, Written
from benchmarks.rows import Row, paired
from benchmarks.seedbed_side import SeedbedSide
from benchmarks.workloads import WORKLOADS, Decoder, Lookup, TokenWorkload, Workload

_CORE = min(os.sched_getaffinity(0))
_NO_JAX = "jax is not installed"


@cache
def ours(name: str) -> SeedbedSide:
    """Seedbed's side, planned as a launch would plan it."""
    return SeedbedSide(WORKLOADS[name], 1).planned()


@cache
def eager(name: str, algebra: Algebra = "ordinary", is_compiled: bool = False) -> EagerSide:
    """The eager loop, tuned on one core."""
    side = EagerSide(WORKLOADS[name], EagerChoice(Written(algebra), is_compiled=is_compiled))
    return alone(side.tuned, _CORE, side.environment)


def against_eager(row: str, name: str, target: float, algebra: Algebra = "ordinary", is_compiled: bool = False) -> Row:
    """Throughput against one eager run per core."""
    peer = eager(name, algebra, is_compiled)
    what = f"{name}, against the eager loop{' with the same algebra' if algebra == 'reduced' else ''}"
    what += " under torch.compile" if is_compiled else ""
    return paired(row, what, target, compared(ours(name), peer), engine=ours(name).engine, peer=str(peer))


def against_jax(row: str, name: str, target: float) -> Row:
    """Throughput against runs side by side in JAX."""
    what = f"{name}, against JAX jit + vmap with the same algebra"
    try:
        from benchmarks.peers.jax_problem import OfWorkload
        from benchmarks.peers.jax_vmap import JaxSide
    except ImportError:
        return Row(row, what, target, float("nan"), note=_NO_JAX)
    side = JaxSide(OfWorkload(WORKLOADS[name]))
    tuned = alone(side.tuned, _CORE, side.environment)
    return paired(row, what, target, compared(ours(name), tuned), engine=ours(name).engine, peer=str(tuned.choice))


def s1() -> Iterator[Row]:
    """Linear self-attention against the eager loop."""
    for name in ("lsa_256", "lsa_2048"):
        yield against_eager("S1", name, 20)


def s2() -> Iterator[Row]:
    """Linear self-attention against JAX."""
    for name in ("lsa_256", "lsa_2048"):
        yield against_jax("S2", name, 1)


def s3() -> Iterator[Row]:
    """Small transformers against both."""
    for name in ("lookup_a", "lookup_b"):
        yield against_eager("S3", name, 4)
        yield against_jax("S3", name, 1.5)


def s4() -> Iterator[Row]:
    """Larger transformers against both."""
    yield against_eager("S4", "mlp_last", 1.5)
    yield against_jax("S4", "mlp_last", 2)
    yield against_eager("S4", "mlp_all", 1.15)
    yield against_jax("S4", "mlp_all", 2)


def s5() -> Iterator[Row]:
    """One core, ours and a large square product in turns."""
    workload = WORKLOADS["mlp_all"]
    rates, ratios = [], []
    side = ours("mlp_all")
    flops = needed_flops(workload)
    for _ in range(7):
        product = alone(product_rate, _CORE, side.environment)
        steps = alone(partial(_steps_per_second, side), _CORE, side.environment)
        rates.append(product)
        ratios.append(steps * flops / product)
    low, high = np.quantile(ratios, [0.0, 1.0])
    yield Row(
        "S5",
        "mlp_all, needed arithmetic as a share of torch's rate in a 1024 x 1024 product",
        0.6,
        float(np.median(ratios)),
        float(low),
        float(high),
        unit="%",
        details={"needed_gflop_per_step": flops / 1e9, "product_gflop_per_s": float(np.median(rates)) / 1e9},
    )


def s10() -> Iterator[Row]:
    """On one GPU: all our runs against one eager run at a time there, and against JAX there."""
    for name in ("lsa_256", "lsa_2048", "lookup_a", "lookup_b"):
        what = f"{name} on a GPU, against one eager run at a time there"
        if not torch.cuda.is_available():
            yield Row("S10", what, 200, float("nan"), note="no GPU here")
            continue
        side = SeedbedSide(WORKLOADS[name], 1, device="cuda").planned(100_000)
        pairs = compared(side, EagerSide(WORKLOADS[name], eager(name).choice, "cuda"), [_CORE])
        yield paired("S10", what, 200, pairs, width=side.width, gpu=torch.cuda.get_device_name())


def s11() -> Iterator[Row]:
    """The eager loop with the algebra of seedbed's models, and under torch.compile."""
    for name in WORKLOADS:
        yield against_eager("S11", name, 1, "reduced")
        yield against_eager("S11", name, 1, "reduced", is_compiled=True)


def needed_flops(workload: Workload) -> float:
    """Floating-point operations of one step's matrix products, three times the forward pass's; a causal half of
    attention; all positions asked.
    """
    assert isinstance(workload, TokenWorkload)
    task, model = workload.task, workload.model
    assert isinstance(model, Decoder)
    assert not isinstance(task, Lookup)
    length, width, inner = task.length, model.width, model.inner
    layer = length * (4 * width * inner + 2 * width * model.mlp_width) + length * (length + 1) * inner
    forward = model.num_layers * layer + length * width * task.num_outputs
    return 3.0 * 2 * workload.batch_size * forward


def product_rate(size: int = 1024, seconds: float = 1.0) -> float:
    """Floating-point operations per second of a square product, one thread."""
    torch.set_num_threads(1)
    left, right = torch.randn(size, size), torch.randn(size, size)
    return 2.0 * size**3 / best_time(lambda: torch.matmul(left, right), seconds)


def best_time(work: Callable[[], object], seconds: float) -> float:
    """Median time of at least three calls."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _steps_per_second(side: SeedbedSide) -> float:
    runs = side.start()
    return runs.width / best_time(lambda: runs.run(1), 1.5)
