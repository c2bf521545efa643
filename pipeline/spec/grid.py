"""Evaluation and probe steps: `eval_steps` decide outcomes, at `probe_steps` everything else is measured."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.arrays import Ints

MAX_POINTS = 100_000
_EARLY = (0, 1, 2, 5, 10, 20)
_PROBES_PER_DECADE = 24


@dataclass(frozen=True, eq=False)
class Grid:
    """`eval_steps_T` and `probe_steps_T` count a run's own steps, strictly increasing, up to the budget, read-only.

    Every step from `chunk` on is a multiple of `chunk`; a run is stepped from one multiple to the next. Step s means
    after s optimiser updates: 0 is the initialisation.
    """

    chunk: int
    eval_steps_T: Ints
    probe_steps_T: Ints

    def __post_init__(self) -> None:
        for array in (self.eval_steps_T, self.probe_steps_T):
            array.setflags(write=False)

    @cached_property
    def inner_marks(self) -> tuple[int, ...]:
        """Probe steps before the end of the first chunk, 0 included where the initialisation is probed."""
        return tuple(int(step) for step in self.probe_steps_T if step < self.chunk)

    @cached_property
    def eval_steps(self) -> frozenset[int]:
        """The evaluation steps as a set."""
        return frozenset(self.eval_steps_T.tolist())

    @cached_property
    def probe_steps(self) -> frozenset[int]:
        """The probe steps as a set."""
        return frozenset(self.probe_steps_T.tolist())

    @cached_property
    def steps_T(self) -> Ints:
        """All steps of either kind."""
        steps = np.union1d(self.eval_steps_T, self.probe_steps_T)
        steps.setflags(write=False)
        return steps


def window_steps(shares: Sequence[float], chunk: int, budget: int) -> tuple[tuple[float, int], ...]:
    """(share, step) of each window that ends at a chunk before the budget; `shares` increase in [0, 1).

    A share of the budget is rounded down to a multiple of `chunk`, so that a window never holds more than it says, but
    0 alone gives step 0: any other window holds a chunk at least. Of shares that give one step the nearest is kept, and
    what reaches the budget is left out.

    >>> window_steps((0, 0.05, 0.1, 0.25, 0.5), 50, 1400)
    ((0, 0), (0.05, 50), (0.1, 100), (0.25, 350), (0.5, 700))
    >>> window_steps((0, 0.05, 0.1, 0.25, 0.5), 50, 200), window_steps((0, 0.5), 50, 50)
    (((0, 0), (0.25, 50), (0.5, 100)), ((0, 0),))
    """
    found: dict[int, float] = {}
    for share in shares:
        step = max(chunk, math.floor(share * budget / chunk + 1e-9) * chunk) if share else 0
        if step < budget and (step not in found or abs(share * budget - step) < abs(found[step] * budget - step)):
            found[step] = share
    return tuple((share, step) for step, share in found.items())


def every(interval: int, budget: int) -> Ints:
    """interval, 2 interval, ... up to and including the budget, which must be a multiple of it.

    A larger budget gives a longer array with the same beginning. Raises ValueError for more than MAX_POINTS steps.
    """
    if budget % interval:
        near = max(interval, budget - budget % interval)
        raise ValueError(
            f"must divide the budget, so that the last step is evaluated: {budget} is not a multiple of "
            f"{interval} (try a budget of {near} or {near + interval})"
        )
    if budget // interval > MAX_POINTS:
        raise ValueError(f"gives {budget // interval} steps up to the budget; at most {MAX_POINTS} are recorded")
    return np.arange(interval, budget + 1, interval, dtype=np.int64)


def dense_then_logarithmic(chunk: int, budget: int) -> Ints:
    """0, 1, 2, 5, 10, 20 inside the first chunk, then chunk * 10^(k/24) rounded to chunks, and the budget.

    Apart from the budget itself, a larger budget only appends.
    """
    num_chunks = budget // chunk
    last = math.floor(_PROBES_PER_DECADE * math.log10(max(num_chunks, 1)) + 1e-9)
    late = {chunk * round(10 ** (k / _PROBES_PER_DECADE)) for k in range(last + 1)}
    early = {step for step in _EARLY if step < chunk}
    return np.array(sorted(step for step in early | late | {budget} if step <= budget), dtype=np.int64)


def listed(steps: Sequence[int], chunk: int, budget: int, first: int) -> Ints:
    """Declared steps, checked: strictly increasing in [`first`, budget]; from `chunk` on multiples of it.

    Raises ValueError with what is wrong.
    """
    if not steps:
        raise ValueError("must name at least one step (leave it out for the default)")
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError("steps must increase")
    outside = [step for step in steps if not first <= step <= budget]
    if outside:
        raise ValueError(f"steps must be from {first} to the budget ({budget}), given {outside[0]}")
    uneven = [step for step in steps if step % chunk and step > chunk]
    if uneven:
        low = uneven[0] - uneven[0] % chunk
        raise ValueError(
            f"steps after the first chunk must be multiples of grid.chunk ({chunk}), given {uneven[0]}; "
            f"the nearest are {low} and {low + chunk}"
        )
    return np.array(steps, dtype=np.int64)


def up_to(budget: int, steps_T: Ints) -> Ints:
    """The steps that a run of this budget reaches. Raises ValueError where it reaches none."""
    if steps_T[0] > budget:
        raise ValueError(f"steps must begin at or before every budget, given {steps_T[0]} for a budget of {budget}")
    return steps_T[steps_T <= budget]
