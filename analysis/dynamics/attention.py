"""Similarity of attention maps between runs on the same items, with heads matched.

Maps are (R, layers, items, H, L, L): runs, layers, items of the fixed batch, heads, queries, keys. All runs read the
same items, so positions match as they are. A run without maps is NaN throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.arrays import Bools, Floats, Ints

# Maps closer to an even spread than this (root mean square) are even but for rounding, and count for less and less.
ROUNDING = 1e-6


class MapReader(Protocol):
    """Read access to snapshots: the steps recorded for a run, and the arrays of one step by name."""

    def of(self, run_id: str, kind: str = "state") -> Mapping[int, Any]:
        """step -> anything, for one run."""

    def read(self, run_id: str, step: int, kind: str = "state") -> Mapping[str, Any]:
        """The arrays of one snapshot; attention maps are named `layer0`, `layer1`, ..., (items, H, L, L) each."""


def read_maps(snapshots: MapReader, run_ids: Sequence[str], step_R: Sequence[float] | Floats) -> Floats:
    """The maps of each run at its own step, stacked; NaN throughout for a NaN step or a map that was not recorded.

    Raises ValueError when there is none at all, or the runs' maps differ in shape.
    """
    found: dict[int, Floats] = {}
    for r, (run_id, step) in enumerate(zip(run_ids, step_R, strict=True)):
        if np.isfinite(step) and int(step) in snapshots.of(run_id, "attention"):
            arrays = snapshots.read(run_id, int(step), "attention")
            found[r] = np.stack([arrays[f"layer{layer}"] for layer in range(len(arrays))]).astype(np.float64)
    shapes = {maps.shape for maps in found.values()}
    if len(shapes) != 1:
        what = "no attention map was recorded" if not shapes else f"maps differ in shape: {sorted(shapes)}"
        raise ValueError(f"{what}, at steps {sorted({int(s) for s in step_R if np.isfinite(s)})}")
    maps = np.full((len(run_ids), *shapes.pop()), np.nan)
    for r, array in found.items():
        maps[r] = array
    return maps


def steps_at_level(
    values_RT: Floats, steps_T: Ints, level: float, tolerance: float, before_R: Floats, snapshot_steps: Sequence[int]
) -> Floats:
    """(R,) the snapshot step before `before_R` at which the run's value is closest to `level`; NaN where none is near.

    For runs at matched loss before their jump. The value counts at the snapshot's own step alone, and must lie within
    `tolerance` of the level. A NaN in `before_R` is no limit. The latest of equally close steps is taken.
    """
    candidates = np.array(sorted(set(snapshot_steps) & set(steps_T.tolist())), dtype=np.int64)
    if not len(candidates):
        return np.full(len(values_RT), np.nan)
    distance_RC = np.abs(values_RT[:, np.searchsorted(steps_T, candidates)] - level)
    is_allowed_RC = (distance_RC <= tolerance) & ~(candidates >= np.asarray(before_R)[:, None])
    distance_RC = np.where(is_allowed_RC, distance_RC, np.inf)
    last_R = distance_RC.shape[1] - 1 - distance_RC[:, ::-1].argmin(axis=1)
    return np.where(is_allowed_RC.any(axis=1), candidates[last_R], np.nan)


def visible_keys(maps: Floats) -> Bools:
    """(L, L) the keys that a query may attend to: those that got any attention from any head of any run."""
    return np.asarray(np.any(np.nan_to_num(maps) != 0, axis=tuple(range(maps.ndim - 2))))


def similarity(first: Floats, second: Floats | None = None, visible_LL: Bools | None = None) -> Floats:
    """(R, R') similarity of every run of `first` with every run of `second` (default: the same), from -1 to 1.

    Per head, the cosine of both maps over all items, queries and keys, after taking each query's mean over the keys
    that it may see from its row; then the mean over heads and layers under the assignment of heads, layer by layer,
    that makes it largest (Kuhn 1955). What all causal maps share, an even spread over what is visible, is thus worth
    nothing, where overlap (1 - total variation) would call all maps at init alike: near-even maps overlap almost
    wholly. Queries count by how far they are from even. 1 is the same pattern, 0 no more in common than chance; 0 too
    where a head is exactly even. NaN where a run has no maps. `visible_LL` is (L, L), by default what `first` shows.
    """
    visible_LL = visible_keys(first) if visible_LL is None else visible_LL
    a_RGHM = _patterns(first, visible_LL)
    b_RGHM = a_RGHM if second is None else _patterns(second, visible_LL)
    num_layers, num_heads = a_RGHM.shape[1:3]
    total = np.zeros((len(a_RGHM), len(b_RGHM)))
    for g in range(num_layers):
        cosine_RHRH = np.einsum("ahm,bkm->abhk", a_RGHM[:, g], b_RGHM[:, g], optimize=True)
        total += _best_assignment(cosine_RHRH)
    return np.asarray(np.clip(total / (num_layers * num_heads), -1, 1))


def permuted_positions(maps: Floats, seed: int, visible_LL: Bools | None = None) -> Floats:
    """The maps with positions renamed at random, in each run its own way: the null of runs that agree on no position.

    For every query the keys that it may see are permuted, in the same way for all items, heads and layers of a run.
    Causality, the shape of every row and the agreement between items are kept; which position is attended is lost.
    """
    rng = np.random.default_rng(seed)
    visible_LL = visible_keys(maps) if visible_LL is None else visible_LL
    permuted = maps.copy()
    for r in range(len(maps)):
        for query, visible_L in enumerate(visible_LL):
            keys = np.flatnonzero(visible_L)
            permuted[r, ..., query, keys] = maps[r, ..., query, rng.permutation(keys)]
    return permuted


def _patterns(maps: Floats, visible_LL: Bools) -> Floats:
    """(R, layers, H, M) maps less their rows' means over visible keys, of length 1, or near 0 where even."""
    num_visible_L1 = np.maximum(visible_LL.sum(axis=-1, keepdims=True), 1)
    centred = (maps - (maps * visible_LL).sum(axis=-1, keepdims=True) / num_visible_L1) * visible_LL
    flat_RGHM = np.moveaxis(centred, 3, 2).reshape(maps.shape[0], maps.shape[1], maps.shape[3], -1)
    length_RGH1 = np.linalg.norm(flat_RGHM, axis=-1, keepdims=True)
    return np.asarray(flat_RGHM / np.maximum(length_RGH1, ROUNDING * np.sqrt(flat_RGHM.shape[-1])))


def _best_assignment(cosine_ABHK: Floats) -> Floats:
    """(A, B) the largest sum over a one-to-one assignment of heads; NaN where any entry is."""
    if cosine_ABHK.shape[-1] == 1:
        return np.asarray(cosine_ABHK[..., 0, 0])
    best = np.full(cosine_ABHK.shape[:2], np.nan)
    for a, b in np.argwhere(np.all(np.isfinite(cosine_ABHK), axis=(2, 3))):
        rows, columns = linear_sum_assignment(cosine_ABHK[a, b], maximize=True)
        best[a, b] = cosine_ABHK[a, b][rows, columns].sum()
    return best
