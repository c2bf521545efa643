"""Where a share crosses one half along a parameter, by logistic regression with intervals over seeds."""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Bools, Floats

# Of a normal prior of this standard deviation on the slope per unit: without it, a share that jumps from 0 to 1 between
# two values has no estimate. The place of the crossing hardly depends on it.
_SLOPE_SD = 20.0
_NUM_STEPS = 40


def crossings(x_R: Floats, is_event_R: Bools, weight_BR: Floats) -> Floats:
    """(B,) the x at which a logistic regression of the event on x gives a share of one half.

    For each row of weights; the maximum of the likelihood times a weak normal prior on slope and intercept, by Newton's
    method. NaN where the crossing lies outside of the range of x.
    """
    centre, values = x_R.mean(), np.unique(x_R)
    at_RV = x_R[:, None] == values
    count_BV, event_BV = weight_BR @ at_RV, (weight_BR * is_event_R) @ at_RV
    x_V, prior = values - centre, np.diag([1.0, 1.0]) / _SLOPE_SD**2
    design_VF = np.stack([np.ones_like(x_V), x_V], axis=1)
    found_BF = np.zeros((len(weight_BR), 2))
    for _ in range(_NUM_STEPS):
        share_BV = 1 / (1 + np.exp(-np.clip(found_BF @ design_VF.T, -500, 500)))
        slope_BF = (event_BV - count_BV * share_BV) @ design_VF - found_BF @ prior
        curve_BFF = np.einsum("bv,vf,vg->bfg", count_BV * share_BV * (1 - share_BV), design_VF, design_VF) + prior
        step_BF = np.linalg.solve(curve_BFF, slope_BF[..., None])[..., 0]
        # Newton's step overshoots where nearly all shares are 0 or 1.
        found_BF = found_BF + step_BF / np.maximum(1, np.abs(step_BF).max(1, keepdims=True) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        at_B = centre - found_BF[:, 0] / found_BF[:, 1]
    return np.where((at_B >= values[0]) & (at_B <= values[-1]), at_B, np.nan)
