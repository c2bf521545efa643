"""How alike converged runs of two and more layers attend from values: in layer 1, and in the layer that looks back.

With two layers the task forces the first to let each value look at its key. With more, another layer may do that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from analysis.outcomes.outcomes import CONVERGED
from pipeline.arrays import Floats, Ints
from sweeps.zhao_2023.attention_maps.across_models import across_settings
from sweeps.zhao_2023.attention_maps.by_query import VALUES, LayerMaps, positions
from sweeps.zhao_2023.measures import outcomes_of

DEPTHS = "depths"
# From the maps (items, H, L, L) of a run's layers to the place of one of them.
ChooseLayer = Callable[[Sequence[Floats]], int]


def first_of_layers(maps: Sequence[Floats]) -> int:
    """0."""
    return 0


def layer_that_looks_back(maps: Sequence[Floats]) -> int:
    """The layer whose values attend most to the position before them, by the mean over values, items and heads."""
    values = np.array(positions(VALUES, maps[0].shape[-1]))
    return int(np.argmax([map_IHLL[..., values, values - 1].mean() for map_IHLL in maps]))


def maps_by_depth(sweep: JudgedSweep, choose: ChooseLayer) -> tuple[Ints, LayerMaps]:
    """(R,) the chosen layer of every run, from 0, and its maps; -1 and NaN where a run has none at the budget.

    Runs may have different numbers of layers. Raises UndecidedError where no map was kept.
    """
    history, snapshots = sweep.history, sweep.snapshots
    if snapshots is None:
        raise UndecidedError("no attention map was kept")
    layer_R = np.full(len(history.runs), -1)
    chosen: dict[int, Floats] = {}
    for r, run in enumerate(history.runs):
        if history.budget not in snapshots.of(run.run_id, "attention"):
            continue
        arrays = snapshots.read(run.run_id, history.budget, "attention")
        maps = [np.asarray(arrays[f"layer{n}"], dtype=np.float64) for n in range(len(arrays))]
        layer_R[r] = choose(maps)
        chosen[r] = maps[layer_R[r]]
    if not chosen:
        raise UndecidedError(f"no attention map was kept at step {history.budget}")
    maps_R = np.full((len(history.runs), 1, *next(iter(chosen.values())).shape), np.nan)
    for r, map_IHLL in chosen.items():
        maps_R[r, 0] = map_IHLL
    is_used_R = outcomes_of(history).is_kind_R(CONVERGED) & (layer_R >= 0)
    return layer_R, LayerMaps(history.runs, maps_R, is_used_R)


def similarity_across_depths(sweeps: Sweeps, *, choose: ChooseLayer) -> Evidence:
    """Mean cosine of the chosen layers' maps of two converged runs of different depth, from values."""
    sweep = sweeps[DEPTHS]
    return across_settings(maps_by_depth(sweep, choose)[1], sweep.history, VALUES)


def share_by_layer(sweep: JudgedSweep) -> dict[int, Floats]:
    """Depth -> (depth,) the share of its converged runs in which the first, second, ... layer looks back most."""
    layer_R, found = maps_by_depth(sweep, layer_that_looks_back)
    depth_R = np.array([run.hyperparameters["model.num_layers"] for run in sweep.history.runs])
    return {
        depth: np.array([np.mean(layer_R[found.converged_R & (depth_R == depth)] == n) for n in range(depth)])
        for depth in np.unique(depth_R[found.converged_R]).tolist()
    }
