"""States of runs that took the weights of some parameters from others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.arrays import Array
from pipeline.engine.parameter_layout import Layout
from pipeline.engine.slots import RunState


def with_taken(state: RunState, sources: Mapping[str, RunState], layout: Layout) -> RunState:
    """`state`, in which the parameters of `sources` are those of other states at the same step.

    With a parameter's weights go their values at step 0 and the optimiser's moments of them. Moments are estimates of
    the gradient of the weights that they were gathered on: kept for other weights, they would move these where the
    first were going. Put to zero, they would make Adam's first steps several times as long, since its bias correction
    counts the steps of the run. All numbers of shape () stay: the optimiser's counters, and what the last step
    measured.
    """
    arrays: dict[str, Array] = dict(state.arrays)
    for array_name, own in state.arrays.items():
        if own.ndim:
            mixed = np.array(own)
            for name, (start, stop) in _places(layout).items():
                if name in sources:
                    mixed[start:stop] = sources[name].arrays[array_name][start:stop]
            arrays[array_name] = mixed
    return RunState(state.step, arrays)


def _places(layout: Layout) -> dict[str, tuple[int, int]]:
    """Parameter -> where it stands in a row without padding."""
    ends = np.cumsum([spec.rows * spec.columns for spec in layout.specs]).tolist()
    return {spec.name: (end - spec.rows * spec.columns, end) for spec, end in zip(layout.specs, ends, strict=True)}
