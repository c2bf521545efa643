"""Interleaved timings of two implementations, with the median of their ratios, on one core or on all cores.

A side is a picklable description of how a workload is trained; what it starts runs in separate processes, spawned
with the side's environment and pinned to a core before anything is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Result = TypeVar("Result")

_SPAWN = multiprocessing.get_context("spawn")
_START_TIMEOUT_S = 600.0
_CALIBRATION_S = 0.2
# A side runs for about this long between two reads of the clock, so that reading it costs nothing.
_STRETCH_S = 0.05


class Trainer(Protocol):
    """`width` runs in training; `run` does whole calls of `steps_per_call` steps and returns when they are done."""

    @property
    def width(self) -> int: ...

    @property
    def steps_per_call(self) -> int: ...

    def warm_up(self) -> None: ...

    def run(self, num_steps: int) -> None: ...


class Side(Protocol):
    """One of the compared implementations; `environment` is set before its processes start, so before their imports."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    def start(self) -> Trainer: ...


@dataclass(frozen=True)
class Pairs:
    """Measurements of two sides, pair by pair, each pair taken within moments of the other."""

    first_N: Floats
    second_N: Floats

    @property
    def medians(self) -> tuple[float, float]:
        """Median of each side."""
        return float(np.median(self.first_N)), float(np.median(self.second_N))

    @property
    def ratio(self) -> float:
        """Median over pairs of first / second."""
        return float(np.median(self.first_N / self.second_N))

    def interval(self, level: float = 0.95, num_draws: int = 10_000, seed: int = 0) -> tuple[float, float]:
        """Percentile bootstrap of `ratio` over pairs."""
        ratios_N = self.first_N / self.second_N
        draws = np.random.default_rng(seed).integers(len(ratios_N), size=(num_draws, len(ratios_N)))
        tail = (1 - level) / 2
        low, high = np.quantile(np.median(ratios_N[draws], axis=1), [tail, 1 - tail])
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval()
        first, second = self.medians
        return f"{first:.4g} against {second:.4g}: {self.ratio:.3g} [{low:.3g}, {high:.3g}], {len(self.first_N)} pairs"


def in_turns(first: Callable[[], float], second: Callable[[], float], num_pairs: int) -> Pairs:
    """Both measured `num_pairs` times, in turns; who goes first changes from pair to pair."""
    values = np.empty((num_pairs, 2))
    sides = (first, second)
    for pair in range(num_pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            values[pair, side] = sides[side]()
    return Pairs(values[:, 0], values[:, 1])


def seconds_of(work: Callable[[], object]) -> Callable[[], float]:
    """A measurement for `in_turns`: how long `work` takes."""

    def measure() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return measure


class Crew:
    """One process per core, each training as `side` says; idle between rounds. To be used in a `with` block.

    Starting and compiling are over when the block is entered; `start_s` says how long they took, for each process.
    """

    def __init__(self, side: Side, cores: Sequence[int] | None = None, round_s: float = 1.0) -> None:
        self.cores = sorted(os.sched_getaffinity(0)) if cores is None else list(cores)
        barrier = _SPAWN.Barrier(len(self.cores))
        self._pipes: list[Connection[float | None, float]] = []
        self._processes = []
        with environment(side.environment):
            for core in self.cores:
                ours, theirs = _SPAWN.Pipe()
                process = _SPAWN.Process(target=_work, args=(side, core, barrier, theirs), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(cast("Connection[float | None, float]", ours))
                self._processes.append(process)
        self.round_s = round_s
        self.start_s = [self._receive(index) for index in range(len(self.cores))]

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join()

    def round(self) -> float:
        """Runs x steps per second, summed over processes that start together and stay busy for `round_s`."""
        for pipe in self._pipes:
            pipe.send(self.round_s)
        return sum(self._receive(index) for index in range(len(self._pipes)))

    def _receive(self, index: int) -> float:
        if not self._pipes[index].poll(_START_TIMEOUT_S):
            raise TimeoutError(f"process on core {self.cores[index]} has not answered for {_START_TIMEOUT_S:g} s")
        try:
            return self._pipes[index].recv()
        except EOFError:
            raise RuntimeError(f"process on core {self.cores[index]} ended; its error is above") from None


def throughput(side: Side, cores: Sequence[int] | None = None, num_rounds: int = 5, round_s: float = 1.0) -> Floats:
    """Runs x steps per second of each round, all `cores` (None: all there are) busy."""
    with Crew(side, cores, round_s) as crew:
        return np.array([crew.round() for _ in range(num_rounds)])


def compared(
    first: Side, second: Side, cores: Sequence[int] | None = None, num_pairs: int = 11, round_s: float = 1.0
) -> Pairs:
    """Runs x steps per second of two sides in turns; while one trains on all `cores`, the other waits."""
    with Crew(first, cores, round_s) as one, Crew(second, cores, round_s) as other:
        return in_turns(one.round, other.round, num_pairs)


def alone(function: Callable[[], Result], core: int | None = None, given: Mapping[str, str] | None = None) -> Result:
    """Result of a picklable function in a fresh process, pinned to `core`, with these environment variables.

    Raises RuntimeError when it fails there.
    """
    ours, theirs = _SPAWN.Pipe()
    with environment(given or {}):
        process = _SPAWN.Process(target=_answer, args=(function, core, theirs))
        process.start()
    theirs.close()
    try:
        result: Result = ours.recv()
    except EOFError:
        raise RuntimeError(f"{function} failed in a separate process; its error is above") from None
    finally:
        process.join()
    return result


def at_once(tasks: Sequence[tuple[Callable[[], Result], int]], given: Mapping[str, str] | None = None) -> list[Result]:
    """Results of picklable functions, each in a fresh process pinned to its core, in parallel."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        futures = [pool.submit(alone, function, core, given) for function, core in tasks]
        return [future.result() for future in futures]


@contextmanager
def environment(given: Mapping[str, str]) -> Iterator[None]:
    """Start processes with these environment variables, which allocators and XLA read only once."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _answer(function: Callable[[], Any], core: int | None, pipe: Connection[Any, Any]) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    pipe.send(function())


def _work(side: Side, core: int, barrier: Barrier, pipe: Connection[float, float | None]) -> None:
    os.sched_setaffinity(0, {core})
    begin = time.perf_counter()
    trainer = side.start()
    trainer.warm_up()
    stretch = _stretch(trainer)
    pipe.send(time.perf_counter() - begin)
    while (round_s := pipe.recv()) is not None:
        barrier.wait(_START_TIMEOUT_S)
        steps, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < round_s:
            trainer.run(stretch)
            steps += stretch
        pipe.send(steps * trainer.width / elapsed)


def _stretch(trainer: Trainer) -> int:
    """Steps, in whole calls, between two reads of the clock."""
    calls, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < _CALIBRATION_S:
        trainer.run(trainer.steps_per_call)
        calls += 1
    return max(1, round(_STRETCH_S * calls / elapsed)) * trainer.steps_per_call
